"""Tables of what was kept: read from result folders or summaries, and shown in the campaign's report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from histories import Story, write_result
from tables import WEDGED, WENT, cell, cells

from testbed import store
from testbed.campaign import export, kept, until_clear
from testbed.campaign.comparison import compare
from testbed.campaign.observation import mixed
from testbed.campaign.play import cells_of, judge_folder
from testbed.campaign.repeats import repeats_of
from testbed.campaign.until_clear import Rule
from testbed.errors import UsageError
from testbed.judge.values import JUDGE_VERSION, read_verdict, write_verdict
from testbed.reports import html
from testbed.snapshot import Snapshot

SUMMARIES = Path(__file__).parent.parent / "results" / "summaries"


def note(*kernels: str) -> until_clear.Note:
    return until_clear.note_of([cell("recovered", kernel=kernel).plan.labels for kernel in kernels], Rule())


def played(folder: Path, kernel: str, repeat: int = 1, **story: Any) -> Path:
    made = write_result(folder / f"{kernel}-r{repeat}", Story(**story), kernel=kernel, repeat=repeat)
    judge_folder(made)
    return made


def test_summaries_and_the_cells_that_they_are_of_say_the_same(tmp_path: Path) -> None:
    campaign = tmp_path / "campaign"
    played(campaign, "stock")
    played(campaign, "other", recover_s=None)
    until_clear.write_note(campaign, note("stock", "other"))
    for folder in ("stock-r1", "other-r1"):
        export.write_summary(campaign / folder, tmp_path / "summaries")
    from_cells, from_summaries = kept.read(campaign), kept.read(tmp_path / "summaries")
    assert [one.outcome for one in from_cells.observations] == ["stalled", "recovered"]
    assert from_cells.observations == from_summaries.observations
    assert from_cells.notes == from_summaries.notes
    assert len(from_cells.notes) == 1


@pytest.mark.parametrize(
    ("transport", "version", "watched_s", "outcome"),
    [
        ("iscsi", 9, 12.0, "inconclusive"),
        ("iscsi", 10, 12.0, "deadlocked"),
        ("iscsi", 9, 60.0, "deadlocked"),
        ("nbd", 2, 12.0, "deadlocked"),
    ],
)
def test_a_proof_that_todays_judge_would_not_take_is_none(
    tmp_path: Path, transport: str, version: int, watched_s: float, outcome: str
) -> None:
    campaign = tmp_path / "campaign"
    made = write_result(campaign / "one", Story(recover_s=None), transport=transport)
    judge_folder(made)
    old = {"outcome": "deadlocked", "judge_version": version, "observed_s": watched_s}
    write_verdict(made, read_verdict(made).model_copy(update=old))
    export.write_summary(made, tmp_path / "summaries")
    for folder in (campaign, tmp_path / "summaries"):
        (found,) = kept.read(folder).observations
        assert (found.outcome, found.judge) == (outcome, version)
        refused = any("had proved would be none today" in each for each in mixed([found]))
        assert refused == (outcome == "inconclusive")


def test_cells_of_several_judges_are_said_to_be(tmp_path: Path) -> None:
    for repeat in (1, 2):
        played(tmp_path, "stock", repeat)
    made = tmp_path / "stock-r1"
    write_verdict(made, read_verdict(made).model_copy(update={"judge_version": 9}))
    (told,) = mixed(kept.read(tmp_path).observations)
    assert told == f"They were judged by versions 9, {JUDGE_VERSION} of the judge."


def test_what_sets_had_counted_is_read_of_a_cell_as_of_its_summary(tmp_path: Path) -> None:
    looked, other = (played(tmp_path / "campaign", "mine", repeat) for repeat in (1, 2))
    told = Snapshot(number=1, taken_ns=1, paused_ms=1, counters={"mine/taken": 0, "nbd/nbd0/timeout": 0})
    (looked / store.snapshot_name(1)).write_text(told.model_dump_json())
    for folder in (looked, other):
        export.write_summary(folder, tmp_path / "summaries")
    found = kept.campaigns([tmp_path / "campaign"]), kept.summaries_below(tmp_path / "summaries")
    assert [[cell.counters for cell in each.cells] for each in found] == [[{"mine/taken": 0}, None]] * 2


def test_a_folder_of_campaigns_is_all_their_cells_each_once(tmp_path: Path) -> None:
    played(tmp_path / "one", "stock")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    played(tmp_path / "two", "other")
    (tmp_path / "two" / "other-r1").rename(tmp_path / "two" / "x.unfinished-1")
    assert [one.name for one in kept.read(tmp_path).observations] == ["stock-r1"]


def test_one_plan_that_was_played_twice_is_two_cells(tmp_path: Path) -> None:
    """A cell's name is that of its plan, and tells nothing of when it was played."""
    played(tmp_path / "one", "stock")
    played(tmp_path / "two", "stock", recover_s=None)
    assert sorted(one.outcome for one in kept.read(tmp_path).observations) == ["recovered", "stalled"]


