"""The self-test's command with a run stage that boots nothing: what is played, kept, judged anew and told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from testbed import store
from testbed.cli import inputs
from testbed.cli.exits import Exit
from testbed.errors import TestbedFault
from testbed.judge.values import Verdict, read_verdict, write_verdict
from testbed.machines import accelerator
from testbed.model import Plan
from testbed.run import cell
from tests.commands import testbed
from tests.histories import Story, judging, kernel_line, write_result
from tests.test_cli import runtime

__all__ = ["runtime"]

CALM = judging(requires=[], heals=[], faults=[])
QUIET = Story(rules=CALM, cut_s=None, flood_s=None)
PANIC = QUIET.but(consoles={"A": kernel_line(3, "Kernel panic - not syncing: sysrq triggered crash")})
STORIES = {"undisturbed": QUIET, "panic": PANIC, "oom-kill": QUIET, "agent-killed": QUIET}


class Stage:
    """Plays every variant as its story tells; `played` are their names."""

    def __init__(self) -> None:
        self.played: list[str] = []
        self.fails: set[str] = set()

    def run(self, plan: Plan, _inputs: Any, folder: Path, _listener: Any, **_keep: Any) -> None:
        name = plan.labels.variant
        self.played.append(name)
        if name in self.fails:
            raise TestbedFault("no guest boots")
        write_result(folder, STORIES[name], **plan.labels.model_dump())


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    made = Stage()
    monkeypatch.setattr(cell, "run", made.run)
    monkeypatch.setattr(accelerator, "choose", lambda _wish, _kernel: None)
    # What is in the reports is tested elsewhere.
    monkeypatch.setattr(inputs, "write_report", lambda _played: None)
    monkeypatch.setattr(inputs, "write_index", lambda folder, cells: folder / "index.html")
    yield made


def selftest(folder: Path, *variants: str, more: tuple[str, ...] = ()) -> Result:
    only = [word for name in variants for word in ("--only", name)]
    return testbed("selftest", "--into", str(folder), "--quiet", *only, *more)


def kept(folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((folder / "matrix.json").read_text())
    return told


def test_right_answers_are_kept_and_not_played_again(stage: Stage, tmp_path: Path) -> None:
    done = selftest(tmp_path, "undisturbed", "panic", more=("--repeat", "2"))
    assert done.exit_code == Exit.MET, done.output
    assert stage.played == ["undisturbed", "panic"] * 2
    assert "4 of 4 answers right, over 2 things done." in done.stdout
    again = selftest(tmp_path, "undisturbed", "panic", more=("--repeat", "2"))
    assert again.exit_code == Exit.MET and len(stage.played) == 4
    assert kept(tmp_path)["matrix"] == {"undisturbed": {"recovered": 2}, "panic": {"crashed": 2}}
    assert (tmp_path / "matrix.txt").read_text().splitlines()[0].split() == ["a", "b"]


def test_what_is_kept_has_the_cells_of_other_runs_as_well(stage: Stage, tmp_path: Path) -> None:
    selftest(tmp_path, "undisturbed", more=("--repeat", "2"))
    done = selftest(tmp_path, "panic")
    assert "1 of 1 answers right, over 1 things done." in done.stdout
    assert kept(tmp_path)["matrix"] == {"undisturbed": {"recovered": 2}, "panic": {"crashed": 1}}


def test_it_is_todays_judge_that_is_tested(stage: Stage, tmp_path: Path) -> None:
    selftest(tmp_path, "panic")
    (folder,) = (path.parent for path in tmp_path.glob(f"*/{store.VERDICT}"))
    write_verdict(folder, Verdict(outcome="stalled", reason="of another day", bound_s=20))
    done = selftest(tmp_path, "panic")
    assert done.exit_code == Exit.MET and len(stage.played) == 1
    assert read_verdict(folder).outcome == "crashed"


def test_a_wrong_answer_is_explained_and_fails(stage: Stage, tmp_path: Path) -> None:
    done = selftest(tmp_path, "undisturbed", "oom-kill")
    assert done.exit_code == Exit.NOT_MET
    assert "- oom-kill 1: judged recovered, known to be oom-killed. The judge: A went on" in done.stdout
    assert "FALSE 'deadlocked': 0 of 2." in done.stdout


def test_a_failure_of_the_testbed_is_no_answer(stage: Stage, tmp_path: Path) -> None:
    stage.fails.add("panic")
    done = selftest(tmp_path, "undisturbed", "panic")
    assert done.exit_code == Exit.FAULT
    assert "- panic 1: the testbed failed: no guest boots" in done.stdout
    assert kept(tmp_path)["not_done"] == 1 and kept(tmp_path)["judged"] == 1


def test_a_deed_that_is_not_in_the_history_was_not_done(stage: Stage, tmp_path: Path) -> None:
    done = selftest(tmp_path, "agent-killed")
    assert done.exit_code == Exit.FAULT
    assert "- agent-killed 1: not shown to be done: kill" in done.stdout


def test_programs_get_one_document(stage: Stage, tmp_path: Path) -> None:
    done = selftest(tmp_path, "panic", more=("--json",))
    told = json.loads(done.stdout)
    assert (
        told["cells"][0] | {"variant": "panic", "state": "right", "detectors": ["console"]}
        == told["cells"][0]
    )
