"""Owns the plain words for outcomes: what each one says, what it does not, and whether it is good news."""

from __future__ import annotations

from typing import Literal

from testbed.campaign.outcomes import counts, went_on
from testbed.model import Outcome

Tone = Literal["good", "open", "bad"]

MEANS: dict[Outcome, tuple[str, str]] = {
    "recovered": (
        "Work went on after the heal, and all memory was as it had been written.",
        "It does not say that this kernel always recovers: see the proportion over repeats.",
    ),
    "slow": (
        "Work went on after the heal, but far below its rate before, or too slowly to check"
        " all memory in time.",
        "It is no deadlock: something still moves.",
    ),
    "starved": (
        "No lasting progress was made, and what would end that hangs on a chance, which is named.",
        "It is no deadlock: the chance may come, at once or after hours.",
    ),
    "deadlocked": (
        "Those that wait for memory wait for each other: the cycle was seen twice, edge by edge.",
        "It does not say that every run of this kernel ends so: see the proportion over repeats.",
    ),
    "stalled": (
        "No lasting progress was made for as long as the cell was watched.",
        "It is no proof of a deadlock: the kernel might have come back later.",
    ),
    "livelocked": (
        "No progress was made, yet the CPU was busy looking for memory all the while.",
        "It is no proof that it would never end.",
    ),
    "oom-killed": (
        "The kernel killed a process for want of memory.",
        "Whether the rest would have recovered can not be told.",
    ),
    "io-error": (
        "The swap device or a disk gave an error up to those who wait for it.",
        "No memory was found wrong; some could not be had at all.",
    ),
    "crashed": (
        "The kernel under test panicked or hit one of its own assertions.",
        "It says nothing about deadlock.",
    ),
    "corrupt": (
        "Memory came back other than it was written.",
        "It says nothing about time: nothing outweighs wrong data.",
    ),
    "fragmented": (
        "Work went on after the heal and all memory was intact, but free memory had fallen to pieces.",
        "It does not say who broke it: compare it with the same without a flood.",
    ),
    "server-down": (
        "The swap server did not serve any more, neither the machine under test nor anybody else.",
        "It says nothing about the kernel under test.",
    ),
    "network-down": (
        "After the heal no packet came through between the machine under test and its swap server.",
        "It says nothing about the kernel under test.",
    ),
    "inconclusive": (
        "The evidence does not carry a verdict.",
        "It is neither a pass nor a failure of the kernel.",
    ),
}


def tone(outcome: Outcome) -> Tone:
    """Whether an outcome is good news of a kernel; one that does not count is no news."""
    if outcome == "recovered":
        return "good"
    return "open" if went_on(outcome) or not counts(outcome) else "bad"
