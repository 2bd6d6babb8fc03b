"""Owns shares and their differences where the number of repeats was fixed beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from testbed.campaign.statistics import CONFIDENCE, LEVEL


class Tally(NamedTuple):
    """`hits` of `of` cells: 0 <= hits <= of."""

    hits: int
    of: int

    @property
    def share(self) -> float:
        """From 0 to 1; one half where nothing was counted."""
        return self.hits / self.of if self.of else 0.5


class Interval(NamedTuple):
    """From `low` to `high`, both included: of a share in [0, 1], or of a difference of two in [-1, 1]."""

    low: float
    high: float

    def excludes(self, value: float) -> bool:
        return not self.low <= value <= self.high


@lru_cache(maxsize=4096)
def wilson(tally: Tally, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's score interval of a share. E. B. Wilson, JASA 22 (1927) 209.

    Without any cell it is [0, 1]. It holds for a number of cells that was fixed beforehand.
    """
    if not tally.of:
        return Interval(0.0, 1.0)
    from scipy.stats import binomtest

    found = binomtest(tally.hits, tally.of).proportion_ci(confidence, method="wilson")
    return Interval(float(found.low), float(found.high))


@lru_cache(maxsize=4096)
def difference(first: Tally, second: Tally, confidence: float = CONFIDENCE) -> Interval:
    """Newcombe's hybrid score interval of `first.share - second.share`. Statist. Med. 17 (1998) 873, no. 10.

    Made of the two Wilson intervals, so that it fits the rows above it. Unlike Agresti and Caffo's it
    never leaves [-1, 1], which at 0 of 5 against 5 of 5, the usual case here, that one does.
    """
    if not first.of or not second.of:
        return Interval(-1.0, 1.0)
    from statsmodels.stats.proportion import confint_proportions_2indep

    low, high = confint_proportions_2indep(
        *first, *second, method="newcomb", compare="diff", alpha=1 - confidence
    )
    return Interval(max(-1.0, float(low)), min(1.0, float(high)))


def fisher(first: Tally, second: Tally) -> float:
    """The two-sided p of Fisher's exact test that both shares are one; 1 where there is nothing to compare.

    Two-sided as in R: all tables with these margins that are no likelier than the one seen.
    """
    if not first.of or not second.of:
        return 1.0
    from scipy.stats import fisher_exact

    table = [[tally.hits, tally.of - tally.hits] for tally in (first, second)]
    return min(1.0, float(fisher_exact(table).pvalue))


def least_fisher(first: Tally, second: Tally) -> float:
    """The least that `fisher` could have been, had as many cells wedged in all."""
    hits = first.hits + second.hits
    extremes = {max(0, hits - second.of), min(first.of, hits)}
    return min(fisher(Tally(own, first.of), Tally(hits - own, second.of)) for own in extremes)


def holm(values: Sequence[float], least: Sequence[float], level: float = LEVEL) -> tuple[float, ...]:
    """p values adjusted after S. Holm, in the order given. Scand. J. Statist. 6 (1979) 65.

    To call a difference shown where the adjusted p is at most `level` errs in at most that share of all
    tables, however many comparisons a table has. `least` is what each p could have been at least: one
    that could not have shown anything is no comparison, and 1 (R. E. Tarone, Biometrics 46 (1990) 515).
    """
    adjusted = [1.0] * len(values)
    # Four lines of our own: statsmodels' multipletests() collects garbage at each call, a tenth of a second.
    able = sorted((value, place) for place, value in enumerate(values) if least[place] <= level)
    reached = 0.0
    for rank, (value, place) in enumerate(able):
        reached = max(reached, min(1.0, (len(able) - rank) * value))
        adjusted[place] = reached
    return tuple(adjusted)
