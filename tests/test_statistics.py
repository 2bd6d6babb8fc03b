"""The numbers of tables, held against published ones, against hand-made ones, and against simulations."""

from __future__ import annotations

import math
import random
from functools import cache
from itertools import combinations, product
from math import comb
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.campaign.statistics import anytime, power, proportions, recovery
from testbed.campaign.statistics.proportions import Interval, Tally
from testbed.campaign.statistics.ranks import rank_sum, ratio
from testbed.campaign.statistics.recovery import Times

SEED = 20261124


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


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_statsmodels_holm(values: list[float]) -> None:
    from statsmodels.stats.multitest import multipletests  # here, since most processes need no pandas

    with mock.patch("gc.collect"):  # it collects at every call
        expected = multipletests(values, method="holm")[1]
    assert proportions.holm(values, [0] * len(values)) == pytest.approx(tuple(expected))


def binomials(of: int, share: float) -> list[float]:
    return [comb(of, hits) * share**hits * (1 - share) ** (of - hits) for hits in range(of + 1)]


def test_holm_errs_in_few_tables_however_many_comparisons() -> None:
    """Three kernels that are alike, 5 cells each: how many of all tables show any difference."""

    @cache
    def shows(hits: tuple[int, ...]) -> bool:
        pairs = [(Tally(a, 5), Tally(b, 5)) for a, b in combinations(hits, 2)]
        values = [by_hand(*pair) for pair in pairs]
        if min(values) > 0.05:
            return False
        return min(proportions.holm(values, [proportions.least_fisher(*pair) for pair in pairs])) <= 0.05

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


@given(
    first=st.lists(st.integers(0, 9), min_size=1, max_size=6),
    second=st.lists(st.integers(0, 9), min_size=1, max_size=6),
)
def test_the_rank_sum_is_held_against_all_ways_to_deal_the_numbers_out(
    first: list[int], second: list[int]
) -> None:
    numbers = [*first, *second]
    ranks = [
        sum(other < one for other in numbers) + sum(other <= one for other in numbers) for one in numbers
    ]
    sums = [abs(sum(each) - len(first) * len(ranks)) for each in combinations(ranks, len(first))]
    own = abs(sum(ranks[: len(first)]) - len(first) * len(ranks))
    found = rank_sum(first, second)
    assert found.p == pytest.approx(sum(each >= own for each in sums) / len(sums))
    assert found.least == pytest.approx(sums.count(max(sums)) / len(sums)) and found.least <= found.p
    assert rank_sum(second, first) == found


def test_a_ratio_is_what_the_rank_sum_does_not_reject() -> None:
    """Five against five: the third of all 25 quotients from either end (2 x 4 of 252 ways)."""
    first, second = [11.0, 13.0, 17.0, 19.0, 23.0], [10.0, 12.0, 14.0, 15.0, 16.0]
    quotients = sorted(one / other for one in first for other in second)
    assert ratio(first, second) == (quotients[2], quotients[-3])
    for factor, rejected in ((0.99 * quotients[2], True), (1.01 * quotients[2], False)):
        scaled = [each * factor for each in second]
        assert (rank_sum(first, scaled).p <= 0.05) == rejected
    low, high = ratio(second, first)
    assert (low, high) == (pytest.approx(1 / quotients[-3]), pytest.approx(1 / quotients[2]))


def test_few_numbers_exclude_no_ratio_and_what_is_without_bound_is_none() -> None:
    nothing = (0.0, math.inf)
    assert ratio([1.0] * 3, [2.0] * 3) == ratio([], [1.0]) == ratio([], []) == nothing
    assert ratio([1.0] * 4, [2.0] * 4) == (0.5, 0.5)
    assert ratio([0.0] * 5, [0.0] * 5) == ratio([math.inf] * 5, [math.inf] * 5) == (1.0, 1.0)
    assert ratio([1.0] * 5, [0.0] * 5) == (math.inf, math.inf)


def test_a_ratio_covers_what_it_says() -> None:
    generator = random.Random(1)

    def rates(factor: float) -> list[float]:
        return [factor * generator.lognormvariate(0, 0.3) for _ in range(5)]

    held = sum(low <= 1.5 <= high for low, high in (ratio(rates(1.5), rates(1)) for _ in range(2000)))
    assert 0.955 < held / 2000 < 0.98  # 1 - 8 / 252 is 0.968


def test_a_rank_sum_of_nothing_shows_nothing() -> None:
    assert rank_sum([], [1.0]) == (1.0, 1.0)
    assert rank_sum([0.0] * 5, [0.0] * 5) == (1.0, 1.0)
    assert rank_sum([1, 2, 3, 4, 5], [0] * 5).p == pytest.approx(2 / 252)
