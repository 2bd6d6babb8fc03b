"""The claims: rules at their edges, cells found for arms, a bad table, and the page that is committed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import WEDGED, WENT, cells

from testbed.campaign import claims, kept
from testbed.campaign.claims import RULES, Assessed, document, rules
from testbed.campaign.claims.table import IDS
from testbed.campaign.counted import at_rest
from testbed.campaign.kept import Collected, Found
from testbed.campaign.observation import of_cell
from testbed.campaign.outcomes import SORTS
from testbed.campaign.repeats import place_of
from testbed.campaign.statistics.proportions import Interval, Tally, wilson
from testbed.campaign.until_clear import Note, Rule
from testbed.configuration import RuleName
from testbed.errors import UsageError
from testbed.load import CLAIMS
from testbed.model import Outcome

ROOT = Path(__file__).parent.parent
SUMMARIES = ROOT / "results" / "summaries"
PAGE = ROOT / "docs" / "claims.md"

HEAD = 'title = "t"\nsource = "s"\n'
C3 = """
[claims.C3]
who = "Somebody"
date = "2007-08-15"
statement = "A wedges."
rule = "wedges-mostly"
arms = [{ kernel = "vanilla-2007", playbook = "flood" }]
"""
C11 = """
[claims.C11]
who = "Somebody else"
date = "2007-08-21"
statement = "Rarer."
rule = "wedges-less"
arms = [{ kernel = "stock", playbook = "flood" }, { kernel = "vanilla-2007", playbook = "flood" }]
"""
MIXED: Sequence[Outcome] = ("recovered", "stalled", "recovered", "recovered", "recovered")


def table(folder: Path, text: str = C3) -> tuple[claims.Claim, ...]:
    path = folder / "claims.toml"
    path.write_text(HEAD + text)
    return claims.read(path)


def found(kernel: str, *outcomes: Outcome, **labels: Any) -> list[Found]:
    """Cells as they are kept, each with a history of its own."""
    made = [of_cell(cell) for cell in cells(kernel, *outcomes, **labels)]
    return [
        Found(one, Path(f"/kept/{one.name}.json"), f"{kernel}-{number}-{labels}")
        for number, one in enumerate(made)
    ]


def assess(
    folder: Path, text: str, *groups: list[Found], notes: tuple[Note, ...] = ()
) -> tuple[Assessed, ...]:
    everything = Collected(tuple(cell for group in groups for cell in group), notes)
    return claims.assess(table(folder, text), kept.together(everything))


def alone(folder: Path, text: str, *groups: list[Found]) -> Assessed:
    (one,) = assess(folder, text, *groups)
    return one


# --- rules


@pytest.mark.parametrize(
    ("outcomes", "state", "missing"),
    [
        (WEDGED, "holds", 0),
        (WENT, "refuted", 0),
        (MIXED, "not settled", 0),
        (WEDGED[:4], "not settled", 1),
        ((), "not settled", 5),
        ((*WEDGED[:4], "inconclusive", "server-down", "network-down"), "not settled", 1),
        ((*WEDGED, "inconclusive"), "not settled", 0),
        ((*WEDGED, "livelocked", "stalled", "inconclusive"), "holds", 0),
        (("oom-killed",) * 5, "refuted", 0),
    ],
    ids=[
        "5 of 5",
        "0 of 5",
        "1 of 5",
        "4",
        "none",
        "4 and three that do not count",
        "5 and one",
        "7 and one",
        "killed",
    ],
)
def test_wedges_mostly_at_its_edges(
    tmp_path: Path, outcomes: tuple[Outcome, ...], state: str, missing: int
) -> None:
    one = alone(tmp_path, C3, found("vanilla-2007", *outcomes))
    assert (one.state, one.missing) == (state, missing)
    lacks = {0: "", 1: "one cell is missing", 5: "5 cells are missing"}[missing]
    assert lacks in one.words and ("missing" in one.words) == bool(missing)


def test_who_was_killed_neither_wedged_nor_went_on(tmp_path: Path) -> None:
    killed = found("vanilla-2007", *("oom-killed",) * 5)
    for rule in ("wedges-mostly", "recovers-mostly"):
        assert alone(tmp_path, C3.replace("wedges-mostly", rule), killed).state == "refuted"
    went = found("vanilla-2007", *("slow", "recovered") * 3)
    assert alone(tmp_path, C3.replace("wedges-mostly", "recovers-mostly"), went).state == "holds"


@pytest.mark.parametrize(
    ("first", "second", "state"),
    [
        (WENT, WEDGED, "holds"),
        (WEDGED, WENT, "refuted"),
        (WENT, WENT, "not settled"),
        (WEDGED, WEDGED, "refuted"),
        (WENT, MIXED, "not settled"),
        (WENT[:4], WEDGED, "not settled"),
    ],
    ids=["as foretold", "the contrary", "nothing to be better at", "no help", "hardly", "too few"],
)
def test_wedges_less_has_a_direction(
    tmp_path: Path, first: Sequence[Outcome], second: Sequence[Outcome], state: str
) -> None:
    one = alone(tmp_path, C11, found("stock", *first), found("vanilla-2007", *second))
    assert one.state == state
    (answer,) = one.answers
    assert (answer.difference is None) == (len(first) < 5)
    if answer.difference is not None:
        assert "Fisher p" in answer.words and "points" in answer.words


def test_recovers_more_counts_what_went_on_and_alike_what_lies_near(tmp_path: Path) -> None:
    killed, went = found("vanilla-2007", *("io-error",) * 5), found("stock", *WENT)
    text = C11.replace("wedges-less", "recovers-more")
    assert alone(tmp_path, text, went, killed).state == "holds"
    assert alone(tmp_path, C11, went, killed).state == "not settled"  # neither of them wedged
    text = C11.replace("wedges-less", "alike")
    assert alone(tmp_path, text, went, found("vanilla-2007", *WENT)).state == "holds"
    assert alone(tmp_path, text, went, found("vanilla-2007", *WEDGED)).state == "refuted"
    assert alone(tmp_path, text, went, found("vanilla-2007", *MIXED)).state == "not settled"


@pytest.mark.parametrize(
    ("first", "second", "more", "needed"),
    [
        (WENT, WEDGED, "holds", "holds"),
        (WEDGED, WENT, "refuted", "refuted"),
        (WENT, WENT, "not settled", "refuted"),
        (WEDGED, WEDGED, "refuted", "not settled"),
        (WENT, MIXED, "not settled", "not settled"),
        (MIXED, WEDGED, "holds", "holds"),
        (MIXED[:2] * 2 + WENT[:1], WEDGED, "not settled", "not settled"),
    ],
    ids=["it does it", "the contrary", "well without", "no help", "hardly without", "4 of 5", "3 of 5"],
)
def test_what_helps_and_what_is_needed_have_a_no_each(
    tmp_path: Path, first: Sequence[Outcome], second: Sequence[Outcome], more: str, needed: str
) -> None:
    groups = found("stock", *first), found("vanilla-2007", *second)
    for rule, state in (("recovers-more", more), ("is-needed", needed)):
        assert alone(tmp_path, C11.replace("wedges-less", rule), *groups).state == state


def test_both_mostly_wedge_must_not_hang_on_inconclusive_cells(tmp_path: Path) -> None:
    one = alone(tmp_path, C11, found("stock", *WEDGED, "inconclusive"), found("vanilla-2007", *WEDGED))
    assert one.state == "not settled" and "one inconclusive cell" in one.answers[0].words


def measuring(cells: list[Found], *measures: dict[str, float]) -> list[Found]:
    return [
        replace(cell, observation=replace(cell.observation, measures=each))
        for cell, each in zip(cells, measures, strict=True)
    ]


def calling(cells: list[Found], *failed: float, calls: float = 1000) -> list[Found]:
    """The cells with a storm in each, of whose calls so many failed during the outage."""
    told = [{"outage_calls": calls, "outage_calls_failed": number, "calls_failed": 99} for number in failed]
    return measuring(cells, *told)


def test_fails_calls_more_compares_how_often_calls_failed_however_a_cell_came_out(tmp_path: Path) -> None:
    text = C11.replace("wedges-less", "fails-calls-more")
    some, none = (
        calling(found("stock", *WENT), 1, 9, 2, 400, 1),
        calling(found("vanilla-2007", *WEDGED), *[0] * 5),
    )
    one = alone(tmp_path, text, some, none)
    assert one.state == "holds"
    assert "had calls fail 5 of 5" in one.words and "had calls fail 0 of 5" in one.words
    assert "2 against 0 of 1,000 calls failed in the median cell, rank sum p = 0.008" in one.words
    less = calling(found("stock", *WENT), *[0] * 5), calling(found("vanilla-2007", *WENT), *[3] * 5)
    assert alone(tmp_path, text, *less).state == "refuted"
    untold = alone(tmp_path, text, found("stock", *WENT), found("vanilla-2007", *WENT))
    assert untold.missing == 10, "nobody counted calls there"


def test_where_no_call_fails_with_it_it_does_not_make_more_fail(tmp_path: Path) -> None:
    text = C11.replace("wedges-less", "fails-calls-more")
    none, either = calling(found("stock", *WENT), *[0] * 5), calling(found("vanilla-2007", *WENT), *[0] * 5)
    assert alone(tmp_path, text, none, either).state == "refuted"
    some, as_many = calling(found("stock", *WENT), *[2] * 5), calling(found("vanilla-2007", *WENT), *[2] * 5)
    assert alone(tmp_path, text, some, as_many).state == "not settled"


def test_others_fail_asks_whether_any_call_failed(tmp_path: Path) -> None:
    text = C3.replace("wedges-mostly", "others-fail")

    def state(*failed: float) -> str:
        return alone(tmp_path, text, calling(found("vanilla-2007", *MIXED), *failed)).state

    assert [state(1, 2, 3, 4, 5), state(*[0] * 5), state(0, 0, 0, 0, 7)] == [
        *("holds", "refuted", "not settled")
    ]
    assert alone(tmp_path, text, found("vanilla-2007", *WENT)).missing == 5, "nobody made calls"


def test_never_breaks_takes_one_crash_or_many_cells(tmp_path: Path) -> None:
    text = C3.replace("wedges-mostly", "never-breaks")

    def state(*outcomes: Outcome, failed: float = 3) -> str:
        return alone(
            tmp_path, text, calling(found("vanilla-2007", *outcomes), *[failed] * len(outcomes))
        ).state

    through: Sequence[Outcome] = ("recovered", "stalled", "oom-killed", "io-error") * 4
    assert [state(*through), state(*through[:15])] == ["holds", "not settled"]
    assert [state(*through[:15], bad) for bad in ("crashed", "corrupt")] == ["refuted", "refuted"]
    assert state(*through, "crashed") == "refuted", "however many did not"
    # Who crashed is known to have, so that what is in doubt did not.
    assert state(*through, "inconclusive") == "holds"
    # Where nothing failed there was nothing to break of; who crashed is told all the same.
    assert state(*through, failed=0) == "not settled"
    assert state(*["crashed"] * 5, failed=0) == "refuted"


def writing(kernel: str, *kib: float, took_ms: float = 1000) -> list[Found]:
    return measuring(found(kernel, *WENT), *({"job_kib": each, "job_ms": took_ms} for each in kib))


def test_no_slower_is_within_a_tenth_by_ranks(tmp_path: Path) -> None:
    text = C11.replace("wedges-less", "no-slower")
    plain = (2000, 2010, 2020, 2030, 2040)

    def one(*kib: float, took_ms: float = 1000) -> Assessed:
        return alone(tmp_path, text, writing("stock", *kib, took_ms=took_ms), writing("vanilla-2007", *plain))

    alike = one(2005, 2011, 2021, 2031, 2025)
    assert alike.state == "holds"
    assert "2.02e+03 against 2.02e+03 KiB a second were written in the median cell" in alike.words
    assert one(4000, 4010, 4020, 4030, 4040).state == "holds", "faster is no slower"
    assert one(*plain, took_ms=2000).state == "refuted", "as much in twice the time"
    assert one(1990, 1991, 1992, 1993, 1994).state == "refuted", "a hundredth, but it can be measured"
    assert one(1500, 1900, 2015, 2500, 2600).state == "not settled"


def test_one_inconclusive_cell_turns_a_rate_of_few_cells_and_not_of_many(tmp_path: Path) -> None:
    text = C11.replace("wedges-less", "no-slower")
    plain = (2000, 2010, 2020, 2030, 2040)

    def state(times: int) -> str:
        many = WENT * times
        told = [{"job_kib": each, "job_ms": 1000.0} for each in plain * times]
        first, second = (measuring(found(kernel, *many), *told) for kernel in ("stock", "vanilla-2007"))
        doubtful = found("stock", *many, "inconclusive")[-1:]
        return alone(tmp_path, text, [*first, *doubtful], second).state

    assert [state(1), state(2)] == ["not settled", "holds"]


BURNER = "reserve-burner/reclaim"


def test_gets_more_compares_counters_of_the_burner(tmp_path: Path) -> None:
    sets = ("recursive-reclaim+reserve-burner", "reserve-burner")
    text = C11.replace("wedges-less", "gets-more").replace("stock", sets[0]).replace("vanilla-2007", sets[1])

    def burning(kernel: str, *got: int) -> list[Found]:
        counted = ({f"{BURNER}/burns": 8, f"{BURNER}/pages_got": each, R: 1} for each in got)
        return [
            replace(cell, counters=each) for cell, each in zip(found(kernel, *WENT), counted, strict=True)
        ]

    few, many = (400, 410, 420, 430, 440), (8000, 8100, 8200, 8300, 8400)
    one = alone(tmp_path, text, burning(sets[0], *many), burning(sets[1], *few))
    assert one.state == "holds" and "pages by 1,000 burns" in one.words
    assert alone(tmp_path, text, burning(sets[0], *few), burning(sets[1], *many)).state == "refuted"
    assert alone(tmp_path, text, burning(sets[0], *few), burning(sets[1], *few)).state == "not settled"
    assert alone(tmp_path, text, found(sets[0], *WENT), found(sets[1], *WENT)).missing == 10


def test_what_is_compared_is_a_rate_so_that_who_calls_less_often_is_not_better(tmp_path: Path) -> None:
    text = C11.replace("wedges-less", "fails-calls-more")
    often = calling(found("stock", *WENT), 10, 11, 12, 13, 14, calls=10_000)
    seldom = calling(found("vanilla-2007", *WEDGED), 2, 3, 4, 5, 6, calls=100)
    assert alone(tmp_path, text, often, seldom).state == "refuted"


def test_delivers_more_compares_the_share_that_was_read(tmp_path: Path) -> None:
    text = C11.replace("wedges-less", "delivers-more")

    def reading(kernel: str, *read: float, sent: float = 1000) -> list[Found]:
        told = ({"flood_sent": sent, "flood_read": number} for number in read)
        return measuring(found(kernel, *WENT), *told)

    more, less = (
        reading("stock", 900, 910, 920, 905, 890),
        reading("vanilla-2007", 1000, 1001, 1002, 1003, 1004, sent=9000),
    )
    one = alone(tmp_path, text, more, less)
    assert one.state == "holds"
    assert "905 against 111 of 1,000 packets were read in the median cell" in one.words
    assert alone(tmp_path, text, more, reading("vanilla-2007", *[0] * 5, sent=0)).missing == 5


WHOLE_BLOCKS = {"whole_before": 0.9, "whole_after": 0.8}


def test_stays_whole_asks_those_that_were_measured_and_no_others(tmp_path: Path) -> None:
    text = C3.replace("wedges-mostly", "stays-whole")

    def state(outcomes: Sequence[Outcome], *measures: dict[str, float]) -> tuple[str, int]:
        one = alone(tmp_path, text, measuring(found("vanilla-2007", *outcomes), *measures))
        return one.state, one.missing

    assert state(WENT, *[WHOLE_BLOCKS] * 5) == ("holds", 0)
    assert state(("fragmented",) * 5, *[WHOLE_BLOCKS] * 5) == ("refuted", 0)
    # Who wedged, or was not measured, says nothing of how whole memory was left.
    assert state(WEDGED, *[WHOLE_BLOCKS] * 5) == ("not settled", 5)
    assert state(WENT, *[WHOLE_BLOCKS] * 4, {"whole_before": 0.9}) == ("not settled", 1)


def test_spares_softirqs_asks_the_longest_try_of_those_that_were_made(tmp_path: Path) -> None:
    text = C3.replace("wedges-mostly", "spares-softirqs").replace("vanilla-2007", "atomic-reclaim")

    def state(longest_ns: int, calls: int = 9) -> tuple[str, int]:
        counted = {"atomic-reclaim/softirq/calls": calls, "atomic-reclaim/softirq/ns_max": longest_ns}
        counted["atomic-reclaim/task/calls"] = 1
        cells_ = [replace(cell, counters=counted) for cell in found("atomic-reclaim", *WEDGED)]
        one = alone(tmp_path, text, cells_)
        return one.state, one.missing

    assert state(1_999_999) == ("holds", 0)
    assert state(2_000_000) == ("refuted", 0)
    assert state(0, calls=0) == ("not settled", 5)
    nobody = alone(tmp_path, text, found("atomic-reclaim", *WEDGED))
    assert nobody.missing == 5, "nobody looked"


# --- what is undecided must not matter


def test_a_share_that_inconclusive_cells_could_turn_is_open(tmp_path: Path) -> None:
    eight, one_open = ("recovered",) * 8, ("inconclusive",)
    text = C3.replace("wedges-mostly", "recovers-mostly")
    assert alone(tmp_path, text, found("vanilla-2007", *WENT)).state == "holds"
    turned = alone(tmp_path, text, found("vanilla-2007", *WENT, *one_open))
    assert (turned.state, turned.missing) == ("not settled", 0)
    assert turned.answers[0].words.endswith("; holds but for one inconclusive cell, on which that hangs")
    assert alone(tmp_path, text, found("vanilla-2007", *eight, *one_open)).state == "holds"
    assert alone(tmp_path, C3, found("vanilla-2007", *eight, *one_open)).state == "refuted"
    # Of a server that was down it is concluded, of a network that was down seen.
    assert alone(tmp_path, text, found("vanilla-2007", *WENT, "server-down")).state == "not settled"
    assert alone(tmp_path, text, found("vanilla-2007", *WENT, "network-down")).state == "holds"


def test_what_both_extremes_say_must_be_said_between_them_too(tmp_path: Path) -> None:
    """10 of 10 wedged against 5 of 5 and four in doubt: were one of these a wedge, 90 % would be fewer."""
    open_ones: tuple[Outcome, ...] = ("inconclusive",) * 4
    plain = alone(tmp_path, C11, found("stock", *WEDGED, *WEDGED), found("vanilla-2007", *WEDGED))
    assert plain.state == "refuted"
    turned = alone(
        tmp_path, C11, found("stock", *WEDGED, *WEDGED), found("vanilla-2007", *WEDGED, *open_ones)
    )
    assert turned.state == "not settled"


def test_an_inconclusive_cell_that_went_on_can_not_be_turned_into_a_wedge(tmp_path: Path) -> None:
    def kept(outcomes: Sequence[Outcome], *lasted: bool) -> list[Found]:
        told = zip(found("vanilla-2007", *outcomes), lasted, strict=True)
        return [replace(cell, observation=replace(cell.observation, lasted=one)) for cell, one in told]

    went = (*WENT, "inconclusive")
    assert alone(tmp_path, C3, kept(went, *[True] * 5, False)).state == "not settled"
    assert alone(tmp_path, C3, kept(went, *[True] * 6)).state == "refuted"
    # Nor is it forgotten: five of eight may have wedged, and three did not.
    stuck = kept((*WEDGED, *["inconclusive"] * 3), *[False] * 5, *[True] * 3)
    assert alone(tmp_path, C3, stuck).state == "not settled"


def test_failures_alone_refute_nothing_where_successes_do_not_count(tmp_path: Path) -> None:
    text = C3.replace("wedges-mostly", "recovers-mostly")
    mixed = found("vanilla-2007", *WEDGED, *("inconclusive",) * 7)
    assert alone(tmp_path, text, mixed).state == "not settled"


def test_a_difference_that_inconclusive_cells_could_turn_is_open(tmp_path: Path) -> None:
    went, wedged = found("stock", *WENT), found("vanilla-2007", *WEDGED)
    assert alone(tmp_path, C11, went, wedged).state == "holds"
    some = found("vanilla-2007", *WEDGED, *("inconclusive",) * 3)
    turned = alone(tmp_path, C11, went, some)
    assert turned.state == "not settled" and "3 inconclusive cells" in turned.answers[0].words
    many = found("vanilla-2007", *(WEDGED * 4), "inconclusive")
    assert alone(tmp_path, C11, went, many).state == "holds"


def test_an_inconclusive_cell_in_which_a_set_did_nothing_would_not_count_anyway(tmp_path: Path) -> None:
    cells_ = found("vanilla-2007", *WEDGED, "inconclusive")
    assert alone(tmp_path, C3, cells_).state == "not settled"
    cells_[5] = replace(cells_[5], counters={V: 0})
    assert alone(tmp_path, C3, cells_).state == "holds"


ON = C3.replace("wedges-mostly", "recovers-mostly").replace(
    'playbook = "flood" }', 'playbook = "flood", variant = "flood-on", under = true }'
)


def under(outcomes: Sequence[Outcome], *told: str | None) -> list[Found]:
    cells = found("vanilla-2007", *outcomes, variant="flood-on")
    return [
        replace(cell, observation=replace(cell.observation, under=one))
        for cell, one in zip(cells, told, strict=True)
    ]


def test_what_is_asked_under_the_flood_is_not_the_verdict(tmp_path: Path) -> None:
    one = alone(tmp_path, ON, under(WENT, *["stood still"] * 5))
    assert one.state == "refuted" and "went on under the flood 0 of 5" in one.words
    assert alone(tmp_path, ON, under(WENT, *["went on"] * 3, *["slow"] * 2)).state == "holds"
    wedges = ON.replace("recovers-mostly", "wedges-mostly")
    assert alone(tmp_path, wedges, under(WENT, *["stood still"] * 5)).state == "holds"
    assert alone(tmp_path, ON, under(WENT, "went on", "went on", "went on", "went on", None)).missing == 1
    assert alone(tmp_path, ON, under(("inconclusive",) * 5, *["went on"] * 5)).missing == 5
    doubted = alone(tmp_path, ON, under(WENT + WENT[:1], *["went on"] * 5, "in doubt"))
    assert doubted.missing == 0 and len(doubted.arms[0].undecided) == 1


def test_comparisons_are_adjusted_for_those_of_their_claim_and_no_other(tmp_path: Path) -> None:
    """5 of 5 against 0 of 5 is p = 0.008: times 7 that is more than 5 %."""
    groups = [found("stock", *WENT), found("vanilla-2007", *WEDGED)]
    start = C11.index("[{ ") + 1
    pair = C11[start : C11.rindex("]")]

    def pairs(count: int) -> str:
        return C11.replace(pair, ", ".join([pair] * count))

    one = alone(tmp_path, pairs(7), *groups)
    assert one.state == "not settled" and "after Holm p = 0.056" in one.answers[0].words
    assert alone(tmp_path, pairs(6), *groups).state == "holds"
    many = "".join(C11.replace("C11", f"C{number}") for number in range(11, 21))
    assert {one.state for one in assess(tmp_path, many, *groups)} == {"holds"}


def test_a_comparison_that_lacks_cells_is_none_yet(tmp_path: Path) -> None:
    groups = [found("stock", *WENT), found("vanilla-2007", *WEDGED), found("complete-rx", *WENT[:4])]
    pair = C11[C11.index("[{ ") + 1 : C11.rindex("]")]
    first, second = alone(
        tmp_path, C11.replace(pair, f"{pair}, {pair.replace('stock', 'complete-rx')}"), *groups
    ).answers
    assert first.difference is not None and second.difference is None
    assert first.difference.adjusted == first.difference.p


TWO = C3.replace("arms = [", 'arms = [{ kernel = "stock", playbook = "flood", nic = "e1000" }, ')


@pytest.mark.parametrize(
    ("stock", "vanilla", "state", "words"),
    [
        (WEDGED, WEDGED, "holds", ""),
        (WENT, WENT, "refuted", ""),
        (WENT, WEDGED, "holds only when", "holds with vanilla-2007, e1000e (wedged 5 of 5"),
        (WENT, WEDGED, "holds only when", "refuted with stock, e1000 (wedged 0 of 5"),
        (MIXED, WEDGED, "not settled", "open with stock, e1000 (wedged 1 of 5"),
        (WENT[:3], WEDGED, "not settled", "2 cells are missing"),
        (WENT, (), "not settled", "refuted with stock, e1000 (wedged 0 of 5"),
    ],
)
def test_a_claim_holds_on_all_arms_or_only_when(
    tmp_path: Path, stock: Sequence[Outcome], vanilla: Sequence[Outcome], state: str, words: str
) -> None:
    one = alone(tmp_path, TWO, found("stock", *stock, nic="e1000"), found("vanilla-2007", *vanilla))
    assert one.state == state
    assert words in one.words


def test_what_is_asked_in_part_can_be_refuted_but_not_upheld(tmp_path: Path) -> None:
    text = C3 + 'missing = "the other half"\n'
    one = alone(tmp_path, text, found("vanilla-2007", *WEDGED))
    assert one.state == "not settled"
    assert one.words.startswith("holds with vanilla-2007 (wedged 5 of 5")
    assert one.words.endswith("not asked yet: the other half")
    assert alone(tmp_path, text, found("vanilla-2007", *WENT)).state == "refuted"


def test_a_claim_without_arms_is_not_settled_and_says_what_lacks(tmp_path: Path) -> None:
    text = '[claims.C5]\nwho = "w"\ndate = "2007-08-15"\nstatement = "s"\nmissing = "a playbook"\n'
    one = alone(tmp_path, text, found("stock", *WEDGED))
    assert (one.state, one.words, one.answers) == ("not settled", "not asked yet: a playbook", ())


@given(st.integers(0, 30), st.integers(0, 30))
def test_no_share_of_few_cells_is_settled_and_none_both_ways(hits: int, others: int) -> None:
    says = [rules.mostly(wilson(Tally(each, hits + others))) for each in (hits, others)]
    assert says in (["yes", "no"], ["no", "yes"], ["open", "open"])
    assert says[0] == "open" or hits + others >= 4


def test_an_interval_that_touches_one_half_is_open() -> None:
    assert [rules.mostly(Interval(*limits)) for limits in ((0.5, 1), (0, 0.5), (0.51, 1), (0, 0.49))] == [
        *("open", "open", "yes", "no")
    ]


def test_no_rule_sees_an_expectation(tmp_path: Path) -> None:
    for expect in (None, "deadlocked", "recovered", "not recovered"):
        assert alone(tmp_path, C3, found("vanilla-2007", *WEDGED, expect=expect)).state == "holds"


def test_what_was_played_until_clear_has_wider_intervals(tmp_path: Path) -> None:
    """5 of 5 is clear by Wilson, and not yet at every look."""
    wedged, went = found("vanilla-2007", *WEDGED), found("stock", *WENT)
    place = place_of(wedged[0].observation.labels)
    parts = (place.playbook, place.form, place.variant, place.transport, place.nic)
    note = Note(place=parts, kernels=("stock", "vanilla-2007"), rule=Rule())
    (one,) = assess(tmp_path, C3, wedged, notes=(note,))
    assert one.state == "not settled" and "at every look" in one.words
    (pair,) = assess(tmp_path, C11, went, wedged, notes=(note,))
    assert pair.state == "holds" and "always-valid p" in pair.words


# --- a set that did nothing

SETS = C3.replace('"vanilla-2007"', '"vanilla-2007+recursive-reclaim"')
V, R = "vanilla-2007/set_memalloc_ignored", "recursive-reclaim/calls"


def counting(*counters: dict[str, int] | None) -> list[Found]:
    """Wedged cells of two sets, with what these had counted."""
    own = found("vanilla-2007+recursive-reclaim", *WEDGED)
    return [replace(cell, counters=each) for cell, each in zip(own, counters, strict=True)]


@pytest.mark.parametrize(
    ("counters", "idle"),
    [
        (None, ()),
        ({}, ()),
        ({V: 1}, ()),
        ({V: 1, R: 2}, ()),
        ({V: 1, R: 0}, ("recursive-reclaim",)),
        ({V: 1, R: 0, "recursive-reclaim/part/pages": 3}, ()),
        ({V: 0, R: 0}, ("recursive-reclaim", "vanilla-2007")),
    ],
    ids=[
        "nobody looked",
        "none",
        "one has none",
        "both moved",
        "one at rest",
        "one of its two moved",
        "both",
    ],
)
def test_a_cell_counts_unless_a_set_that_counts_did_nothing(
    tmp_path: Path, counters: dict[str, int] | None, idle: tuple[str, ...]
) -> None:
    assert at_rest(counters) == idle
    one = alone(tmp_path, SETS, counting(*[counters] * 5))
    assert (one.state, one.missing) == (("not settled", 5) if idle else ("holds", 0))
    (arm,) = one.arms
    assert arm.idle == dict.fromkeys(idle, 5)
    assert all(f"{name} moved in 5 cells" in arm.words("wedged") for name in idle)


def test_what_a_set_did_nothing_in_is_told_beside_the_share_of_the_rest(tmp_path: Path) -> None:
    ran, rests = {V: 1, R: 1}, {V: 1, R: 0}
    cells_ = counting(ran, ran, ran, None, rests)
    one = alone(tmp_path, SETS, cells_)
    words = "no counter of recursive-reclaim moved in 1 cell: that says nothing"
    assert one.missing == 1 and one.arms[0].words("wedged").startswith("wedged 4 of 4; ")
    assert one.arms[0].words("wedged").endswith(words)
    cells_[4] = replace(cells_[4], observation=replace(cells_[4].observation, outcome="inconclusive"))
    assert not alone(tmp_path, SETS, cells_).arms[0].idle  # it does not count anyway


@pytest.mark.parametrize(
    "name",
    [
        "bio-throttle/charged",
        "clean-floor/floor_pages",
        "less-throttle/set",
        "mem-reserve/band_pages",
        "memalloc-daemon/set",
        "net-throttle/critical_set",
        "reserve-burner/reclaim/min_free_pages",
        "rx-mempool/heads_left",
    ],
)
def test_what_stands_above_0_from_the_start_does_not_show_that_a_set_ran(tmp_path: Path, name: str) -> None:
    set_ = name.split("/")[0]
    text, own = C3.replace("vanilla-2007", set_), found(set_, *WEDGED)
    idle = alone(tmp_path, text, [replace(cell, counters={name: 7, f"{set_}/x": 0}) for cell in own])
    assert idle.missing == 5 and idle.arms[0].idle == {set_: 5}
    ran = alone(tmp_path, text, [replace(cell, counters={name: 7, f"{set_}/x": 1}) for cell in own])
    assert ran.missing == 0


RAN, RESTED = {V: 1, R: 1}, {V: 1, R: 0}


def resting(kernel: str, outcomes: Sequence[Outcome], counters: dict[str, int]) -> list[Found]:
    return [replace(cell, counters=counters) for cell in found(kernel, *outcomes)]


def test_with_idle_counts_a_remedy_that_was_not_called_can_fail_and_not_succeed(tmp_path: Path) -> None:
    text = SETS.replace("wedges-mostly", "recovers-mostly").replace("rule", "idle_counts = true\nrule")
    kernel = "vanilla-2007+recursive-reclaim"
    wedged = alone(tmp_path, text, resting(kernel, WEDGED, RESTED))
    assert wedged.state == "refuted" and wedged.missing == 0
    assert "no counter of recursive-reclaim moved in 5 cells (" not in wedged.words
    assert "no counter of recursive-reclaim moved in 5 cells" in wedged.words
    went = alone(tmp_path, text, resting(kernel, WENT, RESTED))
    assert (went.state, went.missing) == ("not settled", 0)
    assert "holds but for cells in which a set did nothing" in went.words
    assert alone(tmp_path, text, resting(kernel, WENT, RAN)).state == "holds"
    # All cells of the kernel are its sample: those in which it went well uncalled are not left out of a no.
    half = resting(kernel, WEDGED, RAN), resting(kernel, ("recovered",) * 5, RESTED)
    later = [replace(cell, history=f"{cell.history} later") for cell in half[1]]
    assert alone(tmp_path, text, half[0], later).state == "not settled"


def test_with_idle_counts_the_second_of_two_may_rest(tmp_path: Path) -> None:
    kernel = "vanilla-2007+recursive-reclaim"
    text = C11.replace("stock", kernel).replace("rule", "idle_counts = true\nrule")
    without = found("vanilla-2007", *WEDGED)
    assert alone(tmp_path, text, resting(kernel, WENT, RESTED), without).state == "not settled"
    assert alone(tmp_path, text, resting(kernel, WENT, RAN), without).state == "holds"
    assert alone(tmp_path, text, resting(kernel, WEDGED, RESTED), without).state == "refuted"
    turned = (
        C11.replace("vanilla-2007", kernel)
        .replace("rule", "idle_counts = true\nrule")
        .replace("wedges-less", "recovers-more")
    )
    assert alone(tmp_path, turned, found("stock", *WENT), resting(kernel, WEDGED, RESTED)).state == "holds"


def test_what_a_set_takes_away_is_taken_away_at_once(tmp_path: Path) -> None:
    counted = [replace(cell, counters={V: 1}) for cell in found("vanilla-2007", *WEDGED)]
    assert alone(tmp_path, C3, counted).missing == 0


def test_a_cell_that_was_not_asked_what_the_playbook_asks_now_does_not_count(tmp_path: Path) -> None:
    cells_ = found("vanilla-2007", *WEDGED)
    cells_[0] = replace(
        cells_[0], observation=replace(cells_[0].observation, requires=("in-flight", "still"))
    )
    one = alone(tmp_path, C3, cells_)
    assert one.missing == 1
    assert one.arms[0].words("wedged").endswith("1 cell not asked whether 'exhausted'")


# --- which cells are an arm's


def test_an_arm_is_found_by_names_and_settings(tmp_path: Path) -> None:
    text = C3.replace('"flood" }', '"flood", settings = { rate = "0pps", outage = "20s" } }')
    form = "short,outage=20s,rate=0pps"
    assert alone(tmp_path, text, found("vanilla-2007", *WEDGED, form=form)).state == "holds"
    for other in ({"form": "short"}, {"form": form, "nic": "e1000"}, {"form": form, "transport": "nfs3"}):
        one = alone(tmp_path, text, found("vanilla-2007", *WEDGED, **other))
        assert (one.state, one.missing) == ("not settled", 5)
    for variant in ("", "main"):
        assert alone(tmp_path, C3, found("vanilla-2007", *WEDGED, variant=variant)).state == "holds"
    assert alone(tmp_path, C3, found("vanilla-2007", *WEDGED, variant="b-silent")).missing == 5


def test_another_build_of_a_kernel_counts_and_is_said(tmp_path: Path) -> None:
    own = found("vanilla-2007", *WEDGED)
    inputs = {**own[0].observation.inputs, "kernel under test": "f" * 24}
    own[0] = replace(own[0], observation=replace(own[0].observation, inputs=inputs))
    one = alone(tmp_path, C3, own)
    assert one.state == "holds"
    assert one.arms[0].cautions == ("The cells of vanilla-2007 are of 2 builds of it.",)


def test_what_never_was_is_said(tmp_path: Path) -> None:
    text = C3.replace('"flood" }', '"flood", transport = "nfs3" }')
    (said,) = alone(tmp_path, text, found("vanilla-2007", *WEDGED, transport="nfs3")).arms[0].cautions
    assert said.startswith("Counterfactual: vanilla-2007 over nfs3: ")


def test_a_cell_counts_once_by_what_was_recorded(tmp_path: Path) -> None:
    own = found("vanilla-2007", *WEDGED)
    copies = [replace(cell, path=Path("/elsewhere")) for cell in own]
    assert len(alone(tmp_path, C3, own, copies).arms[0].cells) == 5
    others = [replace(cell, history=f"{cell.history} of another campaign") for cell in own]
    assert len(alone(tmp_path, C3, own, others).arms[0].cells) == 10


def test_summaries_are_found_in_all_folders_but_the_corpus() -> None:
    kept_ = kept.summaries_below(SUMMARIES)
    expected = {path for path in SUMMARIES.rglob("*.json") if "corpus" not in path.parts}
    assert {cell.path for cell in kept_.cells} == expected
    assert all(cell.history for cell in kept_.cells)
    assert len(kept.together(kept_).cells) == len(expected)  # also those that have one name


# --- what is missing


def test_wanted_are_the_free_numbers_in_rounds_each_cell_once(tmp_path: Path) -> None:
    text = TWO + C11  # vanilla-2007 is an arm of both
    groups = [
        found("vanilla-2007", "deadlocked", "inconclusive"),
        found("stock", *WENT[:4], nic="e1000"),
        found("stock", *WENT),
    ]
    names = [
        (cell.arm.labels.kernel, cell.arm.labels.nic, cell.repeat)
        for cell in claims.wanted(assess(tmp_path, text, *groups))
    ]
    vanilla = [("vanilla-2007", "e1000e", number) for number in (3, 4, 5, 6)]
    assert names == [("stock", "e1000", 5), *vanilla]
    assert claims.wanted(assess(tmp_path, C11, *groups[1:]), 3) == claims.wanted(
        assess(tmp_path, C11.replace("rule", "repeats = 3\nrule"), *groups[1:])
    )


def test_an_arm_of_two_claims_is_wanted_as_often_as_one_needs_it_and_every_round_has_each(
    tmp_path: Path,
) -> None:
    text = C11.replace("rule", "repeats = 3\nrule") + C3.replace("rule", "repeats = 2\nrule")
    rounds = [(cell.arm.labels.kernel, cell.repeat) for cell in claims.wanted(assess(tmp_path, text))]
    assert rounds == [(kernel, number) for number in (1, 2, 3) for kernel in ("stock", "vanilla-2007")]


def test_nothing_is_wanted_of_what_is_complete(tmp_path: Path) -> None:
    assert claims.wanted(assess(tmp_path, C3, found("vanilla-2007", *WEDGED))) == ()
    (cell, *_) = claims.wanted(assess(tmp_path, C3))
    assert cell.least_s == 60 + 5 + 16 and cell.most_s == cell.least_s + 300


# --- a bad table

GOOD = HEAD + C3
WHOLE = 'rule = "wedges-mostly"\narms = [{ kernel = "vanilla-2007", playbook = "flood" }]'
SAME = ' }, { kernel = "vanilla-2007", playbook = "flood", nic = "e1000e" }]'

BAD = (
    ("claims.C3]", "claims.C34]", 4, "C34", "no claim 'C34'", "did you mean"),
    ("claims.C3]", "claims.c3]", 4, "c3", "no claim 'c3'", "known: C1,"),
    ('who = "Somebody"', 'whom = "Somebody"', 5, "C3.whom", "unknown key", "'who'"),
    ('"2007-08-15"', '"in August"', 6, "C3.date", "should match pattern", ""),
    ('"wedges-mostly"', '"wedges-mostley"', 8, "C3.rule", "'wedges-mostley' is none of", "'wedges-mostly'"),
    ('rule = "wedges-mostly"', "", 4, "C3", "has arms, but no rule", "both or neither"),
    ("arms = [", "#", 4, "C3", "says neither", "missing"),
    (WHOLE, "", 4, "C3", "says neither", "arms and a rule"),
    (WHOLE, 'rule = "alike"\nmissing = "x"', 4, "C3", "has a rule, but no arms", "both or neither"),
    ("rule =", "repeats = 0\nrule =", 8, "C3.repeats", "greater than or equal to 1", ""),
    (', playbook = "flood"', "", 9, "C3.arms[0].playbook", "is missing", ""),
    ('"flood"', '"flod"', 9, "C3.arms[0].playbook", "no playbook 'flod'", "'flood'"),
    ('"flood"', '"../flood"', 9, "C3.arms[0].playbook", "no playbook", "flood"),
    ('"vanilla-2007"', '"vanila-2007"', 9, "C3.arms[0].kernel", "no kernel 'vanila-2007'", "'vanilla-2007'"),
    ('"vanilla-2007"', '"vanilla-2007+complete-rx"', 9, "C3.arms[0].kernel", "conflicts with", "two kernels"),
    ('"vanilla-2007"', '"rx-mempool@7.3"', 9, "C3.arms[0].kernel", "not made for base 7.3", "6.1"),
    (" }]", ', form = "shrt" }]', 9, "C3.arms[0].form", "no form 'shrt'", "'short'"),
    (" }]", ', variant = "b-silnt" }]', 9, "C3.arms[0].variant", "no variant", "'b-silent'"),
    (" }]", ', nic = "e1000x" }]', 9, "C3.arms[0].nic", "no NIC model 'e1000x'", "'e1000'"),
    (" }]", ', transport = "ndb" }]', 9, "C3.arms[0].transport", "no transport of kind 'ndb'", "'nbd'"),
    (" }]", ', settings = { rat = "1pps" } }]', 9, "C3.arms[0].settings", "no parameter 'rat'", "'rate'"),
    (" }]", ', settings = { rate = "1GiB" } }]', 9, "C3.arms[0].settings", "is a packet rate", "10kpps"),
    (" }]", ", settings = { rate = 5 } }]", 9, "C3.arms[0].settings.rate", "valid string", ""),
    (" }]", ', variant = "floor" }]', 9, "C3.arms[0].kernel", "which has not clean-floor", "with it"),
    (" }]", ', kind = "x" }]', 9, "C3.arms[0].kind", "unknown key", "kernel"),
    (" }]", SAME, 9, "C3.arms[1]", "twice", ""),
    (" }]", ", under = true }]", 9, "C3.arms[0].under", "nothing is kept up", "a variant in which"),
    ('"wedges-mostly"', '"alike"', 9, "C3.arms", "each arm with the one after it", "belong together"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "says", "hint"), BAD, ids=lambda value: str(value)[:30]
)
def test_what_is_wrong_is_told_with_file_line_and_key(
    tmp_path: Path, old: str, new: str, line: int, key: str, says: str, hint: str
) -> None:
    assert GOOD.count(old) == 1
    path = tmp_path / "claims.toml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(UsageError) as caught:
        claims.read(path)
    assert caught.value.where == f"{path}:{line}: claims.{key}"
    assert says in caught.value.message and hint in caught.value.hint


# --- what is committed


@cache
def of_today() -> tuple[Assessed, ...]:
    return claims.assess(claims.read(), kept.together(kept.summaries_below(SUMMARIES)))


def test_the_table_has_all_claims_in_their_order() -> None:
    assert tuple(one.claim.id for one in of_today()) == IDS and len(IDS) == 34


def test_every_claim_is_asked_or_says_what_lacks() -> None:
    for one in of_today():
        assert one.arms or one.claim.about.missing, one.claim.id
        assert one.claim.about.repeats >= 5, one.claim.id


def test_the_states_of_today_follow_from_the_summaries() -> None:
    three = next(one for one in of_today() if one.claim.id == "C3")
    assert three.state == "holds" and three.arms[0].share("wedged").tally.of >= 6
    for one in of_today():
        if one.missing or not one.arms:
            assert one.state in ("not settled", "holds only when"), one.claim.id


def test_the_page_is_what_the_command_writes_now() -> None:
    assert PAGE.read_text() == document.render(of_today(), PAGE.parent), "run: testbed claims write"


def test_every_figure_of_the_page_is_linked_to_its_summaries() -> None:
    text = PAGE.read_text()
    targets = re.findall(r"\]\(([^)#]+)", text)
    assert len(targets) > 30
    assert all((PAGE.parent / target).is_file() for target in targets)
    cells_ = {one.path: one for one in kept.summaries_below(SUMMARIES).cells}
    for line in text.splitlines():
        shares = re.findall(r"\| (?:wedged|went on) \d+ of (\d+);", line)
        if shares:
            linked = re.findall(r"\]\(\.\./(results/summaries/[^)]+\.json)\)", line)
            told = [cells_[ROOT / each] for each in linked]
            idle_counts = "moved in" in line and "that says nothing" not in line
            ran = [one.observation.outcome for one in told if idle_counts or not at_rest(one.counters)]
            unasked = sum(int(count) for count in re.findall(r"(\d+) cells? not asked whether", line))
            counted = sum(SORTS[outcome] != "not counted" for outcome in ran)
            assert counted == int(shares[0]) + unasked, line


def test_the_guide_has_every_rule_and_every_state() -> None:
    guide = (ROOT / "docs" / "guide.md").read_text()
    assert all(f"| `{name}` |" in guide for name in RULES) and tuple(RULES) == get_args(RuleName)
    assert all(f"| *{state}* |" in guide for state in get_args(rules.State))


def test_the_table_is_read_from_the_project() -> None:
    assert CLAIMS == ROOT / "claims.toml"
