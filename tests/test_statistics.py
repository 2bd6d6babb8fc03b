"""The numbers of tables, held against published ones, against hand-made ones, and against simulations."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from itertools import combinations, pairwise, product
from math import comb, log

import numpy as np
import pytest
from scipy.integrate import quad

from testbed.campaign.statistics import anytime, power, proportions, recovery
from testbed.campaign.statistics.proportions import Interval, Tally
from testbed.campaign.statistics.recovery import Times

SEED = 20261124


def test_the_heavy_libraries_are_not_imported_with_the_command() -> None:
    code = "import sys, testbed.cli.main; print({'scipy', 'statsmodels', 'lifelines'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True, timeout=60)
    assert told.stdout == b"set()\n"


# --- shares


@pytest.mark.parametrize(
    ("tally", "low", "high"),
    [  # R. G. Newcombe, Statist. Med. 17 (1998) 857, table I, method 3
        (Tally(81, 263), 0.2553, 0.3662),
        (Tally(15, 148), 0.0624, 0.1605),
        (Tally(0, 20), 0.0, 0.1611),
        (Tally(1, 29), 0.0061, 0.1718),
        (Tally(20, 20), 0.8389, 1.0),
        (Tally(5, 5), 0.5655, 1.0),
    ],
)
def test_wilson_as_published(tally: Tally, low: float, high: float) -> None:
    assert proportions.wilson(tally) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [  # R. G. Newcombe, Statist. Med. 17 (1998) 873, table II, method 10
        (Tally(56, 70), Tally(48, 80), 0.0524, 0.3339),
        (Tally(9, 10), Tally(3, 10), 0.1705, 0.8090),
        (Tally(10, 10), Tally(0, 10), 0.6075, 1.0),
        (Tally(0, 10), Tally(0, 10), -0.2775, 0.2775),
    ],
)
def test_newcombs_difference_as_published(first: Tally, second: Tally, low: float, high: float) -> None:
    assert proportions.difference(first, second) == pytest.approx((low, high), abs=5e-5)
    assert proportions.difference(second, first) == pytest.approx((-high, -low), abs=5e-5)


def by_hand(first: Tally, second: Tally) -> float:
    """Fisher's p by counting: integers only."""
    hits = first.hits + second.hits

    def ways(own: int) -> int:
        return comb(first.of, own) * comb(second.of, hits - own)

    tables = range(max(0, hits - second.of), min(first.of, hits) + 1)
    rare = sum(ways(own) for own in tables if ways(own) <= ways(first.hits))
    return rare / comb(first.of + second.of, hits)


def test_fisher_as_published_and_by_counting() -> None:
    assert proportions.fisher(Tally(3, 4), Tally(1, 4)) == pytest.approx(34 / 70)  # the lady tasting tea
    assert proportions.fisher(Tally(0, 5), Tally(5, 5)) == pytest.approx(2 / 252)
    for one, other in ((Tally(2, 9), Tally(7, 8)), (Tally(1, 20), Tally(6, 20)), (Tally(3, 3), Tally(0, 7))):
        assert proportions.fisher(one, other) == pytest.approx(by_hand(one, other))


def test_the_least_p_is_that_of_the_outermost_table() -> None:
    assert proportions.least_fisher(Tally(0, 5), Tally(5, 5)) == pytest.approx(2 / 252)
    assert proportions.least_fisher(Tally(2, 5), Tally(3, 5)) == pytest.approx(2 / 252)
    assert proportions.least_fisher(Tally(0, 5), Tally(0, 5)) == 1
    assert proportions.least_fisher(Tally(1, 1), Tally(0, 5)) == pytest.approx(1 / 6)


def test_holm_by_hand_and_without_what_could_not_show_anything() -> None:
    values = (0.01, 0.04, 0.03, 0.005)
    assert proportions.holm(values, [0] * 4) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert proportions.holm((0.01, 0.3, 0.02), (0.01, 0.2, 0.02)) == pytest.approx((0.02, 1, 0.02))
    assert proportions.holm((0.2,), (0.06,)) == (1.0,)
    assert proportions.holm((), ()) == ()


