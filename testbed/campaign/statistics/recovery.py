"""Owns times to recover as a distribution: the share that has recovered by a time, medians, a comparison.

A cell that was watched for `s` seconds and never recovered is *censored* at `s`: all that is known is
that it takes longer. Times are seconds since the heal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from math import comb, isnan
from typing import Any, NamedTuple

from testbed.campaign.statistics import CONFIDENCE

LEAST_FOR_INTERVAL = 5
"""So many cells must have recovered: of fewer the formula's interval is far narrower than it claims."""

MOST_PERMUTATIONS = 20_000
"""Up to so many ways to deal the cells out to two kernels all of them are tried: 8 against 8 and less."""

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Times:
    """`seen_s` of the cells that recovered, `unseen_s` how long the others were watched in vain."""

    seen_s: tuple[float, ...] = ()
    unseen_s: tuple[float, ...] = ()

    @property
    def of(self) -> int:
        return len(self.seen_s) + len(self.unseen_s)


@dataclass(frozen=True, slots=True)
class Curve:
    """Kaplan and Meier's estimate, a step at each time: columns of equal length, beginning at 0 s.

    `share` has recovered by `at_s`, with its interval from `low` to `high`, each in [0, 1]; before the
    first recovery there is none, and both are 0.
    """

    at_s: tuple[float, ...]
    share: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


class Median(NamedTuple):
    """The time by which half have recovered; None where that was not seen.

    A `low_s` without a `high_s` says: not before `low_s`. Both are None where too few recovered.
    """

    at_s: float | None
    low_s: float | None = None
    high_s: float | None = None


class Compared(NamedTuple):
    """`p` that both kernels' times have one distribution, and the `least` that it could have been.

    `exact` if by all permutations.
    """

    p: float
    least: float
    exact: bool


@cache
def curve(times: Times, confidence: float = CONFIDENCE) -> Curve:
    """E. L. Kaplan, P. Meier, JASA 53 (1958) 457; the interval by Greenwood's variance on log(-log).

    Raises ValueError where there is no cell.
    """
    fitted = _fitted(times, confidence)
    survival = fitted.survival_function_.iloc[:, 0]
    limits = fitted.confidence_interval_survival_function_
    at_s = [float(at) for at in survival.index]
    left = [float(value) for value in survival]
    lows = [1 - float(value) for value in limits.iloc[:, 1]]
    highs = [1 - float(value) for value in limits.iloc[:, 0]]
    for place, value in enumerate(left):
        if value <= _ROUNDING:  # the formula has no interval where none is left: what was known stays
            lows[place] = max(lows[:place], default=0.0)
            highs[place] = 1.0
    return Curve(tuple(at_s), tuple(1 - value for value in left), tuple(lows), tuple(highs))


def median(times: Times, confidence: float = CONFIDENCE) -> Median:
    """The first time by which half have recovered, with R. Brookmeyer and J. Crowley's interval.

    Biometrics 38 (1982) 29: all times at which the curve's interval contains one half.
    """
    if not times.seen_s:
        return Median(None)
    steps = curve(times, confidence)

    def first(shares: Sequence[float]) -> float | None:
        pairs = zip(steps.at_s, shares, strict=True)
        return next((at for at, share in pairs if share >= 0.5 - _ROUNDING), None)

    if len(times.seen_s) < LEAST_FOR_INTERVAL:
        return Median(first(steps.share))
    return Median(first(steps.share), first(steps.high), first(steps.low))


def logrank(first: Times, second: Times) -> Compared | None:
    """The log-rank test (N. Mantel, Cancer Chemother. Rep. 50 (1966) 163), two-sided.

    For few cells its statistic is held against all permutations of the cells, since the usual chi-square
    errs there: 3 that recovered against 3 that did not have p = 0.025 by that, and truly 0.1. None
    where either kernel has no cell, or none of either recovered.
    """
    if not first.of or not second.of or not (first.seen_s or second.seen_s):
        return None
    ways = comb(first.of + second.of, first.of)
    if ways <= MOST_PERMUTATIONS:
        return Compared(_permuted(first, second), 1 / ways, exact=True)
    from lifelines.statistics import logrank_test

    found = logrank_test(
        [*first.seen_s, *first.unseen_s],
        [*second.seen_s, *second.unseen_s],
        _recovered(first),
        _recovered(second),
    )
    return Compared(1.0 if isnan(found.p_value) else float(found.p_value), 0.0, exact=False)


def _permuted(first: Times, second: Times) -> float:
    """How many of all choices of cells for the first kernel lie as far from what is expected as its own do.

    Observed less expected recoveries are the sum of a score of each cell: 1 if it recovered, less the hazard
    up to then by W. Nelson's and O. Aalen's estimate, which no choice changes. All scores add up to 0.
    """
    from lifelines import NelsonAalenFitter

    durations = [*first.seen_s, *first.unseen_s, *second.seen_s, *second.unseen_s]
    events = [*_recovered(first), *_recovered(second)]
    fitted = NelsonAalenFitter(nelson_aalen_smoothing=False).fit(durations, events)
    hazard = fitted.cumulative_hazard_at_times(durations)
    scores = [event - float(up_to) for event, up_to in zip(events, hazard, strict=True)]
    own = abs(sum(scores[: first.of])) - _ROUNDING
    choices = [abs(sum(chosen)) >= own for chosen in combinations(scores, first.of)]
    return sum(choices) / len(choices)


def _fitted(times: Times, confidence: float) -> Any:
    if not times.of:
        raise ValueError("no cell to take a time from")
    from lifelines import KaplanMeierFitter

    durations = [*times.seen_s, *times.unseen_s]
    return KaplanMeierFitter(alpha=1 - confidence).fit(durations, _recovered(times))


def _recovered(times: Times) -> list[int]:
    return [1] * len(times.seen_s) + [0] * len(times.unseen_s)
