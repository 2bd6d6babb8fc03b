"""Owns the one name of a console: of all that the kernel reported, what the rest follows from.

A report that an earlier one explains is a consequence. Of the others, the kind that stands first in the
table of signs names the console, and of that kind the first report.
"""

from __future__ import annotations

from dataclasses import dataclass

from testbed.consoles.reader import Reading
from testbed.consoles.report import KernelReport
from testbed.consoles.signs import KINDS

NO_OUTPUT = "no-output"
PULSES_MISSED = 3
"""A console with a pulse is silent when so many of its beats are missing at the end."""

BROKEN = frozenset({"panic", "kasan", "kfence", "kmsan", "oops", "bug", "corruption"})
TIMED = frozenset({"nbd", "soft-lockup", "workqueue"})
"""Kinds that say since when, and that a hung task may wait for."""
SLACK_S = 3.0
"""How well it is known when something began: seconds are whole, and the block layer's timers rounded."""
_STUCK_CPU = frozenset({"hard-lockup", "soft-lockup", "rcu-stall", "workqueue"})

# A panic that only carries out what an earlier report called for: beginnings of its text, and the kinds
# that call for it. kernel/panic.c check_panic_on_warn(), kernel/exit.c, kernel/hung_task.c, kernel/
# watchdog.c, watchdog_hld.c, kernel/rcu/tree_stall.h, mm/oom_kill.c, arch/x86/kernel/dumpstack.c and traps.c.
PANIC_FOR: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Fatal exception", ("oops", "bug", "corruption", "kasan")),
    ("Aiee, killing interrupt handler", ("oops", "bug", "corruption", "kasan")),
    ("Attempted to kill the idle task", ("oops", "bug", "corruption", "kasan")),
    ("Oopsed too often", ("oops", "bug", "corruption", "kasan")),
    ("stack guard hit", ("oops",)),
    ("Machine halted", ("oops",)),
    ("hung_task: blocked tasks", ("hung-task",)),
    ("softlockup: hung tasks", ("soft-lockup",)),
    ("Hard LOCKUP", ("hard-lockup",)),
    ("RCU Stall", ("rcu-stall",)),
    ("Out of memory", ("oom", "oom-kill")),
    ("System is deadlocked on memory", ("oom", "oom-kill")),
    ("EXT4-fs", ("fs-error",)),
    ("NMI: Not continuing", ("nmi",)),
    ("scheduling while atomic: panic_on_warn", ("bug",)),
    ("KASAN: panic_on_warn", ("kasan",)),
    ("KFENCE: panic_on_warn", ("kfence",)),
    ("UBSAN: panic_on_warn", ("ubsan",)),
    ("kernel: panic_on_warn", ("warning", "corruption")),
    ("kernel: system warned too often", ("warning",)),
)

# What explains a kind, where an earlier report of it is on the console.
EXPLAINED_BY: dict[str, frozenset[str]] = {
    **dict.fromkeys(KINDS, BROKEN),
    # Init dies of a killed or an unreadable page (kernel/exit.c do_exit()); the rest is in PANIC_FOR.
    "panic": BROKEN | {"oom-kill", "swap-error", "io-error", "fs-error"},
    "swap-error": BROKEN | {"lost-connection", "io-error", "fault-injection"},
    "io-error": BROKEN | {"lost-connection", "fault-injection"},
    "fs-error": BROKEN | {"lost-connection", "io-error", "swap-error", "fault-injection"},
    # What can not be written to the swap stays in memory.
    "oom-kill": BROKEN | {"oom", "swap-error"},
    "oom": BROKEN | {"oom-kill", "swap-error"},
    "soft-lockup": BROKEN | {"hard-lockup"},
    "rcu-stall": BROKEN | {"hard-lockup", "soft-lockup"},
    "workqueue": BROKEN | {"hard-lockup", "soft-lockup", "rcu-stall"},
    "hung-task": BROKEN
    | _STUCK_CPU
    | {"swap-error", "io-error", "fs-error", "lost-connection", "link-down", "tx-timeout", "nfs", "nbd"}
    | {"locking"},
    "slub": BROKEN | {"allocation", "fault-injection"},
    "allocation": BROKEN | {"fault-injection"},
    "swap-again": BROKEN | {"allocation", "slub", "fault-injection"},
    "nbd": BROKEN | {"lost-connection", "link-down"},
    "nfs": BROKEN | {"link-down"},
    "nfs-back": BROKEN | {"nfs"},
    "lost-connection": BROKEN | {"nbd", "link-down"},
}