def binomials(of: int, share: float) -> list[float]:
    return [comb(of, hits) * share**hits * (1 - share) ** (of - hits) for hits in range(of + 1)]


def test_holm_errs_in_few_tables_however_many_comparisons() -> None:
    """Three kernels that are alike, 5 cells each: how many of all tables show any difference."""

    @cache
    def shows(hits: tuple[int, ...]) -> bool:
        pairs = [(Tally(a, 5), Tally(b, 5)) for a, b in combinations(hits, 2)]
        least = [proportions.least_fisher(*pair) for pair in pairs]
        return min(proportions.holm([by_hand(*pair) for pair in pairs], least)) <= 0.05

    likely = binomials(5, 0.5)
    tables = product(range(6), repeat=3)
    wrong = sum(np.prod([likely[each] for each in hits]) for hits in tables if shows(tuple(sorted(hits))))
    assert 0 < wrong <= 0.05


def test_wilson_covers_as_often_as_it_says() -> None:
    intervals = [proportions.wilson(Tally(hits, 20)) for hits in range(21)]
    coverage = [
        sum(p for p, found in zip(binomials(20, share), intervals, strict=True) if not found.excludes(share))
        for share in np.linspace(0.02, 0.98, 49)
    ]
    assert np.mean(coverage) == pytest.approx(0.95, abs=0.01)
    assert min(coverage) > 0.83  # as is known of it, near 0 and 1


def test_without_a_cell_nothing_is_known() -> None:
    nothing = Tally(0, 0)
    assert proportions.wilson(nothing) == anytime.interval(nothing) == Interval(0, 1)
    assert proportions.difference(nothing, Tally(1, 1)) == anytime.difference([]) == Interval(-1, 1)
    assert proportions.fisher(nothing, Tally(1, 1)) == anytime.p_value([]) == 1


# --- what holds at every look


def test_the_interval_is_where_the_mixture_is_outweighed() -> None:
    """Of n of n the condition can be solved: p^n = level B(n + w, w) / B(w, w)."""
    weight = anytime.WEIGHT
    for of in (1, 4, 7, 20):
        mixed = np.prod([(number + weight) / (number + 2 * weight) for number in range(of)])
        assert anytime.interval(Tally(of, of)) == pytest.approx(((0.05 * mixed) ** (1 / of), 1.0))
        low, high = anytime.interval(Tally(0, of))
        assert (1 - high, 1 - low) == pytest.approx(anytime.interval(Tally(of, of)))


def test_the_mixture_is_the_average_over_all_shares() -> None:
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
        for _ in range(300):
            rounds = [tuple(map(bool, seen)) for seen in dice.random((30, 2)) < (first, second)]
            evidence = anytime._log_evidence_of(rounds, [first - second])  # type: ignore[arg-type]
            missed += evidence[0] >= log(20)
        assert missed / 300 <= 0.05


# --- times to recover

SIX_MP = Times((6, 6, 6, 7, 10, 13, 16, 22, 23), (6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35))
PLACEBO = Times((1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23))
"""Weeks to relapse: E. J. Freireich et al., Blood 21 (1963) 699; in most textbooks."""


def test_kaplan_and_meier_as_published() -> None:
    steps = recovery.curve(SIX_MP)
    left = {at: 1 - share for at, share in zip(steps.at_s, steps.share, strict=True)}
    for at, share in (
        (6, 0.857),
        (7, 0.807),
        (10, 0.753),
        (13, 0.690),
        (16, 0.627),
        (22, 0.538),
        (23, 0.448),
    ):
        assert left[at] == pytest.approx(share, abs=5e-4)
    assert recovery.median(SIX_MP) == (23, 13, None)
    assert recovery.median(PLACEBO) == (8, 4, 11)


