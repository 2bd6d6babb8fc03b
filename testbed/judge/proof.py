"""Owns what makes a closed cycle a proof: it was watched on, and no progress came after."""

from __future__ import annotations

from testbed.judge.case import Case
from testbed.judge.resumption import counters
from testbed.waitfor import Examination


def proved_deadlocked(case: Case) -> bool:
    """Whether a closed cycle was shown, and watched on for as long as is asked for."""
    return shown_deadlocked(case) and watched_on(case)


def shown_deadlocked(case: Case) -> bool:
    """Whether two looks showed a closed cycle, and nothing that was seen later speaks against it."""
    found = case.examination
    return found is not None and found.proves == "deadlocked" and moved_ns(case) is None


def moved_ns(case: Case) -> int | None:
    """The first progress after the second look, be it a single request: it was no deadlock then."""
    if case.examination is None:
        return None
    times = case.rises(counters(case), _second_ns(case, case.examination), case.end_ns)
    return times[0] if times else None


def watched_on(case: Case) -> bool:
    """Whether the watching went on after the second look for as long as progress must stand still."""
    found = case.examination
    return found is not None and case.end_ns - _second_ns(case, found) >= case.still_ns


def _second_ns(case: Case, found: Examination) -> int:
    return next(each.taken_ns for each in case.evidence.snapshots if each.number == found.second)
