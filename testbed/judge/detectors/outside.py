"""Owns the question whether it was the network or the server, and not the kernel, that kept A waiting."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.judge.case import FAILED, Case
from testbed.judge.resumption import resumption
from testbed.judge.values import Finding, Says

LEAST_SENT = 2
"""Frames of A that must have been lost, or gone unanswered: one alone may be."""


def detect(case: Case) -> Iterator[Finding]:
    if not case.came_to_end or resumption(case).resumed_ns is not None:
        return
    if not case.watched_to_bound:
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
    if case.alike != {case.subject}:
        return  # the server is silent by the doing of the kernel under test, which it has as well
    if _unserved(case):
        yield _finding(
            case,
            "server-down",
            "The server served nobody from the judging point on: a second client got nothing;"
            f" {arrived} packets of {case.subject} reached it, and of the {back} that came back none helped.",
        )


def _grown(case: Case, flow: str) -> int:
    return case.growth(f"wire/{flow}", case.heal_ns, case.end_ns) or 0


def _unserved(case: Case) -> bool:
    """A second client was served before the faults, and not after them, though it and its machine lived."""
    names = [name for name in case.rules.second_client if not _failed(case, name)]
    before = case.rises(names, 0, case.deed_ns)
    alive = [f"{name.partition('/')[0]}/machine.beats" for name in names]
    lived = case.rises(alive, case.heal_ns, case.end_ns)
    return bool(before) and bool(lived) and not case.rises(names, case.heal_ns, case.end_ns)


def _failed(case: Case, name: str) -> bool:
    """Whether the program that counts this ended by itself: it is no witness of the server any more."""
    return case.history.value_at(f"{name.rpartition('.')[0]}.state", case.end_ns) == FAILED


def _finding(case: Case, says: Says, statement: str) -> Finding:
    return Finding(
        detector="outside",
        says=says,
        statement=statement,
        from_s=case.at(case.heal_ns),
        to_s=case.at(case.end_ns),
    )
