"""The loads and settings of S1 and S9 on real guests: they do what they are to, whatever the kernel does."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed import history, store
from testbed.history import History
from testbed.judge.measures import CALLS
from testbed.judge.values import Verdict, read_verdict
from testbed.model import Plan
from tests.commands import testbed

pytestmark = [pytest.mark.vm, pytest.mark.nightly, pytest.mark.timeout(900)]


def played(into: Path, *argv: str) -> tuple[Plan, History, Verdict]:
    """One cell of `stock`; what it comes to is the kernel's matter."""
    done = testbed("run", *argv, "--kernel", "stock", "--into", str(into), "--quiet")
    folders = [path.parent for path in into.glob(f"*/{store.VERDICT}")]
    assert len(folders) == 1, done.output
    verdict = read_verdict(folders[0])
    assert verdict.testbed_fault is None, verdict.testbed_fault
    return store.read_plan(folders[0]), history.read(folders[0] / store.HISTORY), verdict


def at_the_end(recorded: History, name: str) -> int:
    return recorded.value_at(name, recorded.last_ns) or 0


def test_settings_reach_the_machine(tmp_path: Path) -> None:
    words = ("vcpus=2", "reserve=9830", "cmdline=threadirqs")
    settings = [word for setting in words for word in ("--set", setting)]
    _, recorded, verdict = played(tmp_path, "flood", "--variant", "b-silent", *settings)
    assert at_the_end(recorded, "A/vcpu.vcpus") == 2
    # min_free_kbytes is shared out among the zones, each of whose parts is rounded down (mm/page_alloc.c)
    assert at_the_end(recorded, "A/blocksampler.min_pages") == pytest.approx(9830 / 4, abs=3)
    console = next(tmp_path.glob("*/console-A.log")).read_text(errors="replace")
    assert " threadirqs" in console and "Kernel command line" in console
    assert verdict.outcome == "recovered"


@pytest.mark.parametrize(("variant", "share"), [("mixed", 0.3), ("cache-rich", 0.6)])
def test_a_share_of_memory_is_of_files_and_worked_on(variant: str, share: float, tmp_path: Path) -> None:
    plan, recorded, _ = played(tmp_path, "flood", "--variant", variant)
    for load in plan.loads[:2]:
        total = at_the_end(recorded, f"A/{load.name}.pages_total")
        assert at_the_end(recorded, f"A/{load.name}.mapped_pages") == pytest.approx(share * total, abs=1)
        assert at_the_end(recorded, f"A/{load.name}.work_units") > 0
        assert at_the_end(recorded, f"A/{load.name}.bad_pages") == 0


def test_a_writer_is_held_up_at_the_dirty_limit(tmp_path: Path) -> None:
    _, recorded, verdict = played(tmp_path, "flood", "--variant", "writer")
    assert verdict.measures["writes_kib"] > 32 << 10
    assert verdict.measures["writes_held"] > 10
    assert at_the_end(recorded, "A/vmsampler.dirty_limit_pages") == 1 << 20 >> 12
    dirty, written = (f"A/vmsampler.{name}_kib" for name in ("dirty", "writeback"))
    rounds = [value + (recorded.value_at(written, t_ns) or 0) for t_ns, value in recorded.series(dirty)]
    assert 900 < max(rounds) < 2048


def test_a_ring_exchanges_and_waits_with_its_slowest(tmp_path: Path) -> None:
    plan, recorded, _ = played(tmp_path, "flood", "--variant", "mpi")
    steps = [at_the_end(recorded, f"A/{load.name}.exchanged_pages") for load in plan.loads[:2]]
    assert min(steps) > 100 and max(steps) - min(steps) < 20
    assert all(at_the_end(recorded, f"A/{load.name}.bad_pages") == 0 for load in plan.loads[:2])


def test_a_storm_counts_its_calls(tmp_path: Path) -> None:
    _, _, verdict = played(tmp_path, "flood", "--variant", "storm")
    assert all(verdict.measures[f"calls_{call}"] > 10 for call in CALLS)
    assert "calls_failed" in verdict.measures


def test_a_flood_that_goes_on_is_judged_twice(tmp_path: Path) -> None:
    _, _, verdict = played(tmp_path, "flood", "--variant", "flood-on", "--set", "flood=33s")
    assert verdict.under is not None and verdict.under.observed_s == pytest.approx(20, abs=2)


def test_blocks_are_counted_before_and_after(tmp_path: Path) -> None:
    _, recorded, verdict = played(tmp_path, "fragmentation", "--variant", "b-silent")
    assert verdict.measures["blocks_tried"] > 100
    assert 0.5 < verdict.measures["whole_before"] <= 1
    assert 0 < verdict.measures["whole_after"] <= 1
    ended = recorded.first("loads.ended")
    assert ended is not None
    assert at_the_end(recorded, "A/memory.free_pages") > 10_000  # of 24,576: all that the loads held
