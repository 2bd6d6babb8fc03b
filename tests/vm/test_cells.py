"""Real guests, real kernels: one cell that wedges and one that recovers, and what they leave behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from testbed import history, store
from testbed.campaign import play as campaign
from testbed.campaign.again import look_again
from testbed.campaign.play import Played
from testbed.judge.values import read_verdict
from testbed.reports import html
from tests.vm.conftest import Cells, copy_of

pytestmark = pytest.mark.vm


def test_the_vanilla_kernel_of_2007_wedges_and_it_is_told_why(cells: Cells) -> None:
    verdict = cells.wedging.verdict
    # Which of the two is the kernel's matter; that a reason is seen in its memory is ours.
    assert verdict.outcome in ("deadlocked", "starved"), verdict.reason
    found = verdict.examination
    assert found is not None and found.proves == verdict.outcome
    assert found.sentence == verdict.reason
    assert {node.kind for node in found.graph.nodes} >= {"request", "socket", "buffers", "memory", "task"}
    assert verdict.time_to_recover_s is None
    assert verdict.censored
    assert verdict.testbed_fault is None


def test_the_complete_patch_set_recovers(cells: Cells) -> None:
    verdict = cells.recovering.verdict
    assert verdict.outcome == "recovered", verdict.reason
    assert verdict.time_to_recover_s is not None
    assert 0 < verdict.time_to_recover_s < 120
    assert verdict.sweep_s is not None
    assert verdict.testbed_fault is None


def test_both_met_the_preconditions(cells: Cells) -> None:
    for cell in cells:
        assert cell.verdict.preconditions
        assert [one.statement for one in cell.verdict.preconditions if not one.met] == []


def test_the_faults_were_read_back_and_the_wire_agrees(cells: Cells) -> None:
    for cell in cells:
        recorded = history.read(cell.folder / store.HISTORY)
        assert recorded.damaged_lines == 0
        applied, reverted = recorded.first("fault.applied", "cut"), recorded.first("fault.reverted", "cut")
        assert applied is not None and reverted is not None
        assert applied.fields["read_back"] is reverted.fields["read_back"] is True
        assert sorted(applied.fields["machines"]) == ["A", "C"]
        assert {"swap.requests", "swap.replies"} <= set(applied.fields["flows"])
        assert 15 < recorded.seconds(applied.t_ns, reverted.t_ns) < 20
        delivered = [
            recorded.value_at("wire/swap.requests.delivered_packets", t_ns)
            for t_ns in (applied.t_ns + 10**9, reverted.t_ns)
        ]
        assert delivered[0] == delivered[1]


def test_every_stage_is_in_the_history_and_was_shown(cells: Cells) -> None:
    for cell in cells:
        whats = [event.what for event in history.read(cell.folder / store.HISTORY).events]
        for what in ("lab.ready", "transport.attached", "steady", "timeline.begin", "judging.begin"):
            assert whats.count(what) == 1
        assert "testbed.fault" not in whats
        assert "steady state" in cells.shown[cell.plan.labels.kernel]


def test_the_free_memory_of_every_machine_was_read_all_the_time(cells: Cells) -> None:
    for cell in cells:
        recorded = history.read(cell.folder / store.HISTORY)
        begin = recorded.first("timeline.begin")
        assert begin is not None
        for machine in cell.plan.machines:
            read = recorded.series(f"{machine.name}/memory.free_pages")
            assert read and all(0 <= pages * 4096 < machine.memory_bytes for _, pages in read)
            # B may stay as it is, and so may C where nobody comes back to it.
            if machine.name == "A" or (machine.name == "C" and cell is cells.recovering):
                assert recorded.within(f"{machine.name}/memory.free_pages", begin.t_ns, recorded.last_ns)


def test_the_recovered_guest_swept_every_page_and_found_none_wrong(cells: Cells) -> None:
    recorded = history.read(cells.recovering.folder / store.HISTORY)
    assert recorded.first("sweep.done") is not None
    for load in cells.recovering.plan.judging.finish_loads:
        at_end = {
            name: recorded.value_at(f"A/{load}.{name}", recorded.last_ns)
            for name in ("pages_total", "pages_filled", "bad_pages", "sweep_bad_pages", "sweeps_done")
        }
        assert at_end["pages_filled"] == at_end["pages_total"]
        assert at_end["sweeps_done"] == 1
        assert not at_end["bad_pages"] and not at_end["sweep_bad_pages"]


def test_the_record_suffices_to_tell_runs_apart(cells: Cells) -> None:
    for cell in cells:
        recorded = json.loads((cell.folder / store.ENVIRONMENT).read_text())
        digests = {key: kernel.digest for key, kernel in cell.plan.kernels.items()}
        assert {key: kernel["digest"] for key, kernel in recorded["kernels"].items()} == digests
        assert recorded["cell_s"] > 0
        assert "QEMU" in recorded["hypervisor"]
        for machine in cell.plan.machines:
            assert (cell.folder / store.console_name(machine.name)).stat().st_size > 1000


def test_looking_again_at_the_kept_dumps_says_the_same(cells: Cells, tmp_path: Path) -> None:
    folder = copy_of(cells.wedging.folder, tmp_path / "again")
    assert look_again(folder) == 2
    again = campaign.judge_folder(folder)
    assert (again.outcome, again.reason) == (cells.wedging.verdict.outcome, cells.wedging.verdict.reason)


def test_a_look_stops_the_guest_for_less_than_a_second_and_a_half(cells: Cells) -> None:
    looks = [look for cell in cells for look in store.read_evidence(cell.folder).snapshots]
    assert looks
    for look in looks:
        assert look.paused_ms < 1500
        assert not look.missing


def test_a_second_client_was_served_all_the_time(cells: Cells) -> None:
    for cell in cells:
        recorded = history.read(cell.folder / store.HISTORY)
        (name,) = cell.plan.judging.second_client
        for phase in ("timeline.begin", "judging.begin"):
            begin = recorded.first(phase)
            assert begin is not None
            assert recorded.growth(name, begin.t_ns, begin.t_ns + 8 * 10**9), phase


def test_judging_again_says_the_same(cells: Cells, tmp_path: Path) -> None:
    for number, cell in enumerate(cells):
        again = campaign.judge_folder(copy_of(cell.folder, tmp_path / str(number)))
        assert again == cell.verdict == read_verdict(cell.folder)


def test_the_labels_say_nothing_to_the_judge(cells: Cells, tmp_path: Path) -> None:
    for cell, other in ((cells.wedging, cells.recovering), (cells.recovering, cells.wedging)):
        folder = copy_of(cell.folder, tmp_path / cell.plan.labels.kernel)
        swap_labels(folder, other)
        assert store.read_plan(folder).labels.kernel == other.plan.labels.kernel
        assert campaign.judge_folder(folder) == cell.verdict


def swap_labels(folder: Path, other: Played) -> None:
    plan = json.loads((folder / store.PLAN).read_text())
    theirs = json.loads((other.folder / store.PLAN).read_text())
    plan |= {key: theirs[key] for key in ("labels", "kernels", "cell", "inputs")}
    store.write_json(folder / store.PLAN, plan)


def test_the_reports_render(cells: Cells) -> None:
    for cell, word in ((cells.wedging, cells.wedging.verdict.outcome), (cells.recovering, "recovered")):
        page = html.write_cell(cell.folder).read_text()
        assert word in page
        assert "<svg" in page
        assert cell.plan.labels.kernel in page


def test_a_second_play_runs_nothing(cells: Cells) -> None:
    def never(_plan: object) -> object:
        raise AssertionError("a finished cell was built or run again")

    for cell in cells:
        (again,) = campaign.play([cell.plan], cell.folder.parent, never, never)  # type: ignore[arg-type]
        assert isinstance(again, Played)
        assert not again.fresh
        assert again.verdict == cell.verdict
