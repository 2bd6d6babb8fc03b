"""Owns what the guests' kernels said of themselves: panics, oopses, OOM kills, I/O errors, complaints."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from testbed.consoles import KernelReport, cause_of
from testbed.judge.case import Case
from testbed.judge.console import says, told
from testbed.judge.values import Finding, Says

MAX_LINES = 20
OUTCOMES = ("crashed", "io-error", "oom-killed")

Told = tuple[str, KernelReport, int | None]


def detect(case: Case) -> Iterator[Finding]:
    def key(one: Told) -> tuple[str, str, str, str]:
        machine, report, t_ns = one
        return machine, _says(case, machine, report, t_ns), report.kind, report.sign.words

    for (machine, argues, _, words), group in groupby(sorted(case.told, key=key), key=key):
        yield _finding(case, machine, argues, words, list(group))
    yield from _causes(case)


def _says(case: Case, machine: str, report: KernelReport, t_ns: int | None) -> Says:
    argues = says(report.kind)
    if argues not in OUTCOMES:
        return "note"
    second = {name.partition("/")[0] for name in case.rules.second_client}
    if machine in second - {case.subject} and argues == "io-error":
        return "note"  # a client like the subject: that it is not served is for detectors/outside.py
    if machine not in case.alike:
        return "doubt"  # the swap server or the flooder is broken: no word on the kernel under test
    if argues == "crashed":
        return "crashed"
    if t_ns is not None and t_ns < case.origin_ns:
        return "doubt"  # before the timeline began: the cell was set up wrongly
    if t_ns is not None and t_ns > case.end_ns:
        return "note"  # the lab's own tearing down
    if t_ns is None and case.history.series(f"{machine}/console.bytes"):
        return "note"  # written after the last sample
    return argues


def _finding(case: Case, machine: str, argues: str, words: str, group: list[Told]) -> Finding:
    group.sort(key=lambda one: one[1].offset)
    _, first, first_ns = group[0]
    when = "" if first_ns is None else f" at {case.at(first_ns):.1f} s"
    more = f" ({len(group)} such reports)" if len(group) > 1 else ""
    facts = told(first)
    times = [t_ns for _, _, t_ns in group if t_ns is not None]
    return Finding.model_validate(
        {
            "detector": "console",
            "says": argues,
            "statement": f"The console of {machine} shows: {words}{when}{more}"
            + (f", {facts}" if facts else "")
            + f": {_message(first.text)}",
            "from_s": case.at(min(times)) if times else None,
            "to_s": case.at(max(times)) if times else None,
            "numbers": {"reports": len(group)},
            "lines": [case.shown(*one) for one in group[:MAX_LINES]],
        }
    )


def _message(text: str) -> str:
    message = text.partition("] ")[2]
    return f"\u201c{message[:120]}\u201d"


def _causes(case: Case) -> Iterator[Finding]:
    """What each console with more than one kind of report comes down to, and those that say nothing."""
    for machine, reading in case.readings.items():
        cause = cause_of(reading)
        if cause is None or (cause.report is not None and len(reading.counts) < 2):
            continue
        statement = f"The console of {machine} comes down to: {cause.words}"
        if cause.consequences:
            statement += f", which explains {', '.join(cause.consequences)}"
        yield Finding(detector="console", says="note", statement=f"{statement}.")
