"""Judging saved cells from the command line: what is damaged is told, and hides nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from testbed import store
from testbed.cli.exits import Exit
from tests.commands import testbed
from tests.histories import Story, write_result

CELLS = ("a", "b", "c")


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    for name in CELLS:
        write_result(tmp_path / name, Story())
        (tmp_path / name / store.VERDICT).unlink(missing_ok=True)
    return tmp_path


def judged(campaign: Path) -> list[str]:
    return [name for name in CELLS if (campaign / name / store.VERDICT).exists()]


def damage(cell: Path, how: str) -> None:
    if how == "plan":
        (cell / store.PLAN).write_bytes((cell / store.PLAN).read_bytes()[:-50])
    else:
        (cell / store.HISTORY).unlink()


def test_all_cells_of_a_campaign_are_judged(campaign: Path) -> None:
    done = testbed("judge", str(campaign))
    assert done.exit_code == Exit.MET, done.output
    assert judged(campaign) == list(CELLS)


@pytest.mark.parametrize("how", ["plan", "history"])
def test_a_damaged_cell_is_told_and_the_others_are_judged(how: str, campaign: Path) -> None:
    damage(campaign / "b", how)
    done = testbed("judge", str(campaign), "--json")
    assert done.exit_code == Exit.USAGE, done.output
    assert str(campaign / "b") in done.stderr
    assert [Path(cell["folder"]).name for cell in json.loads(done.stdout)] == ["a", "c"]
    assert judged(campaign) == ["a", "c"]


def test_a_damaged_cell_alone_is_no_empty_success(campaign: Path) -> None:
    damage(campaign / "b", "plan")
    done = testbed("judge", str(campaign / "b"))
    assert done.exit_code == Exit.USAGE and done.stdout == "" and str(campaign / "b") in done.stderr
