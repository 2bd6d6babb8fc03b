"""Owns what became of the loads: one that failed, or was killed, proves nothing by standing still."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.judge.case import FAILED, Case
from testbed.judge.values import Finding

EIO, SIGBUS = 5, 7


def detect(case: Case) -> Iterator[Finding]:
    for load in case.rules.finish_loads:
        if case.history.value_at(case.own(f"{load}.state"), case.end_ns) != FAILED:
            continue
        error = case.history.value_at(case.own(f"{load}.error"), case.end_ns) or 0
        lost = error in (EIO, SIGBUS)
        yield Finding(
            detector="loads",
            says="io-error" if lost else "doubt",
            statement=f"The load '{load}' on {case.subject} failed with error {error}"
            + (": its memory could not be read back." if lost else "."),
            numbers={"error": error},
        )
    killed = case.growth(case.own("vmsampler.oom_kill"), case.origin_ns, case.end_ns)
    if killed:
        yield Finding(
            detector="loads",
            says="oom-killed",
            statement=f"The kernel of {case.subject} counted {killed} processes killed for want of memory.",
            numbers={"oom_kill": killed},
        )
