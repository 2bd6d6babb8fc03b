"""Owns which lines of a console a report shows: those that matter, what stands around them, the end."""

from __future__ import annotations

from dataclasses import dataclass

from testbed.consoles import MAX_TEXT, clean, lines, sign_of
from testbed.judge.case import Case
from testbed.judge.console import says, written_ns
from testbed.judge.values import Says

MOST_LINES = 400
MOST_MARKS = 120
AROUND = 5
TAIL = 40
GRAVE: tuple[Says, ...] = ("corrupt", "crashed", "io-error", "oom-killed")


@dataclass(frozen=True, slots=True)
class Shown:
    """One line of the excerpt; `left_out` lines of the console lie between it and the one before."""

    number: int
    text: str
    at_s: float | None
    mark: str
    grave: bool
    left_out: int


@dataclass(frozen=True, slots=True)
class Excerpt:
    """What a report shows of one machine's console."""

    machine: str
    total: int
    marked: int
    lines: tuple[Shown, ...]


def excerpt(case: Case, machine: str, most: int = MOST_LINES) -> Excerpt:
    """At most `most` lines: around every line that matters (the graver first), then the end."""
    console = case.evidence.consoles.get(machine, b"")
    told = [report for name, report, _ in case.told if name == machine]
    by_gravity = sorted(told, key=lambda report: (says(report.kind) not in GRAVE, report.number))
    total = console.count(b"\n") + (not console.endswith(b"\n") and bool(console))
    wanted = _wanted([report.number for report in by_gravity[:MOST_MARKS]], total, most)
    sizes = case.history.series(f"{machine}/console.bytes")
    shown: list[Shown] = []
    last = 0
    for number, offset, line in lines(console):
        if number not in wanted:
            continue
        sign = sign_of(line)
        t_ns = written_ns(sizes, offset)
        shown.append(
            Shown(
                number=number,
                text=clean(line)[:MAX_TEXT],
                at_s=None if t_ns is None else case.at(t_ns),
                mark=sign.words if sign else "",
                grave=sign is not None and says(sign.kind) in GRAVE,
                left_out=number - last - 1,
            )
        )
        last = number
    return Excerpt(machine, total, len(told), tuple(shown))


def _wanted(marked: list[int], total: int, most: int) -> set[int]:
    wanted: set[int] = set()
    for number in marked:
        around = set(range(max(1, number - AROUND), min(total, number + AROUND) + 1))
        if len(wanted | around) > most:
            break
        wanted |= around
    for number in range(total, max(0, total - TAIL), -1):
        if len(wanted) >= most:
            break
        wanted.add(number)
    return wanted
