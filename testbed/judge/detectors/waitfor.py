"""Owns what the looks into the guest say: a proof of deadlock, a chance on which all hangs, or neither."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.judge.case import Case
from testbed.judge.proof import served
from testbed.judge.resumption import resumption
from testbed.judge.values import Finding, Says


def detect(case: Case) -> Iterator[Finding]:
    if case.evidence.damaged_snapshots:
        yield _finding(case, "note", f"{case.evidence.damaged_snapshots} snapshots could not be read.")
    found = case.examination
    if found is None or not case.came_to_end:
        return
    if found.lock_cycle and found.lock_cycle != found.cycle:
        words = {node.id: node.words for node in found.graph.nodes}
        names = " - ".join(words[name] for name in found.lock_cycle)
        told = f"A cycle of locks, which is neither of memory nor what {case.subject} waits for: {names}."
        yield _finding(case, "note", told)
    if found.proves == "deadlocked":
        yield from _deadlocked(case)
    elif resumption(case).resumed_ns is None:
        starved = found.proves == "starved" and case.observed_s >= case.rules.bound_s - 1
        yield _finding(case, "starved" if starved else "note", found.sentence)


def _deadlocked(case: Case) -> Iterator[Finding]:
    found = case.examination
    assert found is not None
    seen = resumption(case)
    if seen.resumed_ns is not None:
        yield _finding(
            case,
            "note",
            f"A closed cycle was seen, and yet work went on: it was no proof. {found.sentence}",
            refuted=1,
        )
        return
    if served(case) is False:
        yield _finding(case, "note", f"A cycle, but the server served nobody: no proof. {found.sentence}")
        return
    yield _finding(case, "deadlocked", found.sentence)


def _finding(case: Case, says: Says, statement: str, **numbers: float) -> Finding:
    found = case.examination
    looks = [each.taken_ns for each in case.evidence.snapshots]
    if found is not None:
        numbers |= {"first_look": found.first, "second_look": found.second}
    return Finding(
        detector="waitfor",
        says=says,
        statement=statement,
        from_s=case.at(min(looks)) if looks else None,
        to_s=case.at(max(looks)) if looks else None,
        numbers=numbers,
    )
