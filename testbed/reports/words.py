"""Owns the plain words for outcomes: what each one says, and what it does not."""

from __future__ import annotations

from testbed.model import Outcome

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
    "inconclusive": (
        "The evidence does not carry a verdict.",
        "It is neither a pass nor a failure of the kernel.",
    ),
}
