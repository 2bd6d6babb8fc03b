"""Owns the question whether memory came back as it was written: one wrong page is corruption.

A page that could not be read back at all (SIGBUS) was lost to an I/O error, not corrupted: the
load counts it among the bad ones and apart.
"""

from __future__ import annotations

from collections.abc import Iterator

from testbed.judge.case import Case
from testbed.judge.values import Finding

WRONG = ("bad_pages", "sweep_bad_pages", "stale_pages")
LOST = "lost_pages"


def detect(case: Case) -> Iterator[Finding]:
    for source in sorted({name.rpartition(".")[0] for name in case.history.values}):
        if source.startswith(f"{case.subject}/"):
            yield from _of_load(case, source)


def _of_load(case: Case, source: str) -> Iterator[Finding]:
    load = source.partition("/")[2]
    lost = _last(case, f"{source}.{LOST}")
    wrong = max(
        _last(case, f"{source}.stale_pages"),
        *(_last(case, f"{source}.{field}") - lost for field in WRONG[:2]),
    )
    if wrong > 0:
        yield Finding(
            detector="integrity",
            says="corrupt",
            statement=f"The load '{load}' on {case.subject} read back {wrong} pages that were not"
            " as it had written them.",
            from_s=_first_s(case, source),
            numbers={"wrong_pages": wrong},
        )
    if lost > 0:
        yield Finding(
            detector="integrity",
            says="io-error",
            statement=f"The load '{load}' on {case.subject} could not read back {lost} of its pages"
            " (SIGBUS).",
            from_s=_first_s(case, source),
            numbers={"lost_pages": lost},
        )


def _last(case: Case, name: str) -> int:
    points = case.history.series(name)
    return points[-1][1] if points else 0


def _first_s(case: Case, source: str) -> float | None:
    times = [
        t_ns
        for field in (*WRONG, LOST)
        for t_ns, value in case.history.series(f"{source}.{field}")
        if value > 0
    ]
    return case.at(min(times)) if times else None
