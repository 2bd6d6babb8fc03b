"""`testbed claims`: what is listed, told and written, and that `run` plays what is missing, once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from histories import Story, write_result
from typer.testing import Result

from testbed import store
from testbed.campaign import export
from testbed.campaign.play import judge_folder
from testbed.cli import claims as commands
from testbed.cli import inputs, playing
from testbed.cli.exits import Exit
from testbed.errors import TestbedFault
from testbed.images import BuiltImage
from testbed.model import Plan
from testbed.run import cell
from testbed.run.cell import Inputs
from tests.commands import testbed
from tests.test_cli_tables import said, silent

TABLE = """
title = "t"
source = "s"

[claims.C3]
who = "Somebody"
date = "2007-08-15"
statement = "A wedges."
rule = "wedges-mostly"
arms = [{ kernel = "vanilla-2007", playbook = "flood", settings = { rate = "0pps" } }]

[claims.C5]
who = "Somebody"
date = "2007-08-15"
statement = "Another."
missing = "a playbook"

[claims.C11]
who = "Somebody else"
date = "2007-08-21"
statement = "Rarer."
rule = "wedges-less"
repeats = 6
arms = [
    { kernel = "stock", playbook = "flood", settings = { rate = "0pps" } },
    { kernel = "vanilla-2007", playbook = "flood", settings = { rate = "0pps" } },
]
"""
FORM = "short,rate=0pps"


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table of three claims, and results of two cells: one as itself and as its summary, one as summary."""
    monkeypatch.setenv("COLUMNS", "80")
    table = tmp_path / "claims.toml"
    table.write_text(TABLE)
    plain = commands.claims.read
    monkeypatch.setattr(commands.claims, "read", lambda path=table: plain(path))
    campaign = tmp_path / "results" / "flood-short"
    for repeat in (1, 2):
        folder = campaign / f"vanilla-2007-{repeat}"
        write_result(folder, Story(recover_s=None), kernel="vanilla-2007", repeat=repeat, form=FORM)
        judge_folder(folder)
        export.write_summary(folder, tmp_path / "results" / "summaries" / "some")
    (campaign / "vanilla-2007-2").rename(campaign / "vanilla-2007-2.unfinished-1")
    return tmp_path / "results"


@pytest.fixture
def play(results: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Result, list[str]]]:
    """`testbed claims run` on cells that are told by kernel, not played; and which were."""
    image = BuiltImage("0" * 24, results, results)
    monkeypatch.setenv("TESTBED_CACHE", str(results.parent / "cache"))
    monkeypatch.setattr(inputs.images, "build", lambda _own=None: image)
    monkeypatch.setattr(inputs.kernels, "digest", lambda spec, **_: f"{len(spec.label):024}")
    monkeypatch.setattr(inputs, "builder", lambda *, quiet: lambda _plan: Inputs({}, image))
    monkeypatch.setattr(inputs, "write_report", lambda _played: None)
    monkeypatch.setattr(playing, "live", silent)

    def command_of(*words: str, stories: dict[str, Story | None] | None = None) -> tuple[Result, list[str]]:
        played: list[str] = []

        def run(plan: Plan, _inputs: Any, folder: Path, _listener: Any, *, keep: Any) -> None:
            played.append(plan.cell)
            usual = {"stock": Story(), "vanilla-2007": Story(recover_s=None)}
            story = {**usual, **(stories or {})}[plan.labels.kernel]
            if story is None:
                raise TestbedFault("a hiccup")
            write_result(folder, story, **{**plan.labels.model_dump(), "expect": None})

        monkeypatch.setattr(cell, "run", run)
        return testbed("claims", "run", *words, "--results", str(results)), played

    return command_of


def vanilla(*numbers: int) -> list[str]:
    return [f"flood-{FORM}/vanilla-2007/e1000e/nbd/r{number}" for number in numbers]


