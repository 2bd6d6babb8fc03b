"""Owns what makes a closed cycle a proof: the server lived, and no progress came after."""

from __future__ import annotations

from testbed.judge.case import Case
from testbed.judge.resumption import counters
from testbed.waitfor import Examination


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
    if case.examination is None:
        return None
    _, second_ns = _pair_ns(case, case.examination)
    times = case.rises(counters(case), second_ns, case.end_ns)
    return times[0] if times else None


def served(case: Case) -> bool | None:
    """Whether the server did something for a second client around the looks; None where there is none."""
    found = case.examination
    if found is None or not case.rules.second_client:
        return None
    return bool(case.rises(case.rules.second_client, *_pair_ns(case, found)))


def _pair_ns(case: Case, found: Examination) -> tuple[int, int]:
    """When the two looks were taken that were held against each other."""
    looks = {each.number: each.taken_ns for each in case.evidence.snapshots}
    return looks[found.first], looks[found.second]
