"""The page of patch sets: what is said of checks and counters, and of those that are not there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from histories import Story, write_result

from testbed.campaign import kept, setpage
from testbed.campaign.counted import counted
from testbed.campaign.kept import Found
from testbed.errors import UsageError
from testbed.kernels import checked, patchset
from testbed.kernels.checked import Checked
from testbed.kernels.checking import Check
from testbed.kernels.naming import PATCHES
from testbed.store import read_plan
from tests.test_kernels_sets import GOOD, make_set

ROOT = Path(__file__).parent.parent
SUMMARIES = ROOT / "results" / "summaries"
PAGE = ROOT / "docs" / "sets.md"
TOML = GOOD.replace("[[idea]]", 'scenarios = ["flood", "mke2fs"]\n[[idea]]', 1)
COUNTERS = '[counters]\n"mine/taken" = "pages taken"\n"mine/given" = "pages given"\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_set(tmp_path / "sets", "mine", f"{TOML}\n{COUNTERS}")
    return tmp_path / "sets"


@pytest.fixture(scope="module")
def cell() -> Found:
    """A committed cell of the flood, whose labels and counters the tests choose."""
    return next(
        one for one in kept.summaries_below(SUMMARIES).cells if one.observation.labels.playbook == "flood"
    )


def played(cell: Found, kernel: str, counters: dict[str, int] | None, playbook: str = "flood") -> Found:
    labels = cell.observation.labels.model_copy(update={"kernel": kernel, "playbook": playbook})
    return replace(cell, observation=replace(cell.observation, labels=labels), counters=counters)


def row(root: Path, *cells: Found, found: Check | None = None) -> str:
    content = patchset.content([patchset.load("mine", root)])
    one = Checked(
        name="mine",
        base="6.1",
        content=content,
        source="linux-source-6.1 6.1.9-1",
        day="2007-08-15",
        checks=(found,) if found else (),
    )
    text = setpage.render(root, {("mine", "6.1"): one}, cells, root)
    return next(line for line in text.splitlines() if line.startswith("| `mine` | 6.1 (6.1.9-1) |"))


def test_of_a_scenario_it_says_what_moved_or_why_it_says_nothing(root: Path, cell: Found) -> None:
    assert row(root).endswith("| flood: not played; mke2fs: not played |")
    without = row(root, played(cell, "mine", None))
    assert "| not checked; 1 cell played |" in without
    assert without.endswith("| flood: 1 cell, kept without counters; mke2fs: not played |")
    for others in ({}, {"other/x": 9}):
        assert row(root, played(cell, "mine", others)) == without, "of this set nobody looked at any"
    still = played(cell, "mine", {"mine/taken": 0})
    assert "flood: **never** in 1 cell;" in row(root, still, played(cell, "mine", None))
    moved = row(root, still, played(cell, "other+mine", {"mine/taken": 7, "mine/given": 0, "other/x": 9}))
    assert "flood: taken 7 in 2 cells" in moved and "given" not in moved and "x 9" not in moved


def test_what_is_above_0_as_soon_as_a_set_is_in_force_did_not_move(tmp_path: Path, cell: Found) -> None:
    make_set(tmp_path, "mine", f'standing = ["mine/taken"]\n{TOML}\n{COUNTERS}')
    still = row(tmp_path, played(cell, "mine", {"mine/taken": 7, "mine/given": 0}))
    assert "flood: **never** in 1 cell;" in still
    moved = row(tmp_path, played(cell, "mine", {"mine/taken": 7, "mine/given": 2}))
    assert "flood: given 2 in 1 cell" in moved and "taken 7" not in moved


def test_what_stands_must_be_a_counter(tmp_path: Path) -> None:
    make_set(tmp_path, "mine", f'standing = ["mine/gone"]\n{TOML}\n{COUNTERS}')
    with pytest.raises(UsageError, match="'mine/gone' is none of its counters") as raised:
        patchset.about("mine", tmp_path)
    assert "set.toml" in str(raised.value)


def test_cells_of_other_kernels_do_not_count(root: Path, cell: Found) -> None:
    others = [played(cell, name, {"mine/taken": 7}) for name in ("mine-too", "mine@7.3", "stock")]
    assert row(root, *others).endswith("| flood: not played; mke2fs: not played |")
    assert "long-outage: taken 7 in 1 cell" in row(
        root, played(cell, "mine", {"mine/taken": 7}, "long-outage")
    )


def test_what_a_check_found_is_said(root: Path) -> None:
    assert "| all 2 there |" in row(root, found=Check("counters", True, "mine/taken = 0, mine/given = 0"))
    bad = row(root, found=Check("boots", False, "a | b\nc"))
    assert "| **no**: a \\| b<br>c |" in bad


def test_steps_that_were_not_reached_stay_for_the_same_patches(tmp_path: Path) -> None:
    whole = Checked(
        name="mine",
        base="6.1",
        content="1",
        source="linux-source-6.1 6.1.9-1",
        day="2007-08-15",
        checks=(Check("applies", True, "old"), Check("boots", True, "no report")),
    )
    checked.keep(tmp_path, whole)
    again = whole.model_copy(update={"checks": (Check("applies", True, "new"),)})
    checked.keep(tmp_path, again)
    (one,) = checked.kept(tmp_path).values()
    assert [check.says for check in one.checks] == ["new", "no report"]
    for change in ({"content": "2"}, {"source": "linux-source-6.1 6.1.10-1"}):
        checked.keep(tmp_path, whole)
        checked.keep(tmp_path, again.model_copy(update=change))
        (one,) = checked.kept(tmp_path).values()
        assert [check.says for check in one.checks] == ["new"]
    (tmp_path / "mine@6.1.json").write_text("{}")
    with pytest.raises(UsageError, match="is no check of a patch set"):
        checked.kept(tmp_path)


def test_the_page_is_what_the_command_writes_now() -> None:
    cells = kept.together(kept.summaries_below(SUMMARIES)).cells
    text = setpage.render(PATCHES, checked.kept(ROOT / "results" / "checks"), cells, PAGE.parent)
    assert PAGE.read_text() == text, "run: testbed patches write"


def test_nobody_looked_is_not_nothing_counted(tmp_path: Path) -> None:
    plan = read_plan(write_result(tmp_path / "cell", Story()))
    assert counted(plan, ()) is None


def test_counters_of_committed_evidence_are_in_its_summary() -> None:
    """The corpus has the looks themselves: what a summary says of them is held against that."""
    found = {
        one.observation.name: one.counters for one in kept.summaries_below(SUMMARIES).cells if one.counters
    }
    cells = [path.parent for path in sorted(SUMMARIES.glob("corpus/*/snapshot-01.json"))]
    looked = [cell for cell in cells if found.get(cell.name)]
    assert looked
    for cell in looked:
        last = json.loads(max(cell.glob("snapshot-*.json")).read_text())["counters"]
        for name, count in (found[cell.name] or {}).items():
            assert last[name] == count


def test_every_set_names_its_scenarios_and_what_it_expects_there() -> None:
    """Of test code nobody expects anything."""
    for name in patchset.known(PATCHES):
        about = patchset.about(name, PATCHES)
        assert about.scenarios, name
        assert name == "known-answer" or set(about.scenarios) & set(about.expect), name
