"""What repeats of kernels come to: what counts as wedged, and how two kernels differ."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tables import EN, WEDGED, WENT, cell, cells, row

from testbed.campaign.comparison import compare
from testbed.campaign.expectation import compare as held_against
from testbed.campaign.observation import mixed, of_cell
from testbed.campaign.outcomes import SORTS, counts, wedged
from testbed.campaign.repeats import repeats_of, times_of
from testbed.judge import OUTCOMES
from testbed.model import Outcome

# --- what counts as what


def test_every_outcome_has_its_sort() -> None:
    assert set(SORTS) == set(OUTCOMES)


def test_wedged_is_failing_to_recover_by_any_name() -> None:
    assert {outcome for outcome in OUTCOMES if wedged(outcome)} == {
        *("stalled", "starved", "deadlocked", "livelocked")
    }
    assert {outcome for outcome in OUTCOMES if not counts(outcome)} == {
        *("inconclusive", "server-down", "network-down")
    }


def test_other_failures_are_told_apart_and_stay_among_those_that_count() -> None:
    one = row("x", "stalled", "recovered", "oom-killed", "crashed", "inconclusive")
    assert one.wedged.tally == (1, 4)
    assert one.split == (
        "recovered 1",
        "stalled 1",
        "oom-killed 1",
        "crashed 1",
        "not counted: inconclusive 1",
    )
    assert one.words.startswith(f"wedged 1 of 4; 5{EN}70 % at 95 % ")


@pytest.mark.parametrize(
    ("expect", "outcome", "met"),
    [
        ("not recovered", "network-down", "met"),
        ("not recovered", "inconclusive", "inconclusive"),
        ("recovered", "network-down", "inconclusive"),
        ("server-down", "server-down", "met"),
        ("inconclusive", "inconclusive", "met"),
        ("not recovered", "starved", "met"),
    ],
)
def test_what_says_nothing_of_the_kernel_fails_nothing(expect: str, outcome: Outcome, met: str) -> None:
    assert held_against(expect, cell(outcome).verdict) == met


def test_who_was_killed_never_recovered_and_is_not_only_watched_less_long() -> None:
    """Else five kills at 20 s and one recovery at 30 s would look like six recoveries of six."""
    killed = cells("x", *(["oom-killed"] * 5))
    times = times_of([of_cell(one) for one in (*killed, cell("recovered", 6, 30.0))])
    assert times.seen_s == (30.0,)
    assert times.unseen_s == (60.0,) * 5


def test_a_deadlock_by_proof_would_not_have_ended_had_it_been_watched_longer() -> None:
    """The proof ends the cell: censored there, a slow recovery elsewhere would seem to outlast it."""
    proven = replace(of_cell(cell("deadlocked")), observed_s=25.0)
    assert times_of([proven]).unseen_s == (60.0,)
    assert times_of([replace(proven, outcome="stalled", observed_s=300.0)]).unseen_s == (300.0,)


def test_a_row_of_what_does_not_count_says_so() -> None:
    nothing = row("x", "inconclusive", "network-down")
    assert nothing.words == "not counted: network-down 1, inconclusive 1"
    assert nothing.recovery.words == "\N{EM DASH}"
    assert nothing.recovery.median_words == "no times"


# --- two kernels


def test_a_comparison_says_in_words_who_wedged_less_often() -> None:
    (found,) = compare([row("stock", *WENT), row("vanilla-2007", *WEDGED)])
    assert found.shown
    assert found.words == (
        "stock wedged less often than vanilla-2007: 0 of 5 against 5 of 5, "
        "difference -100 points (-100 to -39) at 95 %, Fisher p = 0.008"
    )
    assert found.times_words == (
        "stock median 13 s (11 s or more at 95 %); vanilla-2007 no median (5 of 5 did not recover); "
        "log-rank by permutation p = 0.008"
    )
    (turned,) = compare([row("vanilla-2007", *WEDGED), row("stock", *WENT)])
    assert turned.words.startswith("vanilla-2007 wedged more often than stock: 5 of 5 against 0 of 5")
    assert turned.interval == pytest.approx((0.3855, 1.0), abs=1e-4)


def test_what_is_not_shown_is_not_said_to_be_equal() -> None:
    (found,) = compare([row("a", *WENT), row("b", *WENT)])
    assert not found.shown and found.finding is None
    assert found.words == (
        "no difference shown between a and b: 0 of 5 against 0 of 5, "
        "difference 0 points (-43 to 43) at 95 %, Fisher p = 1"
    )


def test_times_may_differ_where_shares_do_not() -> None:
    slow = [cell("recovered", number, 40.0 + number, kernel="b") for number in range(1, 6)]
    (found,) = compare([row("a", *WENT), repeats_of([of_cell(one) for one in slow])])
    assert not found.shown and found.times_shown
    assert found.finding is not None
    assert found.finding.startswith("Times to recover differ between a and b: a median 13 s")


def test_several_comparisons_are_adjusted_after_holm() -> None:
    found = compare([row("a", *WENT), row("b", *WENT), row("c", *WEDGED)])
    assert [(one.first.kernel, one.second.kernel) for one in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [one.adjusted for one in found] == pytest.approx([1.0, 4 / 252, 4 / 252])
    assert found[1].p_words == "Fisher p = 0.008, after Holm p = 0.016"
    assert found[0].p_words == "Fisher p = 1"


def test_only_what_was_asked_the_same_is_compared() -> None:
    rows = [row("a", *WENT), row("b", *WEDGED, nic="virtio-net"), row("c", "inconclusive")]
    assert compare(rows) == ()


def test_cells_that_do_not_belong_together_are_named() -> None:
    one, other = (of_cell(each) for each in cells("stock", "recovered", "recovered"))
    assert mixed([one, other]) == ()
    rebuilt = {**other.inputs, "kernel under test": "ff" * 12, "topology": "ee" * 12}
    told = mixed([one, replace(other, inputs=rebuilt)])
    assert told == (
        "Not all cells were asked the same: of 'topology' they had 2 versions.",
        "The cells of stock are of 2 builds of it.",
    )
