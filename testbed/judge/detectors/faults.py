"""Owns the question whether each fault was truly in force and truly healed, by read-back and by the wire."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.history import Event
from testbed.judge.case import SETTLE_NS, Case, in_force
from testbed.judge.values import Finding

LEAST_OFFERED = 5


def detect(case: Case) -> Iterator[Finding]:
    if not case.came_to_end:
        return
    for name in case.rules.faults:
        applied = [
            e for e in case.history.events_of("fault.applied") if e.name == name and e.t_ns <= case.end_ns
        ]
        if not applied:
            yield _doubt(f"The fault '{name}' was never applied.")
        elif any(e.fields.get("read_back") is not True for e in applied):
            yield _doubt(f"Nothing says that the fault '{name}' was in force: its read-back is missing.")
    for name in case.rules.heals:
        yield from _healed(case, name)
    for event in case.history.events_of("fault.applied"):
        if event.t_ns <= case.end_ns:
            yield from _on_the_wire(case, event)


def _healed(case: Case, name: str) -> Iterator[Finding]:
    applied = [e.t_ns for e in case.history.events_of("fault.applied") if e.name == name]
    reverts = [
        e for e in case.history.events_of("fault.reverted") if e.name == name and e.t_ns <= case.end_ns
    ]
    if not reverts or any(reverts[-1].t_ns < t_ns <= case.end_ns for t_ns in applied):
        yield _doubt(f"The fault '{name}' was not healed before the judging ended.")
    elif reverts[-1].fields.get("read_back") is not True:
        yield _doubt(f"Nothing says that the fault '{name}' was healed: its read-back is missing.")


def _on_the_wire(case: Case, event: Event) -> Iterator[Finding]:
    """Packets of the flows that a fault cuts: none may pass while it is in force, all must after."""
    flows = event.fields.get("flows")
    from_ns, to_ns = in_force(case, event)
    for flow in flows if isinstance(flows, list) else []:
        wire = f"wire/{flow}"
        passed = case.growth(f"{wire}.delivered_packets", min(from_ns + SETTLE_NS, to_ns), to_ns)
        if passed:
            yield _doubt(
                f"The fault '{event.name}' leaked: {passed} packets of '{flow}' passed while it was in force."
            )
        if event.name not in case.rules.heals or to_ns >= case.end_ns:
            continue
        offered = case.growth(f"{wire}.offered_packets", to_ns + SETTLE_NS, case.end_ns)
        delivered = case.growth(f"{wire}.delivered_packets", to_ns + SETTLE_NS, case.end_ns)
        if offered is not None and offered >= LEAST_OFFERED and not delivered:
            yield _doubt(
                f"The fault '{event.name}' was not truly healed:"
                f" of {offered} packets of '{flow}' none passed after it."
            )


def _doubt(statement: str) -> Finding:
    return Finding(detector="faults", says="doubt", statement=statement)