def test_the_log_rank_test_as_published() -> None:
    found = recovery.logrank(SIX_MP, PLACEBO)
    assert found is not None and not found.exact
    assert found.p == pytest.approx(4.17e-5, rel=1e-2)  # chi-square 16.79


@pytest.mark.parametrize(
    ("seen", "unseen", "median"),
    [
        ((1, 2, 3), (), 2),
        ((1, 2), (60, 60), 2),
        ((1,), (60, 60), None),
        ((), (60,), None),
        ((5,), (), 5),
        ((2, 9), (4,), 9),
        ((0, 0, 0), (), 0),
        ((1, 2, 3), (60, 60, 60), 3),
    ],
)
def test_the_median_counts_those_that_never_recovered(
    seen: tuple[float, ...], unseen: tuple[float, ...], median: float | None
) -> None:
    assert recovery.median(Times(seen, unseen)).at_s == median


def test_too_few_recoveries_have_no_interval_and_few_have_no_end() -> None:
    assert recovery.median(Times((1, 2, 3, 4))) == (2, None, None)
    assert recovery.median(Times((1, 2, 3, 4, 5))) == (3, 1, None)
    assert recovery.median(Times((1, 2, 3, 4, 5, 6, 7))) == (4, 1, 6)


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [
        (Times((1, 2, 3)), Times((), (60, 60, 60)), 2 / 20),
        (Times((1, 2, 3, 4, 5)), Times((), (60,) * 5), 2 / 252),
        (Times((1,)), Times((), (60,) * 5), 1 / 6),
        (Times((1, 1)), Times((1, 1, 1)), 1.0),
    ],
)
def test_few_times_are_compared_by_all_permutations(first: Times, second: Times, p: float) -> None:
    found = recovery.logrank(first, second)
    assert found is not None and found.exact
    assert found.p == pytest.approx(p)
    assert found.least <= found.p


def test_where_nothing_recovered_there_is_nothing_to_compare() -> None:
    assert recovery.logrank(Times((), (60,)), Times((), (60,))) is None
    assert recovery.logrank(Times(), Times((1,))) is None


# --- how many repeats


def test_power_is_that_of_counting_every_table() -> None:
    for first, second, of in ((0.9, 0.5, 6), (0.2, 0.8, 7)):
        found = sum(
            p * q
            for (own, p), (other, q) in product(
                enumerate(binomials(of, first)), enumerate(binomials(of, second))
            )
            if by_hand(Tally(own, of), Tally(other, of)) <= 0.05
        )
        assert power.exact(first, second, of) == pytest.approx(found)


def test_power_as_published() -> None:
    """statmod's manual (power.fisher.test of R): 0.5 against 0.9 with 20 each, "70% chance" by 100 runs."""
    assert power.exact(0.5, 0.9, 20) == pytest.approx(0.70, abs=0.1)


def test_from_so_many_repeats_on_the_power_suffices() -> None:
    found = power.needed(0.9, 0.5, 0.8)
    assert found is not None
    powers = [power.exact(0.9, 0.5, of) for of in range(found.repeats - 1, found.repeats + power.AHEAD + 1)]
    assert powers[0] < 0.8 <= min(powers[1:])
    assert found.power == powers[1]
    assert found.approximate < found.repeats
    assert power.needed(1.0, 0.0, 0.8) == power.Needed(4, 1.0, 2)
    assert power.needed(0.52, 0.5, 0.8) is None


def test_stopping_early_is_as_it_is_played() -> None:
    never = power.until_clear(0.3, 0.3, 20)
    assert never.shown <= 0.05 and never.mean_repeats > 19
    assert power.until_clear(1.0, 0.0, 20) == power.Course(20, 1.0, 4.0)
    found = power.until_clear(0.9, 0.5, 40)
    assert 0.7 < found.shown < 0.95 and found.mean_repeats < 30
