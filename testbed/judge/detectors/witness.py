"""Owns the question whether the witnesses lived: a dead witness must not pass for a dead kernel."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.clock import NS
from testbed.history import Event
from testbed.judge.case import Case
from testbed.judge.resumption import resumption
from testbed.judge.values import Finding

SILENT_NS = 10 * NS
# `A/domain.state`, testbed/witnesses/host.py
PAUSED, CRASHED, ENDING, OFF = 2, 3, 4, 5
STOPPED = {PAUSED: "paused", CRASHED: "crashed", ENDING: "shut off", OFF: "shut off"}


def detect(case: Case) -> Iterator[Finding]:
    if not case.came_to_end:
        return
    yield from _others(case)
    yield from _domain(case)
    name = next((n for f in ("beats", "beat_ns") if case.history.series(n := case.own(f"machine.{f}"))), None)
    if name is None:
        yield Finding(
            detector="witness", says="doubt", statement=f"No heartbeat of {case.subject} was recorded."
        )
        return
    beat_ns = max((t for t, _ in case.within(name, -1, case.end_ns)), default=case.origin_ns)
    if case.end_ns - beat_ns < SILENT_NS:
        yield from _blind(case)
        return
    silent_s = (case.end_ns - beat_ns) / NS
    others = (case.own("blocksampler.samples"), *case.counters)
    alive = case.rises(others, max(beat_ns + NS, case.end_ns - SILENT_NS), case.end_ns)
    frozen = case.growth(case.own("vcpu.run_ns"), beat_ns + NS, case.end_ns) == 0
    if alive:
        told = "but others in the guest went on: the witness died, not the guest."
    elif frozen:
        told = "and its vCPU has not run since for a moment: the host may have stopped it, not the kernel."
    else:
        told = "and with it all else in the guest that is watched: nothing runs there any more."
    yield Finding(
        detector="witness",
        says="doubt" if alive or frozen else "note",
        statement=f"The heartbeat of {case.subject} stopped {silent_s:.0f} s before the end, {told}",
        from_s=case.at(beat_ns),
        to_s=case.at(case.end_ns),
        numbers={"silent_s": silent_s},
    )


def _blind(case: Case) -> Iterator[Finding]:
    """Silence that nobody alive vouches for: a job has no counter but the sampler's of its device."""
    seen = [case.last_seen(name, case.end_ns) for name in case.rules.progress]
    last_ns = max((t_ns for t_ns in seen if t_ns is not None), default=None)
    if last_ns is None or case.end_ns - last_ns < SILENT_NS or resumption(case).resumed_ns is not None:
        return
    yield Finding(
        detector="witness",
        says="doubt",
        statement=f"What counts the progress of {case.subject} stopped"
        f" {(case.end_ns - last_ns) / NS:.0f} s before the end, though its heart beat on.",
        from_s=case.at(last_ns),
        to_s=case.at(case.end_ns),
    )


def _others(case: Case) -> Iterator[Finding]:
    """QEMU of the server, and of its second client: who is off serves nobody, by no kernel's doing.

    Not if a fault that was never healed made it so.
    """
    names = {case.rules.server, *(name.partition("/")[0] for name in case.rules.second_client)}
    healed = {event.name for event in case.history.events_of("fault.reverted")}
    applied = (event for event in case.history.events_of("fault.applied") if event.name not in healed)
    left = {machine for event in applied for machine in _machines(event)}
    for machine in sorted(name for name in names if name and name != case.subject and name not in left):
        state = case.history.value_at(f"{machine}/domain.state", case.end_ns)
        if state in STOPPED:
            yield _stopped(machine, state)


def _machines(event: Event) -> tuple[str, ...]:
    told = event.fields.get("machines")
    return tuple(each for each in told if isinstance(each, str)) if isinstance(told, list) else ()


def _domain(case: Case) -> Iterator[Finding]:
    state = case.history.value_at(case.own("domain.state"), case.end_ns)
    if state == CRASHED:
        yield Finding(
            detector="witness",
            says="crashed",
            statement=f"QEMU reports that the guest {case.subject} crashed.",
        )
    elif state in STOPPED:
        yield _stopped(case.subject, state)


def _stopped(machine: str, state: int) -> Finding:
    return Finding(
        detector="witness",
        says="doubt",
        statement=f"The guest {machine} was {STOPPED[state]} when the judging ended.",
        numbers={"state": state},
    )
