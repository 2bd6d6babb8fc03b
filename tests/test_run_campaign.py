"""Campaigns and cut short cells, with a run stage that boots nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from testbed import history, store
from testbed.campaign import play as campaign
from testbed.campaign.play import Played
from testbed.errors import TestbedError, TestbedFault, UsageError
from testbed.images import BuiltImage
from testbed.model import Plan
from testbed.run import cell, environment
from testbed.run.observe import Listener
from tests.histories import Story, judging, plan_of, write_result

INPUTS = cell.Inputs({}, BuiltImage("ab", Path("/"), Path("/root.ext4")))
PLAN = plan_of(judging())
Deed = Callable[[Path], None]


@contextmanager
def display(_plan: Plan) -> Iterator[Listener]:
    yield lambda _view: None


def fill(folder: Path) -> None:
    write_result(folder, Story())


def fails(error: BaseException) -> Deed:
    def deed(folder: Path) -> None:
        store.write_plan(folder, PLAN)
        (folder / store.HISTORY).touch()
        raise error

    return deed


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Played | TestbedError]]:
    """Plays PLAN; each run does the next of the deeds. More runs than deeds are an error."""

    def run(*deeds: Deed, plans: tuple[Plan, ...] = (PLAN,)) -> list[Played | TestbedError]:
        left = iter(deeds)
        monkeypatch.setattr(
            cell, "run", lambda _plan, _inputs, folder, _listener, *, keep: next(left)(folder)
        )
        played = list(campaign.play(plans, tmp_path, lambda _plan: INPUTS, display))
        assert next(left, None) is None, "fewer runs than expected"
        return played

    return run


def names(folder: Path) -> list[str]:
    return sorted(path.name.removeprefix(campaign.folder_name(PLAN)) for path in folder.iterdir())


Play = Callable[..., list[Played | TestbedError]]


def test_a_finished_cell_is_kept(play: Play, tmp_path: Path) -> None:
    (first,) = play(fill)
    (again,) = play()
    assert isinstance(first, Played) and isinstance(again, Played)
    assert (first.fresh, again.fresh) == (True, False)
    assert again.verdict == first.verdict
    assert names(tmp_path) == [""]


def test_another_kernel_is_another_cell(play: Play, tmp_path: Path) -> None:
    other = plan_of(judging(), kernel="complete-rx")
    assert campaign.folder_name(other) != campaign.folder_name(PLAN)
    play(fill)
    play(fill, plans=(other,))
    assert len(campaign.cells_of(tmp_path)) == 2


def test_a_cell_cut_short_is_set_aside_and_run_anew(play: Play, tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            play(fails(KeyboardInterrupt()))
    (done,) = play(fill)
    assert isinstance(done, Played) and done.fresh
    assert names(tmp_path) == ["", ".unfinished-1", ".unfinished-2"]
    assert [one.folder for one in campaign.cells_of(tmp_path)] == [done.folder]


def test_a_cell_that_was_judged_while_it_ran_is_not_finished(play: Play, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        play(fails(KeyboardInterrupt()))
    assert campaign.judge_folder(tmp_path / campaign.folder_name(PLAN)).outcome == "inconclusive"
    (done,) = play(fill)
    assert isinstance(done, Played) and done.fresh


def test_two_controllers_play_a_cell_once(play: Play, tmp_path: Path) -> None:
    began, go_on = threading.Event(), threading.Event()

    def slowly(folder: Path) -> None:
        began.set()
        assert go_on.wait(5)
        fill(folder)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(play, slowly)
        assert began.wait(5)
        second = pool.submit(lambda: list(campaign.play((PLAN,), tmp_path, lambda _plan: INPUTS, display)))
        go_on.set()
        (one,), (other,) = first.result(), second.result()
    assert isinstance(one, Played) and one.fresh
    assert isinstance(other, Played) and not other.fresh
    assert names(tmp_path) == [""]


def test_our_own_failure_is_tried_once_more(play: Play, tmp_path: Path) -> None:
    (done,) = play(fails(TestbedFault("a hiccup")), fill)
    assert isinstance(done, Played)
    assert names(tmp_path) == ["", ".unfinished-1"]


def test_but_only_once_and_the_next_cell_is_played(play: Play, tmp_path: Path) -> None:
    other = plan_of(judging(), repeat=2)
    fault, done = play(fails(TestbedFault("one")), fails(TestbedFault("two")), fill, plans=(PLAN, other))
    assert isinstance(fault, TestbedFault) and str(fault) == "two"
    assert isinstance(done, Played)
    assert [one.plan.labels.repeat for one in campaign.cells_of(tmp_path)] == [1]


def test_a_usage_error_is_not_tried_again(play: Play) -> None:
    (error,) = play(fails(UsageError("no such NIC")))
    assert isinstance(error, UsageError)


def test_ctrl_c_is_not_taken_for_a_hiccup(play: Play) -> None:
    with pytest.raises(KeyboardInterrupt):
        play(fails(KeyboardInterrupt()), plans=(PLAN, plan_of(judging(), repeat=2)))


# --- what a cut short cell leaves behind


def run_cell(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException | None,
    clean_up: Exception | None = None,
) -> None:
    """A cell whose play ends with `error` and whose clean-up ends with `clean_up`."""

    def fail() -> None:
        if clean_up is not None:
            raise clean_up

    def play(*args: Any) -> None:
        writer, stack = args[3], args[5]
        stack.callback(fail)
        writer.event("lab.ready")
        if error is not None:
            raise error

    monkeypatch.setattr(cell, "_play", play)
    cell.run(PLAN, INPUTS, folder, lambda _view: None)


def whats(folder: Path) -> list[str]:
    return [event.what for event in history.read(folder / store.HISTORY).events]


@pytest.mark.parametrize("error", [TestbedFault("no witness"), ValueError("a bug of ours")])
def test_our_failure_is_written_down_and_judged_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    folder = tmp_path / "cell"
    with pytest.raises(type(error)):
        run_cell(folder, monkeypatch, error)
    assert whats(folder) == ["cell.begin", "lab.ready", "testbed.fault"]
    verdict = campaign.judge_folder(folder)
    assert verdict.outcome == "inconclusive"
    assert verdict.testbed_fault is not None and str(error) in verdict.testbed_fault


def test_an_interruption_is_written_down_and_is_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cell"
    with pytest.raises(KeyboardInterrupt):
        run_cell(folder, monkeypatch, KeyboardInterrupt())
    assert whats(folder)[-1] == "interrupted"
    assert campaign.judge_folder(folder).outcome == "inconclusive"


def test_the_hosts_error_is_a_fault_of_the_testbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TestbedFault, match="No space left"):
        run_cell(tmp_path / "cell", monkeypatch, OSError(28, "No space left on device"))


@pytest.mark.parametrize("first", [TestbedFault("the first"), KeyboardInterrupt()])
def test_a_failing_clean_up_does_not_hide_what_came_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: BaseException
) -> None:
    with pytest.raises(type(first)) as caught:
        run_cell(tmp_path / "cell", monkeypatch, first, TestbedFault("cannot heal"))
    assert caught.value is first


def test_a_clean_up_that_fails_alone_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TestbedFault, match="cannot heal"):
        run_cell(tmp_path / "cell", monkeypatch, None, TestbedFault("cannot heal"))
    assert whats(tmp_path / "cell")[-1] == "testbed.fault"


def test_a_disk_that_is_full_does_not_hide_what_came_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = history.Writer.event

    def full(self: history.Writer, what: str, **fields: Any) -> int:
        if what in ("testbed.fault", "interrupted"):
            raise TestbedFault("cannot write the history")
        return plain(self, what, **fields)

    monkeypatch.setattr(history.Writer, "event", full)
    with pytest.raises(KeyboardInterrupt):
        run_cell(tmp_path / "cell", monkeypatch, KeyboardInterrupt())


def test_a_result_folder_that_can_not_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TestbedFault, match="cannot make the result folder") as caught:
        run_cell(tmp_path / "file" / "cell", monkeypatch, KeyboardInterrupt())
    assert caught.value.where.endswith("cell")


def test_how_long_it_took_is_recorded_after_the_clean_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deeds: list[str] = []

    def play(*args: Any) -> None:
        folder, stack = args[2], args[5]
        store.write_json(folder / store.ENVIRONMENT, {})
        stack.callback(lambda: deeds.append("torn down"))

    plain = environment.write_times

    def write_times(folder: Path, begun_ns: int) -> None:
        deeds.append("times")
        plain(folder, begun_ns)

    monkeypatch.setattr(cell, "_play", play)
    monkeypatch.setattr(environment, "write_times", write_times)
    cell.run(PLAN, INPUTS, tmp_path / "cell", lambda _view: None)
    assert deeds == ["torn down", "times"]
    assert json.loads((tmp_path / "cell" / store.ENVIRONMENT).read_text())["cell_s"] >= 0
