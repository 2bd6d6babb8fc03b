"""Owns what makes a closed cycle a proof: the server lived, and no progress came after."""

from __future__ import annotations

from testbed.judge.case import Case
from testbed.judge.resumption import counters


def proved_deadlocked(case: Case) -> bool:
    """Whether a closed cycle was seen, with the server at work, and no progress came after it."""
    found = case.examination
    return (
        found is not None
        and found.proves == "deadlocked"
        and moved_ns(case) is None
        and served(case) is not False
    )


def moved_ns(case: Case) -> int | None:
    """The first progress after the second look, be it a single request: it was no deadlock then."""
    found = case.examination
    if found is None:
        return None
    looks = {each.number: each.taken_ns for each in case.evidence.snapshots}
    times = case.rises(counters(case), looks[found.second], case.end_ns)
    return times[0] if times else None


def served(case: Case) -> bool | None:
    """Whether the server did something for a second client around the looks; None where there is none."""
    found = case.examination
    if found is None or not case.rules.second_client:
        return None
    looks = {each.number: each.taken_ns for each in case.evidence.snapshots}
    from_ns, to_ns = looks[found.first], looks[found.second]
    return bool(case.rises(case.rules.second_client, from_ns, to_ns))
