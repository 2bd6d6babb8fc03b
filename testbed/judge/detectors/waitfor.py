"""Owns what the looks into the guest say: a proof of deadlock, a chance on which all hangs, or neither."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.clock import NS
from testbed.judge.case import Case
from testbed.judge.console import says
from testbed.judge.proof import watched_on
from testbed.judge.resumption import resumption
from testbed.judge.values import Finding, Says
from testbed.waitfor.builder import request_id

FAILS = ("slub", "allocation")
"""Kinds of reports (testbed/consoles/signs) of allocations that failed."""


def detect(case: Case) -> Iterator[Finding]:
    if case.lost_looks:
        yield _finding(case, "note", f"{case.lost_looks}.")
    found = case.examination
    if found is None or not case.came_to_end:
        return
    if found.lock_cycle and found.lock_cycle != found.cycle:
        words = {node.id: node.words for node in found.graph.nodes}
        names = " - ".join(words[name] for name in found.lock_cycle)
        told = f"A cycle of locks, which is neither of memory nor what {case.subject} waits for: {names}."
        yield _finding(case, "note", told)
    yield from _orphaned(case)
    if found.proves != "open":
        yield from _failing_allocation(case)
    if found.proves == "deadlocked":
        yield from _deadlocked(case)
    elif resumption(case).resumed_ns is None:
        starved = found.proves == "starved" and case.watched_to_bound and case.moved_ns(found) is None
        yield _finding(case, "starved" if starved else "note", found.sentence)


def _deadlocked(case: Case) -> Iterator[Finding]:
    found = case.examination
    assert found is not None
    went_on_ns = case.moved_ns(found)
    if went_on_ns is not None:
        lasting = resumption(case).resumed_ns is not None
        went_on = "work went on" if lasting else f"something moved at {case.at(went_on_ns):.0f} s"
        told = f"A closed cycle was seen, and yet {went_on}: it was no proof."
        gave_up_ns = _gave_up_ns(case, went_on_ns)
        if gave_up_ns is not None:
            told = f"The cycle stood until the kernel gave its device up, at {case.at(gave_up_ns):.0f} s."
        yield _finding(case, "note", f"{told} {found.sentence}", refuted=float(gave_up_ns is None))
        return
    if not watched_on(case):
        wanted = f"{case.still_ns / NS:g} s"
        told = f"A closed cycle, which was not watched on for {wanted} after the second look: no proof."
        yield _finding(case, "note" if case.watched_to_bound else "doubt", f"{told} {found.sentence}")
        return
    yield _finding(case, "deadlocked", found.sentence)


def _orphaned(case: Case) -> Iterator[Finding]:
    """The device has failed without saying so: requests of a connection that is given up, in both looks."""
    if not case.watched_to_bound or resumption(case).resumed_ns is not None:
        return
    found = case.examination
    assert found is not None
    looks = {look.number: look for look in case.evidence.snapshots}
    first, second = (
        {request_id(one): one.device for one in looks[number].requests if one.orphaned}
        for number in (found.first, found.second)
    )
    both = {name: device for name, device in second.items() if name in first and device in case.rules.devices}
    if both:
        names = " and ".join(sorted(set(both.values())))
        told = (
            f"{names} has lost its connection, and {len(both)} requests that were sent on it were neither"
            " answered nor ended with an error: their driver waits for nobody, and they for the driver."
        )
        yield _finding(case, "orphaned", told, orphaned=len(both))


def _failing_allocation(case: Case) -> Iterator[Finding]:
    """The kernel's own word on what it can not allocate, the last one after the heal."""
    told = [
        (report, t_ns)
        for machine, report, t_ns in case.told
        if machine == case.subject and report.kind in FAILS and t_ns is not None and t_ns >= case.heal_ns
    ]
    if told:
        report, t_ns = told[-1]
        facts = report.facts
        what = f"an object of {facts.cache}" if facts.cache else f"pages, asked for by {facts.function}"
        statement = f"What can not be allocated: {what} ({facts.mode}); the console said so {len(told)} times"
        yield _finding(case, "note", f"{statement} after the heal, the last time at {case.at(t_ns):.1f} s.")


def _gave_up_ns(case: Case, resumed_ns: int) -> int | None:
    """When I/O errors of the subject came before, or with, the first progress: then they made it."""
    times = [
        t_ns
        for machine, report, t_ns in case.told
        if machine == case.subject and says(report.kind) == "io-error" and t_ns is not None
    ]
    soon_ns = resumed_ns + NS
    return min((t_ns for t_ns in times if case.heal_ns <= t_ns <= soon_ns), default=None)


def _finding(case: Case, says: Says, statement: str, **numbers: float) -> Finding:
    found = case.examination
    looks = [each.taken_ns for each in case.evidence.snapshots if each.taken_ns <= case.end_ns]
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
