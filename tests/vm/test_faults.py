"""Faults of the server, and of the packets between it and A, on real guests."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from testbed import history, store
from testbed.cli.exits import Exit
from testbed.clock import NS
from testbed.history import History
from testbed.judge.values import Verdict, read_verdict
from tests.commands import testbed

pytestmark = [pytest.mark.vm, pytest.mark.nightly]

PLAYBOOK = """
title = "C, or what comes from it, is not as it was for a while"
question = "What does A do?"
source = "the testbed"
topology = "abc"

[transport]
kind = "nbd"
client = "A"
server = "C"
backing = "BACKING"

[loads.anonymous]
kind = "anonymous"
on = "A"
memory = "1.1x"
processes = 2

[[timeline]]
at = "1s"
FAULT

[judge]
requires = []
finish = "sweep"
finish_within = "3s"
bound = "BOUND"
"""

LOST = re.compile(r"block nbd0: (Receive control|Send \S+) failed")
"""What drivers/block/nbd.c (6.1, nbd_read_reply, nbd_send_cmd) says when its connection has ended."""


@dataclass(frozen=True)
class Cell:
    verdict: Verdict
    recorded: History
    folder: Path

    def console(self, machine: str) -> str:
        return (self.folder / store.console_name(machine)).read_text(errors="replace")

    def spells(self) -> list[str]:
        """What was done to the fault, in turn, and read back."""
        events = [e for e in self.recorded.events if e.what in ("fault.applied", "fault.reverted")]
        assert all(event.fields["read_back"] is True for event in events)
        return [event.what.removeprefix("fault.") for event in events]


def play(
    folder: Path, fault: str, *, backing: str = "disk", transport: str = "nbd", bound: str = "15s"
) -> Cell:
    """Plays it on stock, and demands that the testbed itself did all it had to."""
    path = folder / "server.toml"
    path.write_text(PLAYBOOK.replace("FAULT", fault).replace("BACKING", backing).replace("BOUND", bound))
    into = str(folder / "cells")
    done = testbed("run", str(path), "-k", "stock", "--transport", transport, "--into", into, "--quiet")
    assert done.exit_code in (Exit.MET, Exit.NOT_MET, Exit.INCONCLUSIVE), done.output
    (cell,) = (folder / "cells").glob("server-stock-*/")
    return Cell(read_verdict(cell), history.read(cell / store.HISTORY), cell)


def works(cell: Cell, from_what: str) -> bool:
    """Whether the loads worked after that event."""
    event = cell.recorded.first(from_what)
    assert event is not None
    counters = [f"A/anonymous-{number}.work_units" for number in (1, 2)]
    return bool(cell.recorded.rises(counters, event.t_ns + NS, cell.recorded.last_ns))


def in_force(cell: Cell) -> tuple[int, int]:
    """From when to when the fault was in force, less a second in which what was on its way arrives."""
    applied, reverted = (cell.recorded.first(f"fault.{what}") for what in ("applied", "reverted"))
    assert applied is not None and reverted is not None
    return applied.t_ns + NS, reverted.t_ns


def completed(cell: Cell) -> int:
    """How many requests of the swap device were completed while the fault was in force."""
    series = [f"A/blocksampler.{done}_completed_0" for done in ("reads", "writes")]
    return sum(cell.recorded.growth(name, *in_force(cell)) or 0 for name in series)


ENDED = pytest.mark.parametrize(
    "fault",
    ['for = "6s"\nfault = "server-kill"\nmachine = "C"', 'for = "20s"\nfault = "reboot"\nmachine = "C"'],
    ids=["server-kill", "reboot"],
)


@ENDED
def test_a_server_that_forgot_the_connection_serves_again_and_nbd_does_not_come_back(
    tmp_path: Path, fault: str
) -> None:
    cell = play(tmp_path, fault)
    assert cell.spells() == ["applied", "reverted"]
    # nbd-client leaves its socket to the kernel and ends: nobody is there to connect anew.
    assert LOST.search(cell.console("A"))
    assert cell.verdict.outcome in ("io-error", "stalled", "inconclusive"), cell.verdict.reason
    boots = cell.console("C").count("Linux version ")
    assert boots == (2 if "reboot" in fault else 1)


@ENDED
@pytest.mark.parametrize("transport", ["nvme-tcp", "iscsi"])
def test_a_target_in_the_kernel_is_found_again_and_has_the_same_disk(
    tmp_path: Path, transport: str, fault: str
) -> None:
    # NVMe's host tries again every 10 s; one that booted it may give up by its keep-alive alone, after 60 s.
    cell = play(tmp_path, fault, transport=transport, bound="3min")
    assert cell.spells() == ["applied", "reverted"]
    assert not completed(cell)
    assert works(cell, "fault.reverted")
    assert cell.verdict.outcome in ("recovered", "slow"), cell.verdict.reason
    assert "Write-error on swap-device" not in cell.console("A")
    assert cell.console("C").count("Linux version ") == (2 if "reboot" in fault else 1)


def test_nfs_goes_on_when_its_server_serves_again(tmp_path: Path) -> None:
    cell = play(tmp_path, 'for = "6s"\nfault = "server-kill"\nmachine = "C"', transport="nfs3")
    assert cell.spells() == ["applied", "reverted"]
    assert works(cell, "fault.reverted")
    assert cell.verdict.outcome in ("recovered", "slow", "inconclusive"), cell.verdict.reason


def test_clients_of_nfs_4_go_on_after_the_grace_period_of_a_server_that_serves_again(tmp_path: Path) -> None:
    fault = 'for = "6s"\nfault = "server-kill"\nmachine = "C"'
    cell = play(tmp_path, fault, transport="nfs4", bound="60s")
    assert cell.spells() == ["applied", "reverted"]
    assert works(cell, "fault.reverted")
    assert cell.verdict.outcome in ("recovered", "slow", "inconclusive"), cell.verdict.reason


def test_a_reset_ends_the_connection_while_the_server_lives(tmp_path: Path) -> None:
    cell = play(tmp_path, 'for = "6s"\nfault = "reset"\nflow = "swap"')
    assert cell.spells() == ["applied", "reverted"]
    assert LOST.search(cell.console("A"))
    applied = cell.recorded.first("fault.applied")
    assert applied is not None and applied.fields["flows"] == ["swap.requests", "swap.replies"]
    assert not [f for f in cell.verdict.findings if f.detector == "faults" and f.says == "doubt"]


def test_a_full_disk_is_a_write_error_and_no_lost_connection(tmp_path: Path) -> None:
    cell = play(tmp_path, 'for = "6s"\nfault = "disk-full"\nmachine = "C"', backing="file")
    assert cell.spells() == ["applied", "reverted"]
    assert not LOST.search(cell.console("A"))
    assert "Write-error on swap-device" in cell.console("A")
    assert works(cell, "fault.reverted")


def test_damaged_packets_arrive_for_nothing_are_sent_again_and_no_page_is_wrong(tmp_path: Path) -> None:
    cell = play(tmp_path, 'for = "8s"\nfault = "corrupt"\nflow = "swap"\nshare = 1.0')
    assert cell.spells() == ["applied", "reverted"]
    assert cell.recorded.growth("wire/swap.requests.delivered_packets", *in_force(cell))
    assert not completed(cell)
    assert not LOST.search(cell.console("A"))
    assert works(cell, "fault.reverted")
    assert cell.verdict.outcome in ("recovered", "slow", "inconclusive"), cell.verdict.reason


def test_a_delay_makes_answers_late_and_loses_none(tmp_path: Path) -> None:
    cell = play(tmp_path, 'for = "8s"\nfault = "delay"\nmachine = "A"\ndelay = "200ms"')
    assert cell.spells() == ["applied", "reverted"]
    assert cell.recorded.growth("wire/swap.replies.delivered_packets", *in_force(cell))
    assert completed(cell)
    assert not LOST.search(cell.console("A"))
    assert works(cell, "fault.reverted")
    assert not [f for f in cell.verdict.findings if f.detector == "faults" and f.says == "doubt"]


def test_an_answer_from_another_address_is_no_answer(tmp_path: Path) -> None:
    cell = play(tmp_path, 'for = "8s"\nfault = "readdress"\nmachine = "C"\naddress = "10.77.1.99"')
    assert cell.spells() == ["applied", "reverted"]
    assert not completed(cell)
    # A refuses what comes from there, C believes it, and knows nothing of the connection when it is healed.
    assert LOST.search(cell.console("A"))


@pytest.mark.parametrize(
    "fault",
    ['fault = "drop"\nbetween = ["A", "C"]', 'fault = "carrier"\nmachine = "A"'],
    ids=["drop", "carrier"],
)
def test_packets_pass_between_the_spells_of_a_fault_that_flaps(tmp_path: Path, fault: str) -> None:
    cell = play(tmp_path, f'for = "10s"\non = "1s"\noff = "3500ms"\n{fault}')
    assert cell.spells() == ["applied", "reverted"] * 3
    times = [e.t_ns for e in cell.recorded.events if e.what in ("fault.applied", "fault.reverted")]
    passed = [
        cell.recorded.growth("wire/swap.requests.delivered_packets", from_ns + settle_ns, to_ns)
        for settle_ns, (from_ns, to_ns) in zip((NS // 2, 0) * 3, pairwise(times), strict=False)
    ]
    assert not any(passed[::2]) and all(passed[1::2]), passed
    assert not [f for f in cell.verdict.findings if f.detector == "faults" and f.says == "doubt"]
    assert works(cell, "fault.reverted")
