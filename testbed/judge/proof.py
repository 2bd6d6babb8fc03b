"""Owns what makes a closed cycle a proof: it was watched on, and no progress came after."""

from __future__ import annotations

from testbed.judge.case import Case


def proved_deadlocked(case: Case) -> bool:
    """Whether a closed cycle was shown, and watched on for as long as is asked for."""
    return shown_deadlocked(case) and watched_on(case)


def shown_deadlocked(case: Case) -> bool:
    """Whether two looks showed a closed cycle, and nothing that was seen later speaks against it."""
    found = case.examination
    return found is not None and found.proves == "deadlocked" and case.moved_ns(found) is None


def watched_on(case: Case) -> bool:
    """Whether the watching went on after the second look for as long as progress must stand still."""
    found = case.examination
    return found is not None and case.end_ns - case.second_ns(found) >= case.still_ns
