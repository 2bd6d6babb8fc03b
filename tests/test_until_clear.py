"""Stopping when it is clear: what the rule asks of one kernel and of several, and what the table says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tables import EN, WEDGED, WENT, cell, cells, row

from testbed.campaign import until_clear
from testbed.campaign.comparison import compare
from testbed.campaign.summary import summarise
from testbed.campaign.until_clear import Rule
from testbed.errors import UsageError


def seen(*wedged_in: bool) -> dict[int, bool]:
    return dict(enumerate(wedged_in, 1))


NEVER, EVER = seen(*[False] * 20), seen(*[True] * 20)


def first(rounds: dict[int, bool], count: int) -> dict[int, bool]:
    return {number: rounds[number] for number in range(1, count + 1)}


def test_one_kernel_is_clear_when_one_half_is_left_out() -> None:
    for rounds in (NEVER, EVER):
        assert Rule().open_kernels({"x": first(rounds, 5)}) == ("x",)
        assert Rule().open_kernels({"x": first(rounds, 6)}) == ()
    (look,) = Rule().looks({"x": first(EVER, 6)})
    assert look.clear and look.statement == "the interval for x leaves out one half"


def test_one_kernel_is_clear_when_its_interval_is_narrow() -> None:
    half = {number: bool(number % 2) for number in range(1, 81)}
    needed = next(count for count in range(1, 81) if not Rule().open_kernels({"x": first(half, count)}))
    assert 30 < needed < 50
    (look,) = Rule().looks({"x": first(half, needed)})
    assert look.statement == "the interval for x is narrower than 50 points"
    assert Rule(width=0.4).open_kernels({"x": first(half, needed)}) == ("x",)


def test_two_kernels_are_clear_when_they_differ_or_are_alike() -> None:
    differing = {"a": first(NEVER, 4), "b": first(EVER, 4)}
    assert Rule().open_kernels(differing) == ()
    assert Rule().looks(differing)[0].statement == "the difference between a and b is shown"
    assert Rule().open_kernels({"a": first(NEVER, 3), "b": first(EVER, 3)}) == ("a", "b")
    assert Rule().open_kernels({"a": first(NEVER, 5), "b": first(NEVER, 5)}) == ("a", "b")
    alike = Rule().looks({"a": first(NEVER, 6), "b": first(NEVER, 6)})
    assert [look.statement for look in alike] == ["a and b differ by less than 50 points"]


def test_a_kernel_that_no_question_is_open_about_is_not_played_on() -> None:
    many = {number: number in (1, 4, 7) for number in range(1, 13)}
    rows = {"a": first(many, 12), "b": seen(*[False] * 12), "c": first(EVER, 12)}
    assert Rule(width=0.3).open_kernels(rows) == ("a", "b")


def test_of_several_pairs_more_is_asked_than_of_one() -> None:
    pair = {"a": first(NEVER, 4), "b": first(EVER, 4)}
    three = Rule().looks({**pair, "c": first(NEVER, 4)})
    assert Rule().looks(pair)[0].clear
    assert not three[0].clear


def test_a_rule_is_refused_where_it_would_not_be_one() -> None:
    for wrong in ({"width": 0}, {"at_most": 0}, {"confidence": 1.0}, {"confidence": 0.2}):
        with pytest.raises(ValueError):
            Rule.model_validate(wrong)


def note(*kernels: str, **rule: Any) -> until_clear.Note:
    labels = [cell("recovered", kernel=kernel).plan.labels for kernel in kernels]
    return until_clear.note_of(labels, Rule.model_validate(rule))


def test_the_table_of_what_was_stopped_shows_what_holds_at_every_look() -> None:
    table = summarise([*cells("a", *WENT), *cells("b", *WEDGED)], [note("a", "b")])
    assert [one.repeats.wedged.always for one in table.rows] == [True, True]
    assert table.rows[0].words.startswith(f"wedged 0 of 5; 0{EN}55 % at 95 % at every look ")
    (found,) = table.comparisons
    assert found.words == (
        "a wedged less often than b: 0 of 5 against 5 of 5, "
        "difference -100 points (-100 to -20) at 95 % at every look, always-valid p = 0.008"
    )
    assert found.times is None and not found.times_shown
    (stop,) = table.stops
    assert stop.clear
    assert stop.statement == (
        "Stopped when clear, after 5 of at most 20 repeats: the difference between a and b is shown."
    )


def test_the_table_of_what_ended_at_its_bound_says_so() -> None:
    table = summarise([*cells("a", *WENT[:2]), *cells("b", *WEDGED[:3])], [note("a", "b", at_most=3)])
    (stop,) = table.stops
    assert not stop.clear
    assert stop.statement == "Not clear after 2 to 3 of at most 3 repeats: a and b may differ or not."


def test_a_kernel_that_has_no_cell_yet_is_still_in_question() -> None:
    (stop,) = summarise([*cells("a", *WENT), *cells("b", *WEDGED)], [note("a", "b", "c")]).stops
    assert not stop.clear
    assert "after 0 to 5 of at most 20 repeats: a and c may differ or not; b and c" in stop.statement


def test_pairs_are_held_to_the_family_that_the_rule_looked_at() -> None:
    rows = [row("a", *WENT, always=True), row("b", *WEDGED, always=True)]
    (alone,) = compare(rows)
    (of_three,) = compare(rows, note("a", "b", "c").families)
    assert of_three.adjusted == pytest.approx(3 * alone.adjusted)
    assert of_three.interval.high > alone.interval.high
    assert "at every look for all 3 pairs" in of_three.words


def test_a_note_speaks_of_its_place_alone() -> None:
    table = summarise([*cells("a", *WENT), *cells("a", *WENT, nic="virtio-net")], [note("a")])
    assert [one.repeats.wedged.always for one in table.rows] == [True, False]
    assert len(table.stops) == 1


def test_notes_are_kept_one_for_each_question(tmp_path: Path) -> None:
    for one in (note("a", "b"), note("b", "a", width=0.3), note("a")):
        until_clear.write_note(tmp_path, one)
    found = until_clear.read_notes(tmp_path)
    assert sorted(len(one.kernels) for one in found) == [1, 2]
    assert next(one for one in found if len(one.kernels) == 2).rule.width == 0.3


def test_a_damaged_note_is_named(tmp_path: Path) -> None:
    (tmp_path / "until-clear-0.json").write_text('{"kernels": []}')
    with pytest.raises(UsageError, match=r"not a note.*|until-clear-0"):
        until_clear.read_notes(tmp_path)
