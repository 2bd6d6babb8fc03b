"""Owns which cells are to be played so that every arm of a claim has enough of them: none twice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count, islice

from testbed.campaign.claims.assessment import Assessed, Tried
from testbed.campaign.claims.table import Arm, Key

AROUND_S = 60.0
"""What a short cell takes beside its timeline, under emulation: three guests, memory filled and read back
(docs/performance.md)."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One cell that is missing: an arm, and a repeat that no cell of it has."""

    arm: Arm
    repeat: int

    @property
    def least_s(self) -> float:
        """If it recovers at once, or is proved not to; kernels that must be built come on top."""
        return AROUND_S + self.arm.plan.steady_s + self.arm.plan.judging.begin_at_s

    @property
    def most_s(self) -> float:
        """If nothing moves and nothing is proved, and it is watched to its bound."""
        return self.least_s + self.arm.plan.judging.bound_s


def wanted(assessed: Iterable[Assessed], repeats: int | None = None) -> tuple[Wanted, ...]:
    """In rounds, so that a run cut short has some of each arm. `repeats` stands for the claims' own numbers.

    An arm of several claims is played for the one that needs most. A cell that did not count keeps its
    number: it is played again with another seed, under a number of its own.
    """
    by_arm: dict[Key, tuple[Tried, int]] = {}
    for arm in (arm for one in assessed for arm in one.arms):
        lacks = max(0, (repeats or arm.needed) - len(arm.counted))
        _, most = by_arm.get(arm.arm.key, (arm, 0))
        by_arm[arm.arm.key] = (arm, max(lacks, most))
    rounds: list[tuple[int, Wanted]] = []
    for arm, lacks in by_arm.values():
        taken = {cell.observation.labels.repeat for cell in arm.cells}
        free = (number for number in count(1) if number not in taken)
        rounds += [(round_, Wanted(arm.arm, n)) for round_, n in enumerate(islice(free, lacks))]
    return tuple(each for _, each in sorted(rounds, key=lambda pair: pair[0]))