def said_of(text: str) -> str:
    return " ".join(text.split())


# --- list, show, write


@pytest.mark.parametrize("command", [(), ("show",), ("run",), ("write",)])
def test_help_has_an_example(command: tuple[str, ...]) -> None:
    done = testbed("claims", *command, "--help")
    assert done.exit_code == Exit.MET and f"Example: testbed claims{' '.join(('', *command))}" in done.stdout


def test_the_list_has_every_claim_with_its_state(results: Path) -> None:
    done = testbed("claims", "--results", str(results))
    assert done.exit_code == Exit.MET, done.output
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "3 claims, 2 with arms, 0 settled" in said(done)
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line.startswith("C")}
    assert "not settled" in rows["C3"] and "2 of 5" in rows["C3"] and "no arm" in rows["C5"]


def test_claims_for_programs(results: Path) -> None:
    listed = json.loads(testbed("claims", "--results", str(results), "--json").stdout)
    assert [one["id"] for one in listed] == ["C3", "C5", "C11"]
    shown = json.loads(testbed("claims", "show", "C11", "--results", str(results), "--json").stdout)
    assert shown == [listed[2]]
    three = listed[0]
    assert (three["state"], three["missing"], three["rule"]) == ("not settled", 3, "wedges-mostly")
    (arm,) = three["answers"][0]["arms"]
    assert (arm["kernel"], arm["form"], arm["hits"], arm["of"], arm["missing"]) == (
        *("vanilla-2007", FORM, 2, 2, 3),
    )
    (paths,) = arm["cells"].values()
    assert len(paths) == 2 and all("/summaries/some/" in path for path in paths)  # not the folder beside it


def test_show_tells_a_claim_in_full(results: Path) -> None:
    done = testbed("claims", "show", "c3", "C5", "--results", str(results))
    assert done.exit_code == Exit.MET, done.output
    assert "C3 Somebody, 2007-08-15" in said(done) and "3 cells are missing" in said(done)
    assert "wedged 2 of 2; 34\u2013100 % at 95 %, 3 missing" in said(done)
    assert "vanilla-2007-1.json" in done.stdout and "not asked yet: a playbook" in said(done)


def test_an_unknown_claim_ends_with_2_and_the_known_ones(results: Path) -> None:
    for command in ("show", "run"):
        done = testbed("claims", command, "C12", "--results", str(results))
        assert done.exit_code == Exit.USAGE and done.stdout == ""
        assert "no claim 'C12'" in done.stderr and "did you mean 'C11'? known: C11, C3, C5" in said_of(
            done.stderr
        )


def test_results_that_are_not_there_are_no_empty_results(results: Path) -> None:
    done = testbed("claims", "--results", str(results / "nowhere"))
    assert done.exit_code == Exit.USAGE and "does not exist" in said_of(done.stderr)


def test_a_table_that_is_wrong_ends_with_2(results: Path) -> None:
    (results.parent / "claims.toml").write_text(TABLE.replace("wedges-less", "wedges-fewer"))
    done = testbed("claims", "--results", str(results))
    assert done.exit_code == Exit.USAGE and "claims.toml:22: claims.C11.rule" in done.stderr


def test_write_takes_summaries_alone_and_is_the_same_twice(results: Path) -> None:
    page = results.parent / "docs" / "claims.md"
    page.parent.mkdir()
    words = ("claims", "write", "--into", str(page), "--results", str(results))
    assert testbed(*words).exit_code == Exit.MET
    text = page.read_text()
    write_result(results / "late" / "x", Story(), kernel="vanilla-2007", repeat=3, form=FORM)
    judge_folder(results / "late" / "x")
    assert json.loads(testbed(*words, "--json").stdout) == str(page)
    assert page.read_text() == text
    assert "| open | wedged 2 of 2; 34\u2013100 % at 95 % | 3 | stalled " in text
    assert "[1](../results/summaries/some/vanilla-2007-1.json)" in text
    listed = json.loads(testbed("claims", "--results", str(results), "--json").stdout)
    assert listed[0]["missing"] == 2  # the list does count it


