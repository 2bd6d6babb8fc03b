"""Owns the question whether the host was too busy: a vCPU kept waiting fakes a slow kernel, or a dead one."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.clock import NS
from testbed.judge.case import Case
from testbed.judge.delays import MOST_DELAYED_SHARE, delayed
from testbed.judge.values import Finding


def detect(case: Case) -> Iterator[Finding]:
    if case.end_ns - case.heal_ns < NS or not case.came_to_end:
        return
    if case.unwatched:
        yield Finding(
            detector="contention",
            says="contended",
            statement=f"Nothing at all was recorded for {case.hole_ns / NS:.1f} s after the heal:"
            " the testbed did not run, and can not tell a standstill.",
            numbers={"hole_s": case.hole_ns / NS},
        )
    for machine, share in delayed(case, case.end_ns).items():
        if share is None:
            yield Finding(
                detector="contention",
                says="doubt",
                statement=f"How long the vCPU of {machine} waited for a core of the host was not recorded.",
            )
        elif share > MOST_DELAYED_SHARE:
            yield Finding(
                detector="contention",
                says="contended",
                statement=f"The host was too busy: the vCPU of {machine} waited for a core"
                f" {share:.0%} of the time after the heal (at most {MOST_DELAYED_SHARE:.0%} counts).",
                from_s=case.at(case.heal_ns),
                to_s=case.at(case.end_ns),
                numbers={"delayed_share": share},
            )