def test_the_committed_summaries_are_read_and_compared() -> None:
    found = kept.read(SUMMARIES)
    assert len(found.observations) == len(list(SUMMARIES.glob("*.json")))
    chosen = [
        one
        for one in found.observations
        if one.labels.model_dump(include={"playbook", "form", "variant", "transport"})
        == {"playbook": "flood", "form": "short", "variant": "", "transport": "nbd"}
    ]
    kernels = ("stock", "vanilla-2007")
    rows = [repeats_of([one for one in chosen if one.labels.kernel == kernel]) for kernel in kernels]
    (comparison,) = compare(rows)
    assert comparison.shown
    assert comparison.words.startswith("stock wedged less often than vanilla-2007: 1 of 5 against 5 of 5")
    assert mixed([one for one in chosen if one.labels.kernel in kernels]) == ()


BAD_SUMMARIES = (
    ("{}", "not a summary"),
    ("[1", "not a summary"),
    ('{"folder": "x", "verdict": {"outcome": "fine"}}', "not a summary"),
    (" " * (2 << 20), "too large"),
)


@pytest.mark.parametrize(("text", "said"), BAD_SUMMARIES, ids=lambda value: value[:20])
def test_what_is_no_summary_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UsageError, match=said) as raised:
        kept.read(tmp_path)
    assert raised.value.where.endswith("a.json") and raised.value.hint


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    good = json.loads(next(SUMMARIES.glob("*stock*r1*.json")).read_text())
    good["verdict"]["time_to_recover_s"] = float("nan")
    (tmp_path / "a.json").write_text(json.dumps(good))
    with pytest.raises(UsageError, match="time_to_recover_s"):
        kept.read(tmp_path)


def test_a_folder_with_nothing_in_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no judged cell and no summary"):
        kept.read(tmp_path)
    with pytest.raises(UsageError, match="is a single cell"):
        kept.read(played(tmp_path, "stock"))


# --- the report


def test_the_index_tells_findings_comparisons_and_curves(tmp_path: Path) -> None:
    text = html.render_index(tmp_path, [*cells("a", *WENT), *cells("b", *WEDGED)])
    assert "a wedged less often than b: 0 of 5 against 5 of 5" in text
    order = [
        text.index(part)
        for part in ("wedged 0 of 5", "a wedged less often", "recovery-1-text", "Controls</h2>")
    ]
    assert order == sorted(order)
    assert text.count("<svg") == 1
    assert "a: 5 of 5" in text and "b: 0 of 5" in text


def test_one_kernel_alone_has_no_curves_and_none_that_recovered_none() -> None:
    here = Path("/nowhere")
    assert "<svg" not in html.render_index(here, cells("a", *WENT))
    assert "<svg" not in html.render_index(here, [*cells("a", *WEDGED), *cells("b", *WEDGED)])


def test_the_index_of_what_was_stopped_says_by_which_rule(tmp_path: Path) -> None:
    until_clear.write_note(tmp_path, note("a", "b"))
    text = html.render_index(tmp_path, [*cells("a", *WENT), *cells("b", *WEDGED)])
    assert "Stopped when clear, after 5 of at most 20 repeats" in text
    assert "at every look" in text
    assert "Fisher" not in text


def test_hostile_names_are_shown_in_curves_and_comparisons_not_obeyed(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>&\x00"
    text = html.render_index(tmp_path, [*cells(hostile, *WENT), *cells("b", *WEDGED)])
    assert "<script" not in text and "\x00" not in text
    assert text.count("&lt;script&gt;alert(1)") >= 3


def test_cells_are_read_back_with_their_notes(tmp_path: Path) -> None:
    for kernel, recover_s in (("a", 10.0), ("b", None)):
        for repeat in range(1, 5):
            played(tmp_path, kernel, repeat, recover_s=recover_s)
    until_clear.write_note(tmp_path, note("a", "b"))
    text = html.write_index(tmp_path, cells_of(tmp_path)).read_text()
    assert "Stopped when clear, after 4 of at most 20 repeats" in text
    assert not (tmp_path / store.VERDICT).exists()