@dataclass(frozen=True, slots=True)
class Cause:
    """The name of a console. `report` is the first that shows it, None for `no-output`.

    `consequences` are the kinds of the reports that it explains, in the order in which they came.
    """

    kind: str
    words: str
    report: KernelReport | None = None
    consequences: tuple[str, ...] = ()


def cause_of(
    reading: Reading, *, watched_s: float | None = None, pulse_s: float | None = None
) -> Cause | None:
    """What a console comes down to; None where nothing is the matter with it.

    `watched_s` is for how long it was watched, by the kernel's clock from boot on; `pulse_s` how often
    somebody in the guest makes the kernel print a line, if anybody does. Without a pulse a console that
    falls silent says nothing: most healthy ones do.
    """
    roots, explained = _sorted_out(reading.reports)
    if not roots:
        return _silence(reading, watched_s, pulse_s)
    first = min(roots, key=lambda report: (KINDS.index(_kind(report)), report.offset))
    follow = (one.kind for one in reading.reports if _root(one, explained) is first and one is not first)
    return Cause(_kind(first), first.sign.words, first, tuple(dict.fromkeys(follow)))


def _sorted_out(
    reports: tuple[KernelReport, ...],
) -> tuple[list[KernelReport], dict[int, KernelReport]]:
    """The reports that none explains, and by offset what explains each of the others."""
    first_of: dict[str, KernelReport] = {}
    explained: dict[int, KernelReport] = {}
    for report in reports:
        kinds = EXPLAINED_BY[report.kind]
        if report.kind == "panic":
            kinds = kinds | frozenset(_called_for(report))
        why = _earliest(first_of, kinds)
        if why is not None:
            explained[report.offset] = why
        first_of.setdefault(report.kind, report)
    roots = [report for report in reports if report.offset not in explained]
    _look_back(roots, explained)
    return [report for report in roots if report.offset not in explained], explained


def _look_back(roots: list[KernelReport], explained: dict[int, KernelReport]) -> None:
    """Explains what stands before its cause on the console, but began after it.

    Only what says since when can do that, and only a stuck request or CPU explains: no circle can close.
    """
    timed: dict[str, KernelReport] = {}
    for report in roots:
        if report.kind in TIMED and report.facts.seconds is not None:
            known = timed.get(report.kind)
            if known is None or report.began_s < known.began_s:
                timed[report.kind] = report
    for report in roots:
        if report.kind == "hung-task" and report.facts.seconds is not None:
            begun = {kind: one for kind, one in timed.items() if one.began_s <= report.began_s + SLACK_S}
            why = _earliest(begun, EXPLAINED_BY[report.kind])
            if why is not None:
                explained[report.offset] = why


def _earliest(known: dict[str, KernelReport], kinds: frozenset[str]) -> KernelReport | None:
    found = [known[kind] for kind in kinds if kind in known]
    return min(found, key=lambda report: report.offset, default=None)


def _root(report: KernelReport, explained: dict[int, KernelReport]) -> KernelReport:
    """What a report comes down to: each step is to the first of its kind, so there are few."""
    while report.offset in explained:
        report = explained[report.offset]
    return report


def _called_for(panic: KernelReport) -> tuple[str, ...]:
    reason = panic.facts.reason or ""
    return next((kinds for start, kinds in PANIC_FOR if start in reason), ())


def _kind(report: KernelReport) -> str:
    """A panic that says what it is for has that name also where the report itself was not printed."""
    called_for = _called_for(report) if report.kind == "panic" else ()
    return called_for[0] if called_for else report.kind


def _silence(reading: Reading, watched_s: float | None, pulse_s: float | None) -> Cause | None:
    if reading.last_s is None:
        return Cause(NO_OUTPUT, "the kernel printed nothing")
    if watched_s is None or pulse_s is None:
        return None
    silent_s = watched_s - reading.last_s
    if silent_s < PULSES_MISSED * pulse_s:
        return None
    return Cause(NO_OUTPUT, f"the kernel fell silent {silent_s:.0f} s before the end")