def test_check_reads_the_table(results: Path) -> None:
    done = testbed("check", str(results.parent / "claims.toml"))
    assert done.exit_code == Exit.MET and "3 claims, 2 of them with arms" in said(done)


# --- run


def test_a_dry_run_names_exactly_the_missing_cells_and_plays_none(
    play: Callable[..., Any], results: Path
) -> None:
    done, played = play("C3", "--dry-run")
    assert done.exit_code == Exit.MET and played == [] and not (results / "claims").exists()
    assert done.stdout.splitlines()[:-1] == vanilla(3, 4, 5)
    assert "3 cells: about 4 min 3 s if each recovers" in done.stdout.splitlines()[-1]
    told = json.loads(play("C3", "C11", "--dry-run", "--json")[0].stdout)
    stock = [name.replace("vanilla-2007", "stock") for name in vanilla(1, 2, 3, 4, 5, 6)]
    assert sorted(told["cells"]) == sorted([*stock, *vanilla(3, 4, 5, 6)])
    assert told["most_s"] - told["least_s"] == 10 * 300
    assert json.loads(play("C3", "--repeat", "3", "--dry-run", "--json")[0].stdout)["cells"] == vanilla(3)


def test_what_is_missing_is_played_and_nothing_twice(play: Callable[..., Any], results: Path) -> None:
    done, played = play("C3", "--json")
    assert done.exit_code == Exit.MET, done.output
    assert played == vanilla(3, 4, 5)
    (told,) = json.loads(done.stdout)
    assert (told["id"], told["state"], told["missing"]) == ("C3", "holds", 0)
    assert len(list((results / "claims").glob(f"*/{store.VERDICT}"))) == 3
    done, played = play("C3", "-q")
    assert done.exit_code == Exit.MET and played == []
    done, played = play("C11", "C3", "--json")
    assert played.count(vanilla(6)[0]) == 1 and len(played) == 7  # six of stock: the claims share an arm
    assert [one["state"] for one in json.loads(done.stdout)] == ["holds", "holds"]


def test_cells_that_do_not_count_leave_it_open_and_others_are_played_next(play: Callable[..., Any]) -> None:
    rested = {"vanilla-2007": Story(least_free=900)}
    done, played = play("C3", "-q", stories=rested)
    assert done.exit_code == Exit.INCONCLUSIVE and played == vanilla(3, 4, 5)
    assert "3 cells are missing" in said(done)
    done, played = play("C3", "-q")
    assert done.exit_code == Exit.MET and played == vanilla(6, 7, 8)


def test_a_failure_of_the_testbed_ends_with_4_and_is_played_again(play: Callable[..., Any]) -> None:
    done, played = play("C3", "-q", stories={"vanilla-2007": None})
    assert done.exit_code == Exit.FAULT and len(played) == 6  # each is tried twice
    done, played = play("C3", "-q")
    assert done.exit_code == Exit.MET and played == vanilla(3, 4, 5)


def test_cells_into_another_folder_count_there(play: Callable[..., Any], tmp_path: Path) -> None:
    elsewhere = ("--into", str(tmp_path / "elsewhere"))
    done, played = play("C3", "-q", *elsewhere)
    assert done.exit_code == Exit.MET and played == vanilla(3, 4, 5)
    assert play("C3", "-q", *elsewhere)[1] == []
    assert play("C3", "--dry-run")[0].stdout.splitlines()[:-1] == vanilla(3, 4, 5)


def test_what_can_not_be_asked_is_not_played(play: Callable[..., Any]) -> None:
    done, played = play("C3", "C5")
    assert done.exit_code == Exit.USAGE and played == []
    assert "C5 can not be asked yet" in done.stderr and "missing: a playbook" in done.stderr
