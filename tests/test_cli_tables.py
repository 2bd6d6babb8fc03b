"""The commands that make or read tables, without a guest: run until clear, compare, power."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from histories import Story, write_result
from rich.console import Console
from tables import WEDGED, WENT, cells
from typer.testing import Result

from testbed import store
from testbed.campaign.play import judge_folder
from testbed.campaign.summary import summarise
from testbed.campaign.until_clear import Rule, note_of, write_note
from testbed.cli import inputs, playing, show
from testbed.cli.exits import Exit
from testbed.images import BuiltImage
from testbed.model import Plan
from testbed.run import cell
from testbed.run.cell import Inputs
from testbed.run.observe import Listener
from tests.commands import testbed

SUMMARIES = str(Path(__file__).parent.parent / "results" / "summaries")


def said(done: Result) -> str:
    return " ".join(done.output.split())


# --- compare


def test_compare_says_it_in_words_first() -> None:
    kernels = ("-k", "stock", "-k", "vanilla-2007")
    done = testbed("compare", SUMMARIES, *kernels, "--form", "short", "--transport", "nbd")
    assert done.exit_code == Exit.MET, done.output
    assert (
        "stock wedged less often than vanilla-2007: 1 of 5 against 5 of 5, "
        "difference -80 points (-96 to -19) at 95 %, Fisher p = 0.048." in said(done)
    )
    assert "stock median 11 s; vanilla-2007 no median (5 of 5 did not recover)" in said(done)


def test_compare_for_programs() -> None:
    kernels = ("-k", "complete-rx", "-k", "stock", "-k", "vanilla-2007")
    done = testbed("compare", SUMMARIES, *kernels, "--form", "short", "--transport", "nbd", "--json")
    assert done.exit_code == Exit.MET, done.output
    told = json.loads(done.stdout)
    found = {tuple(each["kernel"] for each in one["kernels"]): one for one in told["comparisons"]}
    clear = found["complete-rx", "vanilla-2007"]
    assert clear["shown"] and clear["difference"] == -1
    assert clear["adjusted_p"] == pytest.approx(4 / 252)
    assert clear["kernels"][1]["outcomes"] == {"deadlocked": 5}
    assert not found["complete-rx", "stock"]["shown"]
    assert told["cautions"] == {"flood \u00b7 short \u00b7 nbd \u00b7 e1000e": []}


WRONG = (
    (("-k", "stok", "-k", "stock"), "no cell of kernel 'stok'", "did you mean 'stock'?"),
    (("-k", "stock"), "one kernel alone", "vanilla-2007"),
    (("--variant", "b-silnt"), "no cell of variant 'b-silnt'", "did you mean 'b-silent'?"),
    (("--nic", "e1000"), "no cell of 'e1000'", "e1000e"),
)


@pytest.mark.parametrize(("words", "text", "hint"), WRONG, ids=lambda value: " ".join(value)[:30])
def test_a_wrong_comparison_ends_with_2_and_a_hint(words: tuple[str, ...], text: str, hint: str) -> None:
    done = testbed("compare", SUMMARIES, *words)
    assert done.exit_code == Exit.USAGE, done.output
    assert text in done.stderr and hint in done.stderr and done.stdout == ""


def test_a_kernel_without_a_cell_that_counts_ends_with_3(tmp_path: Path) -> None:
    for kernel, story in (("a", Story()), ("b", Story(least_free=900))):
        judge_folder(write_result(tmp_path / kernel, story, kernel=kernel))
    done = testbed("compare", str(tmp_path))
    assert done.exit_code == Exit.INCONCLUSIVE, done.output
    assert "not counted: inconclusive 1" in said(done) and "Nothing to compare" in said(done)


def test_compare_knows_what_was_played_until_clear(tmp_path: Path) -> None:
    labels = []
    for kernel, recover_s in (("a", 10.0), ("b", None)):
        for repeat in range(1, 5):
            folder = write_result(
                tmp_path / f"{kernel}{repeat}", Story(recover_s=recover_s), kernel=kernel, repeat=repeat
            )
            judge_folder(folder)
            labels.append(store.read_plan(folder).labels)
    write_note(tmp_path, note_of(labels, Rule()))
    done = testbed("compare", str(tmp_path))
    assert done.exit_code == Exit.MET, done.output
    assert "at 95 % at every look, always-valid p = 0.029" in said(done)
    assert "Fisher" not in said(done)


# --- power


def test_power_tells_how_many_repeats_and_what_stopping_early_gives() -> None:
    done = testbed("power", "--from", "0.9", "--to", "0.5", "--power", "0.8")
    assert done.exit_code == Exit.MET, done.output
    assert said(done).startswith("23 repeats of each kernel: where one wedges in 90% of its cells")
    assert "--until-clear --at-most 46 shows one" in said(done)
    told = json.loads(testbed("power", "--from", "1", "--to", "0", "--json").stdout)
    assert told["fixed"] == {"repeats": 4, "power": 1.0, "approximate": 2}


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--from", "0.5", "--to", "0.5"), "a difference of nothing"),
        (("--from", "0.5", "--to", "0.52"), "over 400 repeats"),
        (("--from", "1.5", "--to", "0.52"), "less than or equal to 1"),
    ],
)
def test_power_that_can_not_be_had(words: tuple[str, ...], text: str) -> None:
    done = testbed("power", *words)
    assert done.exit_code == Exit.USAGE
    assert text in done.stderr


# --- run


@contextmanager
def silent(_plan: Plan, _title: str, *, quiet: bool) -> Iterator[Listener]:
    yield lambda _view: None


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`testbed run flood` on cells that are told, not played; by kernel whether it wedges."""
    image = BuiltImage("0" * 24, tmp_path, tmp_path)
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(inputs.images, "build", lambda _own=None: image)
    monkeypatch.setattr(inputs.kernels, "digest", lambda spec, **_: f"{len(spec.label):024}")
    monkeypatch.setattr(inputs, "builder", lambda _image, *, quiet: lambda _plan: Inputs({}, image))
    monkeypatch.setattr(inputs, "write_report", lambda _played: None)
    monkeypatch.setattr(playing, "live", silent)

    def command_of(wedges: dict[str, bool], *words: str) -> Result:
        def play(plan: Plan, _inputs: Any, folder: Path, _listener: Any, *, keep: Any) -> None:
            story = Story(recover_s=None if wedges[plan.labels.kernel] else 10.0)
            labels = plan.labels.model_dump()
            write_result(folder, story, **(labels if plan.labels.variant else {**labels, "expect": None}))

        monkeypatch.setattr(cell, "run", play)
        chosen = [word for kernel in wedges for word in ("-k", kernel)]
        return testbed("run", "flood", *chosen, "--into", str(tmp_path / "r"), *words)

    return command_of


