"""Owns the question whether the guest's clock ran with the host's: else its timers mean nothing."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.clock import NS
from testbed.judge.case import Case
from testbed.judge.values import Finding

MOST_OFF = 0.10
SHORTEST_SPAN_NS = 5 * NS


def detect(case: Case) -> Iterator[Finding]:
    spans = {(case.origin_ns, case.heal_ns), (case.heal_ns, case.end_ns)}
    for from_ns, to_ns in sorted(spans):
        # Between two beats, not between two moments: a guest that stands still does not beat.
        beats = case.within(case.own("machine.beat_ns"), from_ns, to_ns)
        if len(beats) < 2 or beats[-1][0] - beats[0][0] < SHORTEST_SPAN_NS:
            continue
        pace = (beats[-1][1] - beats[0][1]) / (beats[-1][0] - beats[0][0])
        if abs(pace - 1) > MOST_OFF:
            yield Finding(
                detector="clock",
                says="doubt",
                statement=f"The clock of {case.subject} ran at {pace:.2f} times the host's:"
                " its kernel's timers can not be judged.",
                from_s=case.at(beats[0][0]),
                to_s=case.at(beats[-1][0]),
                numbers={"pace": pace},
            )
