"""Owns the question whether the witnesses lived: a dead witness must not pass for a dead kernel."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.clock import NS
from testbed.judge.case import Case
from testbed.judge.values import Finding

SILENT_NS = 10 * NS
# `A/domain.state`, testbed/witnesses/host.py
PAUSED, CRASHED, ENDING, OFF = 2, 3, 4, 5


def detect(case: Case) -> Iterator[Finding]:
    if not case.came_to_end:
        return
    yield from _domain(case)
    name = next((n for f in ("beats", "beat_ns") if case.history.series(n := case.own(f"machine.{f}"))), None)
    if name is None:
        yield Finding(
            detector="witness", says="doubt", statement=f"No heartbeat of {case.subject} was recorded."
        )
        return
    beat_ns = max((t for t, _ in case.within(name, -1, case.end_ns)), default=case.origin_ns)
    if case.end_ns - beat_ns < SILENT_NS:
        return
    silent_s = (case.end_ns - beat_ns) / NS
    others = (case.own("blocksampler.samples"), *case.counters)
    alive = case.rises(others, max(beat_ns + NS, case.end_ns - SILENT_NS), case.end_ns)
    yield Finding(
        detector="witness",
        says="doubt" if alive else "note",
        statement=f"The heartbeat of {case.subject} stopped {silent_s:.0f} s before the end"
        + (
            ", but others in the guest went on: the witness died, not the guest."
            if alive
            else ", and with it all else in the guest that is watched: nothing runs there any more."
        ),
        from_s=case.at(beat_ns),
        to_s=case.at(case.end_ns),
        numbers={"silent_s": silent_s},
    )


def _domain(case: Case) -> Iterator[Finding]:
    state = case.history.value_at(case.own("domain.state"), case.end_ns)
    if state == CRASHED:
        yield Finding(
            detector="witness",
            says="crashed",
            statement=f"QEMU reports that the guest {case.subject} crashed.",
        )
    elif state in (PAUSED, ENDING, OFF):
        words = "paused" if state == PAUSED else "shut off"
        yield Finding(
            detector="witness",
            says="doubt",
            statement=f"The guest {case.subject} was {words} when the judging ended.",
            numbers={"state": state},
        )
