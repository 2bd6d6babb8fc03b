"""Owns what may be looked at after every cell: intervals and evidence that hold at all looks together.

*One kernel.* H. Robbins' method of mixtures (Ann. Math. Statist. 41 (1970) 1397). Of n cells k wedged.
Against a share p stands the likelihood of what was seen, averaged over all shares with the weight
Beta(w, w), over its likelihood under p:

    M(p) = B(k + w, n - k + w) / B(w, w) / (p^k (1 - p)^(n - k))

If p is the true share, M(p) is a martingale that begins at 1 and is never negative, so that by Ville's
inequality it ever reaches 1/level with a probability of at most `level`. All p with M(p) < 1/level are
therefore an interval that covers the true share at *every* n at once: one may stop at any look, for any
reason, and it still holds.

*Two kernels.* R. Turner and P. Grünwald (Statist. Probab. Lett. 198 (2023) 109835; with A. Ly, J. Statist.
Plann. Inference 230 (2024) 106116). A round is one cell of each, x and y. From the rounds before it the
shares are guessed as a and b, by the same weight. Of all pairs (r, s) with r - s = d the nearest is that
which makes KL(a|r) + KL(b|s) least. Against the difference d stands the product over all rounds of

    a(x) b(y) / (r(x) s(y))

If the true shares are (p, q) with p - q = d, the expectation of such a factor is u v, where u is the sum
of p(x) a(x) / r(x) over x, and v likewise. As (r, s) is nearest and the pairs lie on a line, the slope
from there towards (p, q) is not negative, which says u + v <= 2; so u v <= 1, and Ville's inequality
holds as above. It holds too where what was seen decides whether there is a next round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import exp, inf, lgamma, log
from typing import Any

from testbed.campaign.statistics import CONFIDENCE
from testbed.campaign.statistics.proportions import Interval, Tally

WEIGHT = 0.2
"""w. The less, the sooner kernels that always or never wedge are told apart (4 rounds, with 1/2 it is 5),
and the later those in between. Any w is valid."""

STEPS = 400
"""So many steps from -1 to 1 are tried of a difference: half a point each, and one is added at each end."""

Rounds = Sequence[tuple[bool, bool]]
"""Of each round whether the first kernel wedged, and whether the second did, in the order played."""


def paired(one: Mapping[int, bool], other: Mapping[int, bool]) -> Rounds:
    """The rounds in which both have a cell that counts; by its number, whether it wedged."""
    return [(one[number], other[number]) for number in sorted(one.keys() & other.keys())]


def log_evidence(tally: Tally, share: float) -> float:
    """ln M(share): how strongly what was seen speaks against `share`; below 0 it speaks for it."""
    left = tally.of - tally.hits
    mixed = _log_beta(tally.hits + WEIGHT, left + WEIGHT) - _log_beta(WEIGHT, WEIGHT)
    return mixed - _log_power(share, tally.hits) - _log_power(1 - share, left)


def interval(tally: Tally, confidence: float = CONFIDENCE) -> Interval:
    """The interval of a share in [0, 1], valid at every look. Without any cell it is [0, 1]."""
    limit = -log(1 - confidence)

    def against(share: float) -> float:
        return log_evidence(tally, share) - limit

    return Interval(_crossing(against, tally.share, 0.0), _crossing(against, tally.share, 1.0))


def p_value(rounds: Rounds) -> float:
    """Against both shares being one: at most x as often as x at most, at whatever look one stops."""
    if not rounds:
        return 1.0
    first, second = zip(*rounds, strict=True)
    return min(1.0, exp(-float(looks_at_equality(first, second)[-1])))


def looks_at_equality(first: Any, second: Any) -> Any:
    """ln of the most evidence against no difference up to each look: (..., rounds), from 0 on.

    `first` and `second` are booleans (..., rounds): whether that kernel wedged in that round. Of pairs
    without a difference the nearest is the mean of both guesses.
    """
    import numpy as np

    guesses = [_guessed(np.asarray(seen, dtype=bool)) for seen in (first, second)]
    mean = (guesses[0] + guesses[1]) / 2
    steps = [
        np.log(np.where(seen, guess, 1 - guess) / np.where(seen, mean, 1 - mean))
        for seen, guess in zip((first, second), guesses, strict=True)
    ]
    return np.maximum.accumulate((steps[0] + steps[1]).cumsum(axis=-1), axis=-1).clip(0.0)


def difference(rounds: Rounds, confidence: float = CONFIDENCE) -> Interval:
    """The interval of the first share less the second, in [-1, 1], valid at every look.

    It excludes 0 only if `p_value` is at most 1 - confidence.
    """
    if not rounds:
        return Interval(-1.0, 1.0)
    tried = [2 * step / STEPS - 1 for step in range(STEPS + 1)]
    evidence = _log_evidence_of(rounds, tried)
    kept = [place for place, value in enumerate(evidence) if value < -log(1 - confidence)]
    if not kept:  # as likely as 1 - confidence at most, or the shares changed on the way
        kept = [int(evidence.argmin())]
    return Interval(tried[max(0, kept[0] - 1)], tried[min(STEPS, kept[-1] + 1)])


def _log_evidence_of(rounds: Rounds, differences: Sequence[float]) -> Any:
    """ln of the most evidence that any look so far had against each difference: (differences,), from 0 on."""
    import numpy as np

    apart = np.array(differences)[:, None]
    seen = np.array(rounds, dtype=bool).T
    first, second = _guessed(seen)
    nearest = _nearest(first, second, apart)
    total = np.zeros((len(differences), len(rounds)))
    with np.errstate(divide="ignore"):
        for wedged, guess, share in ((seen[0], first, nearest + apart), (seen[1], second, nearest)):
            total += np.log(np.where(wedged, guess, 1 - guess))
            total -= np.log(np.where(wedged, share, 1 - share).clip(0.0, 1.0))
    return total.cumsum(axis=1).max(axis=1, initial=0.0)


def _guessed(seen: Any) -> Any:
    """From booleans (..., rounds) to the share that the rounds before each make likely, inside (0, 1)."""
    import numpy as np

    before = np.arange(seen.shape[-1])
    return (seen.cumsum(axis=-1) - seen + WEIGHT) / (before + 2 * WEIGHT)


def _nearest(first: Any, second: Any, apart: Any) -> Any:
    """The s of the nearest pair (s + apart, s) to (first, second): where the slope of the distance is 0.

    `first` and `second` are (rounds,), `apart` is (differences, 1); bisected, for the slope rises.
    """
    import numpy as np

    least = np.maximum(0.0, -apart) + np.zeros_like(first)
    most = np.minimum(1.0, 1.0 - apart) + np.zeros_like(first)
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(50):
            share = (least + most) / 2
            slope = (1 - first) / (1 - share - apart) - first / (share + apart)
            slope += (1 - second) / (1 - share) - second / share
            least = np.where(slope < 0, share, least)
            most = np.where(slope < 0, most, share)
    return (least + most) / 2


def _crossing(against: Callable[[float], float], inside: float, edge: float) -> float:
    """Where a convex function that is not positive `inside` becomes 0 on the way to `edge`, or `edge`."""
    if inside == edge or against(edge) <= 0:
        return edge
    from scipy.optimize import brentq

    near, far = inside, (inside + edge) / 2
    while against(far) <= 0:
        near, far = far, (far + edge) / 2
    return float(brentq(against, near, far, xtol=1e-12))


def _log_power(base: float, exponent: int) -> float:
    """ln base^exponent, where 0^0 is 1."""
    if not exponent:
        return 0.0
    return exponent * log(base) if base > 0 else -inf


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)
