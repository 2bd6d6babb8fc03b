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
from testbed.campaign.until_clear import Rule, read_notes
from testbed.errors import BootFailure, TestbedError, TestbedFault, UsageError
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


def test_another_variant_in_the_playbook_makes_no_other_cell_but_another_plan_does() -> None:
    edited = PLAN.model_copy(update={"inputs": PLAN.inputs | {"playbook": "f" * 64}})
    assert campaign.folder_name(edited) == campaign.folder_name(PLAN)
    later = PLAN.model_copy(update={"steady_s": PLAN.steady_s + 1})
    assert campaign.folder_name(later) != campaign.folder_name(PLAN)


def test_what_somebody_expects_makes_no_other_cell() -> None:
    labels = PLAN.labels.model_copy(update={"expect": "deadlocked", "control": True})
    expected = PLAN.model_copy(update={"labels": labels})
    assert campaign.folder_name(expected) == campaign.folder_name(PLAN)


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


@pytest.mark.parametrize("error", [UsageError("no such NIC"), BootFailure("A does not get ready")])
def test_what_is_no_fault_of_ours_is_not_tried_again(error: TestbedError, play: Play) -> None:
    other = plan_of(judging(), repeat=2)
    failed, done = play(fails(error), fill, plans=(PLAN, other))
    assert failed is error
    assert isinstance(done, Played)


def test_ctrl_c_is_not_taken_for_a_hiccup(play: Play) -> None:
    with pytest.raises(KeyboardInterrupt):
        play(fails(KeyboardInterrupt()), plans=(PLAN, plan_of(judging(), repeat=2)))


def test_the_lab_of_the_last_cell_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[bool] = []

    def run(_plan: Plan, _inputs: Any, folder: Path, _listener: Any, *, keep: Any) -> None:
        kept.append(keep is not None)
        fill(folder)

    monkeypatch.setattr(cell, "run", run)
    plans = tuple(plan_of(judging(), repeat=number) for number in (1, 2, 3))
    list(campaign.play(plans, tmp_path, lambda _plan: INPUTS, display, keep=lambda _lab: None))
    assert kept == [False, False, True]


# --- until it is clear

WEDGES = {"vanilla-2007": True, "stock": False, "complete-rx": False}


@pytest.fixture
def until_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[str, int]]]:
    """Plays kernels by a rule, and tells which cells were run, in their order."""

    def run(*kernels: str, at_most: int = 20, stories: Callable[[Plan], Story | None] | None = None) -> Any:
        ran: list[tuple[str, int]] = []

        def play(plan: Plan, _inputs: Any, folder: Path, _listener: Any, *, keep: Any) -> None:
            ran.append((plan.labels.kernel, plan.labels.repeat))
            told = stories(plan) if stories else Story(recover_s=None if WEDGES[plan.labels.kernel] else 10.0)
            if told is None:
                raise TestbedFault("a hiccup")
            write_result(folder, told, kernel=plan.labels.kernel, repeat=plan.labels.repeat)

        monkeypatch.setattr(cell, "run", play)
        repeats = range(1, at_most + 1)
        plans = [plan_of(judging(), kernel=kernel, repeat=number) for number in repeats for kernel in kernels]
        rule = Rule(at_most=at_most)
        list(campaign.play_until_clear(plans, rule, tmp_path, lambda _plan: INPUTS, display))
        return ran

    return run


def test_two_kernels_that_differ_are_played_in_turn_until_that_is_clear(
    until_clear: Callable[..., Any], tmp_path: Path
) -> None:
    ran = until_clear("stock", "vanilla-2007")
    assert ran == [(kernel, number) for number in (1, 2, 3, 4) for kernel in ("stock", "vanilla-2007")]
    (note,) = read_notes(tmp_path)
    assert note.kernels == ("stock", "vanilla-2007")
    assert note.rule.at_most == 20


def test_a_run_that_was_cut_short_goes_on_where_it_was_and_ends_where_it_would_have(
    until_clear: Callable[..., Any],
) -> None:
    def interrupted(plan: Plan) -> Story:
        if plan.labels.repeat == 3:
            raise KeyboardInterrupt
        return Story(recover_s=None if WEDGES[plan.labels.kernel] else 10.0)

    with pytest.raises(KeyboardInterrupt):
        until_clear("stock", "vanilla-2007", stories=interrupted)
    assert until_clear("stock", "vanilla-2007") == [
        *(("stock", 3), ("vanilla-2007", 3), ("stock", 4), ("vanilla-2007", 4))
    ]
    assert until_clear("stock", "vanilla-2007") == []


def test_what_stays_open_ends_at_its_bound(until_clear: Callable[..., Any]) -> None:
    assert len(until_clear("stock", "complete-rx", at_most=3)) == 6


def test_one_kernel_alone_ends_when_one_half_is_left_out(until_clear: Callable[..., Any]) -> None:
    assert until_clear("stock") == [("stock", number) for number in range(1, 7)]


def test_a_kernel_without_an_open_question_is_left_out_of_the_next_rounds(
    until_clear: Callable[..., Any],
) -> None:
    def stories(plan: Plan) -> Story:
        often = plan.labels.kernel == "complete-rx" and plan.labels.repeat in (2, 5)
        return Story(recover_s=None if WEDGES[plan.labels.kernel] or often else 10.0)

    ran = until_clear("stock", "complete-rx", "vanilla-2007", at_most=12, stories=stories)
    last = {kernel: max(number for name, number in ran if name == kernel) for kernel in WEDGES}
    assert last["stock"] == last["complete-rx"] > last["vanilla-2007"]


def test_cells_that_say_nothing_are_not_counted_and_not_waited_for(until_clear: Callable[..., Any]) -> None:
    def stories(plan: Plan) -> Story | None:
        if plan.labels.repeat == 1:
            return Story(least_free=900)  # memory was never exhausted
        if plan.labels.repeat == 2 and plan.labels.kernel == "stock":
            return None
        return Story(recover_s=None if WEDGES[plan.labels.kernel] else 10.0)

    ran = until_clear("stock", "vanilla-2007", stories=stories)
    assert max(number for _, number in ran) == 6  # the first two rounds are not of both


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


def test_a_kernel_that_does_not_boot_is_no_failure_of_ours_and_the_cell_is_played_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cell"
    with pytest.raises(BootFailure):
        run_cell(folder, monkeypatch, BootFailure("A does not get ready"))
    assert whats(folder)[-1] == "boot.failed"
    verdict = campaign.judge_folder(folder)
    assert (verdict.outcome, verdict.testbed_fault) == ("inconclusive", None)
    assert "did not boot" in verdict.reason
    assert campaign.finished(folder) is None


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
