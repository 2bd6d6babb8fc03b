"""Owns the question whether it was the network or the server, and not the kernel, that kept A waiting."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.judge.case import Case
from testbed.judge.resumption import resumption
from testbed.judge.values import Finding, Says

LEAST_SENT = 2
"""Frames of A that must have been lost, or gone unanswered: one alone may be."""


def detect(case: Case) -> Iterator[Finding]:
    if not case.came_to_end or resumption(case).resumed_ns is not None:
        return
    if case.observed_s < case.rules.bound_s - 1:
        return
    sent, arrived = (_grown(case, f"swap.requests.{what}_packets") for what in ("offered", "delivered"))
    back, passed = (_grown(case, f"swap.replies.{what}_packets") for what in ("offered", "delivered"))
    if sent + back >= LEAST_SENT and arrived + passed == 0:
        yield _finding(
            case,
            "network-down",
            f"From the judging point on no packet came through between {case.subject} and its server:"
            f" of {sent} that it sent and {back} that the server sent, none was let pass.",
        )
        return
    if arrived >= LEAST_SENT and back == 0 and _unserved(case):
        yield _finding(
            case,
            "server-down",
            f"The server answered nobody: {arrived} packets of {case.subject} reached it and none came back,"
            " and a second client of it was not served either.",
        )


def _grown(case: Case, flow: str) -> int:
    return case.growth(f"wire/{flow}", case.heal_ns, case.end_ns) or 0


def _unserved(case: Case) -> bool:
    """A second client was being served before the faults, and was not in the judging window."""
    names = case.rules.second_client
    before = case.rises(names, 0, case.deed_ns)
    return bool(before) and not case.rises(names, case.heal_ns, case.end_ns)


def _finding(case: Case, says: Says, statement: str) -> Finding:
    return Finding(
        detector="outside",
        says=says,
        statement=statement,
        from_s=case.at(case.heal_ns),
        to_s=case.at(case.end_ns),
    )
