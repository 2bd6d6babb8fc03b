"""Owns what the guests' kernels said of themselves: panics, oopses, OOM kills, I/O errors, complaints."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from testbed.judge.case import Case
from testbed.judge.console import KernelLine
from testbed.judge.values import Finding, Says

MAX_LINES = 20
OUTCOMES = ("crashed", "io-error", "oom-killed")

Told = tuple[str, KernelLine, int | None]


def detect(case: Case) -> Iterator[Finding]:
    def key(told: Told) -> tuple[str, str, str, str]:
        machine, line, t_ns = told
        return machine, _says(case, machine, line, t_ns), line.sign.kind, line.sign.words

    for (machine, says, _, words), group in groupby(sorted(case.telling_lines, key=key), key=key):
        yield _finding(case, machine, says, words, list(group))


def _says(case: Case, machine: str, line: KernelLine, t_ns: int | None) -> Says:
    says = line.sign.says
    if says not in OUTCOMES:
        return "note"
    if machine != case.subject:
        return "doubt"  # the swap server or the flooder is broken: no word on the subject's kernel
    if says == "crashed":
        return "crashed"
    if t_ns is not None and t_ns < case.origin_ns:
        return "doubt"  # before the timeline began: the cell was set up wrongly
    if t_ns is not None and t_ns > case.end_ns:
        return "note"  # the lab's own tearing down
    if t_ns is None and case.history.series(f"{machine}/console.bytes"):
        return "note"  # written after the last sample
    return says


def _finding(case: Case, machine: str, says: str, words: str, told: list[Told]) -> Finding:
    told.sort(key=lambda item: item[1].offset)
    first = told[0]
    when = "" if first[2] is None else f" at {case.at(first[2]):.1f} s"
    more = f" ({len(told)} such lines)" if len(told) > 1 else ""
    times = [t_ns for _, _, t_ns in told if t_ns is not None]
    return Finding.model_validate(
        {
            "detector": "console",
            "says": says,
            "statement": f"The console of {machine} shows: {words}{when}{more}: {_message(first[1].text)}",
            "from_s": case.at(min(times)) if times else None,
            "to_s": case.at(max(times)) if times else None,
            "numbers": {"lines": len(told)},
            "lines": [case.shown(*item) for item in told[:MAX_LINES]],
        }
    )


def _message(text: str) -> str:
    message = text.partition("] ")[2]
    return f"\u201c{message[:120]}\u201d"
