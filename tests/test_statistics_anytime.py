"""What holds at every look: the formulas by other ways, and how often they err if one always looks."""

from __future__ import annotations

from itertools import pairwise, product
from math import log

import numpy as np
import pytest

from testbed.campaign.statistics import anytime
from testbed.campaign.statistics.proportions import Interval, Tally

SEED = 20261124


def test_the_interval_is_where_the_mixture_is_outweighed() -> None:
    """Of n of n the condition can be solved: p^n = level B(n + w, w) / B(w, w)."""
    weight = anytime.WEIGHT
    for of in (1, 4, 7, 20):
        mixed = np.prod([(number + weight) / (number + 2 * weight) for number in range(of)])
        assert anytime.interval(Tally(of, of)) == pytest.approx(((0.05 * mixed) ** (1 / of), 1.0))
        low, high = anytime.interval(Tally(0, of))
        assert (1 - high, 1 - low) == pytest.approx(anytime.interval(Tally(of, of)))


def test_the_mixture_is_the_average_over_all_shares() -> None:
    from scipy.integrate import quad  # here, since most processes need no scipy

    def average(tally: Tally) -> float:
        def likelihood(share: float) -> float:
            return share**tally.hits * (1 - share) ** (tally.of - tally.hits)

        weight = (anytime.WEIGHT - 1, anytime.WEIGHT - 1)
        return float(quad(likelihood, 0, 1, weight="alg", wvar=weight)[0])

    for tally, against in ((Tally(3, 10), 0.7), (Tally(9, 12), 0.5)):
        of_one = against**tally.hits * (1 - against) ** (tally.of - tally.hits)
        ratio = average(tally) / average(Tally(0, 0)) / of_one
        assert anytime.log_evidence(tally, against) == pytest.approx(log(ratio))


def ever(stops: np.ndarray, share: float) -> float:
    """How often a rule ever stops: stops[n][k] says whether it does after k of n. Exact."""
    going, stopped = np.array([1.0]), 0.0
    for of in range(1, len(stops)):
        grown = np.convolve(going, [1 - share, share])
        ends = stops[of][: of + 1].astype(bool)
        stopped += grown[ends].sum()
        going = np.where(ends, 0.0, grown)
    return float(stopped)


@pytest.mark.parametrize("share", [0.03, 0.2, 0.5, 0.9])
def test_the_interval_covers_at_all_looks_together_and_wilsons_does_not(share: float) -> None:
    """How often the true share is ever outside, looking after each of 100 cells."""
    most = 100

    def misses(interval: object) -> np.ndarray:
        found = np.zeros((most + 1, most + 1))
        for of in range(1, most + 1):
            for hits in range(of + 1):
                found[of][hits] = interval(Tally(hits, of)).excludes(share)  # type: ignore[operator]
        return found

    def wilson(tally: Tally) -> Interval:
        z2 = 3.841458820694124
        middle, of = (tally.hits + z2 / 2) / (tally.of + z2), tally.of
        half = (z2 * (tally.share * (1 - tally.share) + z2 / (4 * of)) / of) ** 0.5 / (1 + z2 / of)
        return Interval(middle - half, middle + half)

    def always(tally: Tally) -> Interval:
        inside = anytime.log_evidence(tally, share) < log(20)
        return Interval(0, 1) if inside else Interval(2, 2)

    assert ever(misses(always), share) <= 0.05
    assert ever(misses(wilson), share) > 0.15


def factor(first: float, second: float, apart: float, seen: tuple[bool, bool]) -> float:
    """One round's evidence, with a nearest pair that is searched on a grid."""
    pairs = np.linspace(max(0, -apart), min(1, 1 - apart), 20_001)[1:-1]

    def distance(guess: float, share: np.ndarray) -> np.ndarray:
        return guess * np.log(guess / share) + (1 - guess) * np.log((1 - guess) / (1 - share))

    nearest = pairs[np.argmin(distance(first, pairs + apart) + distance(second, pairs))]
    value = 1.0
    for wedged, guess, share in ((seen[0], first, nearest + apart), (seen[1], second, nearest)):
        value *= guess / share if wedged else (1 - guess) / (1 - share)
    return float(value)


@pytest.mark.parametrize("apart", [-0.6, 0.0, 0.25])
def test_no_pair_with_that_difference_gains_evidence_against_it(apart: float) -> None:
    for first, second in ((0.1, 0.9), (0.5, 0.5), (0.8, 0.3)):
        factors = {seen: factor(first, second, apart, seen) for seen in product((False, True), repeat=2)}
        for true in np.linspace(max(0, -apart), min(1, 1 - apart), 25):
            odds = ((1 - true - apart, true + apart), (1 - true, true))
            mean = sum(odds[0][x] * odds[1][y] * factors[x, y] for x, y in factors)
            assert mean <= 1 + 1e-6


def test_the_evidence_is_the_product_over_the_rounds() -> None:
    rounds = [(False, True), (False, True), (True, True), (False, False), (False, True)]
    for apart in (-0.5, 0.0, 0.3):
        total, most, hits = 0.0, 0.0, [0, 0]
        for before, seen in enumerate(rounds):
            guesses = [(each + anytime.WEIGHT) / (before + 2 * anytime.WEIGHT) for each in hits]
            total += log(factor(guesses[0], guesses[1], apart, seen))
            most = max(most, total)
            hits = [each + wedged for each, wedged in zip(hits, seen, strict=True)]
        assert anytime._log_evidence_of(rounds, [apart])[0] == pytest.approx(most, abs=1e-3)
    assert anytime.p_value(rounds) == pytest.approx(np.exp(-anytime._log_evidence_of(rounds, [0.0])[0]))


def test_four_rounds_show_what_could_not_be_clearer_and_three_do_not() -> None:
    opposite = [(False, True)] * 4
    assert anytime.p_value(opposite[:3]) > 0.05 >= anytime.p_value(opposite)
    assert anytime.difference(opposite).high < 0 <= anytime.difference(opposite[:3]).high
    assert anytime.difference(opposite).low == -1


def test_the_difference_only_narrows_and_agrees_with_its_p() -> None:
    dice = np.random.default_rng(SEED)
    for shares in ((0.9, 0.4), (0.5, 0.5)):
        rounds = [tuple(map(bool, dice.random(2) < shares)) for _ in range(25)]
        looks = [anytime.difference(rounds[:count]) for count in range(26)]  # type: ignore[arg-type]
        assert all(b.low >= a.low and b.high <= a.high for a, b in pairwise(looks))
        for count, found in enumerate(looks):
            if found.excludes(0):
                assert anytime.p_value(rounds[:count]) <= 0.05  # type: ignore[arg-type]


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.5, 0.95])
def test_kernels_that_are_alike_are_seldom_told_apart_at_any_look(share: float) -> None:
    dice = np.random.default_rng(SEED)
    wedged = dice.random((2, 4000, 60)) < share
    clear = anytime.looks_at_equality(*wedged)[:, -1] >= log(20)
    assert clear.mean() <= 0.05


def test_the_interval_of_the_difference_covers_at_all_looks_together() -> None:
    dice = np.random.default_rng(SEED)
    for first, second in ((0.9, 0.5), (0.1, 0.1), (0.02, 0.98)):
        missed = 0
        for _ in range(150):
            rounds = [tuple(map(bool, seen)) for seen in dice.random((30, 2)) < (first, second)]
            evidence = anytime._log_evidence_of(rounds, [first - second])  # type: ignore[arg-type]
            missed += evidence[0] >= log(20)
        assert missed / 150 <= 0.05