def test_run_until_clear_stops_and_says_so(run: Callable[..., Result], tmp_path: Path) -> None:
    done = run({"stock": False, "vanilla-2007": True}, "--until-clear")
    assert done.exit_code == Exit.MET, done.output
    assert len(list((tmp_path / "r").glob(f"*/{store.VERDICT}"))) == 8
    assert "Stopped when clear, after 4 of at most 20 repeats: the difference between stock and" in said(done)
    assert "stock wedged less often than vanilla-2007: 0 of 4 against 4 of 4" in said(done)
    assert "Wilson" not in said(done) and "Fisher" not in said(done)
    index = (tmp_path / "r" / "index.html").read_text()
    assert "Stopped when clear, after 4 of at most 20 repeats" in index


def test_run_until_clear_that_does_not_get_there_ends_with_3(run: Callable[..., Result]) -> None:
    done = run({"stock": False, "complete-rx": False}, "--until-clear", "--at-most", "3", "--json")
    assert done.exit_code == Exit.INCONCLUSIVE, done.output
    told = json.loads(done.stdout)
    assert [one["clear"] for one in told["until_clear"]] == [False]
    assert [one["of"] for one in told["rows"]] == [3, 3]


def test_controls_are_played_after_it_and_once(run: Callable[..., Result], tmp_path: Path) -> None:
    done = run({"stock": False}, "--until-clear", "--controls", "--json")
    assert [row["variant"] for row in json.loads(done.stdout)["rows"]] == ["", "b-silent", "never-healed"]
    assert len(list((tmp_path / "r").glob(f"*/{store.VERDICT}"))) == 6 + 2


CONTRADICTIONS = (
    (("--until-clear", "--repeat", "5"), "--repeat fixes the number"),
    (("--until-clear", "--keep"), "which cell is the last"),
    (("--at-most", "5"), "--at-most is of --until-clear"),
    (("--width", "0.3"), "--width is of --until-clear"),
)


@pytest.mark.parametrize(("words", "text"), CONTRADICTIONS, ids=lambda value: value[0][:20])
def test_options_that_contradict_each_other(
    run: Callable[..., Result], tmp_path: Path, words: tuple[str, ...], text: str
) -> None:
    done = run({"stock": False}, *words)
    assert done.exit_code == Exit.USAGE and text in done.stderr
    assert not (tmp_path / "r").exists()


# --- what people look at


def test_a_table_fits_80_columns() -> None:
    table = summarise([*cells("stock", *WENT), *cells("recursive-reclaim-first", *WEDGED, "inconclusive")])
    console = Console(width=80, force_terminal=False)
    with console.capture() as captured:
        console.print(show.summary(table))
    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= 80
    assert any("wedged 5 of 5 (57\u2013100 %)" in line for line in lines)
    assert [line.split()[0:2] for line in lines if "inconclusive" in line] == [["inconclusive", "1"]]


def test_a_table_names_what_is_counterfactual_and_why() -> None:
    both = [*cells("vanilla-2007", *WEDGED, transport="nfs3"), *cells("stock", *WENT, transport="nfs3")]
    table = summarise(both)
    console = Console(width=80, force_terminal=False)
    with console.capture() as captured:
        console.print(show.summary(table))
    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= 80
    (under,) = (number for number, line in enumerate(lines) if line.startswith("  counterfactual"))
    assert lines[under - 1].startswith("  vanilla-2007")
    words = " ".join(captured.get().split())
    assert "Counterfactual: vanilla-2007 over nfs3: the mainline of 2007 did not swap over NFS" in words
    told = show.summary_json(table, both, Path("index.html"))
    assert [len(each["counterfactual"]) for each in told["rows"]] == [0, 1]
    assert [len(each["counterfactual"]) for each in told["cells"]] == [1] * 5 + [0] * 5
    assert "counterfactual" in show.cell(both[0]) and "counterfactual" not in show.cell(both[-1])


def test_compare_says_what_is_counterfactual(tmp_path: Path) -> None:
    for number, kernel in enumerate(("vanilla-2007", "stock")):
        write_result(tmp_path / str(number), Story(), kernel=kernel, transport="nfs4")
        judge_folder(tmp_path / str(number))
    assert "Counterfactual: vanilla-2007 over nfs4: " in said(testbed("compare", str(tmp_path)))
    (why,) = json.loads(testbed("compare", str(tmp_path), "--json").stdout)["counterfactual"]
    assert why.startswith("vanilla-2007 over nfs4: ")
