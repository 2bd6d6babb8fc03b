"""Owns how many repeats are needed: exact for Fisher's test, by counting every table that may come out."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log, sqrt
from typing import Any

from testbed.campaign.statistics import CONFIDENCE, LEVEL, anytime

MOST_REPEATS = 400
"""Of each kernel: more than a night's worth of cells, and where the search ends."""

AHEAD = 10
"""Power does not rise with every repeat: so many more must have it too."""

RUNS, SEED = 10_000, 1

_TIES = 1 + 1e-7
"""Tables whose likelihoods differ by less are equally likely, as in R."""


@dataclass(frozen=True, slots=True)
class Needed:
    """`repeats` of each kernel have `power`; `approximate` is what the usual normal formula says."""

    repeats: int
    power: float
    approximate: int


@dataclass(frozen=True, slots=True)
class Course:
    """What to expect of two kernels played until clear, at most `at_most` repeats of each.

    `shown` is how often a difference is found; `mean_repeats` of each are played.
    """

    at_most: int
    shown: float
    mean_repeats: float


def needed(first: float, second: float, power: float, level: float = LEVEL) -> Needed | None:
    """The fewest repeats of each from which on Fisher's two-sided test finds the difference often enough.

    `first` and `second` are the true shares, in [0, 1] and different. None if MOST_REPEATS are too few.
    """
    approximate = _normal(first, second, power, level)
    repeats = max(2, approximate // 2)
    while repeats <= MOST_REPEATS:
        ahead = [exact(first, second, repeats + more, level) for more in range(AHEAD + 1)]
        failing = [more for more, found in enumerate(ahead) if found < power]
        if not failing:
            return Needed(repeats, ahead[0], approximate)
        repeats += failing[-1] + 1
    return None


def exact(first: float, second: float, repeats: int, level: float = LEVEL) -> float:
    """How often Fisher's two-sided test says p <= level with `repeats` of each kernel."""
    weights = _binomial(first, repeats)[:, None] * _binomial(second, repeats)[None, :]
    return float(weights[_rejected(repeats, level)].sum())


def until_clear(first: float, second: float, at_most: int, confidence: float = CONFIDENCE) -> Course:
    """What playing until the always-valid interval of the difference excludes 0 comes to.

    Played RUNS times with a fixed seed, so both numbers err by some 1 %. Stopping because they are alike
    is left out: that ends a run without a difference earlier.
    """
    import numpy as np

    dice = np.random.default_rng(SEED)
    wedged = [dice.random((RUNS, at_most)) < share for share in (first, second)]
    clear = anytime.looks_at_equality(*wedged) >= -log(1 - confidence)
    played = np.minimum(at_most, (~clear).sum(axis=1) + 1)
    return Course(at_most, float(clear[:, -1].mean()), float(played.mean()))


def _rejected(repeats: int, level: float) -> Any:
    """Boolean (repeats + 1, repeats + 1): the pairs of counts for which Fisher's p is at most `level`."""
    import numpy as np
    from scipy.special import gammaln

    counts = np.arange(repeats + 1)
    ways = gammaln(repeats + 1) - gammaln(counts + 1) - gammaln(repeats - counts + 1)
    rejected = np.zeros((repeats + 1, repeats + 1), dtype=bool)
    for total in range(2 * repeats + 1):
        first = np.arange(max(0, total - repeats), min(total, repeats) + 1)
        likely = np.exp((logs := ways[first] + ways[total - first]) - logs.max())
        likely /= likely.sum()
        ordered = np.sort(likely)
        no_likelier = np.cumsum(ordered)[np.searchsorted(ordered, likely * _TIES, side="right") - 1]
        rejected[first, total - first] = no_likelier <= level
    return rejected


def _binomial(share: float, repeats: int) -> Any:
    from scipy.stats import binom

    return binom.pmf(range(repeats + 1), repeats, share)


def _normal(first: float, second: float, power: float, level: float) -> int:
    """By J. Cohen's arcsine transformation (Statistical power analysis, 1988, chapter 6)."""
    from statsmodels.stats.power import normal_sample_size_one_tail
    from statsmodels.stats.proportion import proportion_effectsize

    effect = abs(proportion_effectsize(first, second))
    return ceil(float(normal_sample_size_one_tail(effect, power, level / 2, sqrt(2), sqrt(2))))
