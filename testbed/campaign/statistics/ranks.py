"""Owns the comparison of two groups of numbers by their ranks, exact and with ties."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import comb, inf
from typing import NamedTuple

from testbed.campaign.statistics import CONFIDENCE
from testbed.campaign.statistics.proportions import Interval


class Ranked(NamedTuple):
    """`p` that both groups are of one kind, two-sided, and the `least` that it could have been."""

    p: float
    least: float


def rank_sum(first: Sequence[float], second: Sequence[float]) -> Ranked:
    """H. B. Mann and D. R. Whitney's test, Ann. Math. Statist. 18 (1947) 50; equal numbers share their ranks.

    Held against all ways to deal the numbers out to two groups of these sizes: no number of them is too
    small, and no shape of them is assumed. 1 where either group is empty.
    """
    ways = comb(len(first) + len(second), len(first))
    ranks = _doubled_ranks((*first, *second))
    sums = _sums(tuple(sorted(ranks)), len(first))
    middle = len(first) * (len(ranks) + 1)
    apart = abs(sum(ranks[: len(first)]) - middle)
    farthest = max(abs(total - middle) for total in sums)
    return Ranked(_beyond(sums, middle, apart) / ways, _beyond(sums, middle, farthest) / ways)


def ratio(first: Sequence[float], second: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """How many times as large the first group's numbers are, if both are alike but for that factor.

    From those factors that `rank_sum` would not reject: J. L. Hodges and E. L. Lehmann, Ann. Math. Statist.
    34 (1963) 598. Numbers are 0 or more. Without ties it covers the factor in `confidence` of all cases at
    least; few numbers exclude none.
    """
    quotients = sorted(_quotient(one, other) for one in first for other in second)
    places = tuple(2 * place + 1 for place in range(len(first) + len(second)))
    sums, ways = _sums(places, len(first)), comb(len(places), len(first))
    least, below, cut = min(sums), 0, 0
    while 2 * (below + sums.get(least + 2 * cut, 0)) <= (1 - confidence) * ways:
        below += sums.get(least + 2 * cut, 0)
        cut += 1
    if not cut or not quotients:
        return Interval(0.0, inf)
    return Interval(quotients[cut - 1], quotients[-cut])


def _quotient(one: float, other: float) -> float:
    """Where both are 0, or both without bound, they are alike."""
    if one == other:
        return 1.0
    return one / other if other else inf


def _beyond(sums: dict[int, int], middle: int, apart: int) -> int:
    return sum(count for total, count in sums.items() if abs(total - middle) >= apart)


def _doubled_ranks(numbers: Sequence[float]) -> list[int]:
    """Twice the mean rank of each, so that all are whole."""
    ordered = sorted(numbers)
    first = {number: ordered.index(number) for number in set(numbers)}
    return [2 * first[number] + 1 + ordered.count(number) for number in numbers]


@cache
def _sums(ranks: tuple[int, ...], size: int) -> dict[int, int]:
    """In how many ways `size` of the ranks add up to each sum."""
    by_size: list[dict[int, int]] = [{0: 1}, *({} for _ in range(size))]
    for rank in ranks:
        for taken in range(size, 0, -1):
            for total, count in by_size[taken - 1].items():
                by_size[taken][total + rank] = by_size[taken].get(total + rank, 0) + count
    return by_size[size]
