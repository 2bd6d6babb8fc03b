"""A crowded core, with a process that spins in place of a guest's CPU."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed.clock import Deadline, poll
from testbed.errors import TestbedFault
from testbed.faults import FaultTarget
from testbed.faults.starve import Starve
from testbed.machines.sandbox import Sandbox
from tests.namespace.conftest import entering, inside

pytestmark = pytest.mark.namespace

SPINNERS = 4
BUSY_S = 30


class Guest:
    """A guest whose only CPU is that process."""

    def __init__(self, thread: int) -> None:
        self.thread = thread

    def vcpu_threads(self) -> tuple[int, ...]:
        return (self.thread,)


def spin(lab: Sandbox) -> int:
    """Starts a spinner in the sandbox, which it goes with; its id there."""
    argv = [*entering(lab), sys.executable, "-P", "-m", "testbed.machines.spinner", str(BUSY_S)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    os.posix_spawnp(argv[0], argv, environment, setsid=True)
    poll(lambda: bool(spinners(lab)), Deadline.after(10, "a spinner"))
    return next(iter(spinners(lab)))


def spinners(lab: Sandbox) -> dict[int, int]:
    """The spinners of the sandbox: the ids that they have there, and their ids out here."""
    inner = Path(f"/proc/{entering(lab)[2]}/ns/pid").stat().st_ino
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            spins = b"testbed.machines.spinner" in (entry / "cmdline").read_bytes()
            if spins and (entry / "ns/pid").stat().st_ino == inner:
                numbers = next(
                    line for line in (entry / "status").read_text().splitlines() if line.startswith("NSpid")
                )
                found[int(numbers.split()[-1])] = int(entry.name)
        except OSError:
            continue
    return found


def waits(lab: Sandbox, thread: int, seconds: float) -> tuple[float, float]:
    """Shares of the time in which it ran, and in which it waited for a core."""
    run_ns, delay_ns = lab.broker.thread_times([thread])[thread]
    begin_ns = time.monotonic_ns()
    time.sleep(seconds)
    run, delay = lab.broker.thread_times([thread])[thread]
    took_ns = time.monotonic_ns() - begin_ns
    return (run - run_ns) / took_ns, (delay - delay_ns) / took_ns


def target(lab: Sandbox, thread: int) -> FaultTarget:
    return FaultTarget(lab.broker, {"A": Guest(thread)}, {})  # type: ignore[dict-item]


def test_a_starved_cpu_waits_for_its_core_and_gets_all_back(lab: Sandbox) -> None:
    thread = spin(lab)
    where = target(lab, thread)
    outside = spinners(lab)[thread]
    cores = os.sched_getaffinity(outside)
    fault = Starve(machine="A", spinners=SPINNERS)
    assert not fault.in_force(where)
    fault.apply(where)
    assert fault.in_force(where)
    assert lab.broker.crowds() == {"A": SPINNERS}
    assert len(os.sched_getaffinity(outside)) == 1
    time.sleep(1.0)  # the spinners are Python, and take a moment to spin
    ran, waited = waits(lab, thread, 2.0)
    assert ran < 1.5 / (SPINNERS + 1), ran
    assert waited > 0.5, waited
    with pytest.raises(TestbedFault, match="crowd 'A' is there already"):
        fault.apply(where)
    fault.revert(where)
    assert not fault.in_force(where)
    assert set(spinners(lab)) == {thread}
    assert os.sched_getaffinity(outside) == cores
    fault.revert(where)


def test_a_spinner_that_was_lost_is_missed(lab: Sandbox) -> None:
    thread = spin(lab)
    where = target(lab, thread)
    fault = Starve(machine="A", spinners=2)
    fault.apply(where)
    poll(lambda: len(spinners(lab)) == 3, Deadline.after(10, "the crowd under its name"))
    lost = next(own for inner, own in spinners(lab).items() if inner != thread)
    os.kill(lost, signal.SIGKILL)
    # Its command line is gone before the kernel has ended it: the broker's own word is awaited.
    poll(lambda: lab.broker.crowds() == {"A": 1}, Deadline.after(5, "the end of a spinner"))
    assert not fault.in_force(where)
    fault.revert(where)
    assert set(spinners(lab)) == {thread}


@pytest.mark.parametrize(("threads", "spinners"), [([], 2), ([1], 0), ([1], 1000)])
def test_a_crowd_has_its_bounds(lab: Sandbox, threads: list[int], spinners: int) -> None:
    with pytest.raises(TestbedFault, match="spinners"):
        lab.broker.crowd("A", threads, spinners)
    assert lab.broker.crowds() == {}


def test_the_crowd_goes_with_the_lab(make_lab: Callable[[], Sandbox]) -> None:
    lab = make_lab()
    lab.broker.crowd("A", [spin(lab)], 2)
    # One that was started a moment ago may not have its name yet.
    poll(lambda: len(spinners(lab)) == 3, Deadline.after(10, "three spinners"))
    mine = set(spinners(lab).values())
    lab.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in mine)


def test_guest_memory_is_opened_to_be_written_only_when_asked(lab: Sandbox) -> None:
    folder = "/dev/shm/libvirt/qemu/1-C"
    inside(lab, "mkdir", "-p", folder)
    inside(lab, "truncate", "-s", "8192", f"{folder}/pc.ram")
    reading = lab.broker.guest_memory("C")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.pwrite(reading, b"x", 0)
    writing = lab.broker.guest_memory("C", writable=True)
    os.pwrite(writing, b"x", 4096)
    assert os.pread(reading, 1, 4096) == b"x"
    for fd in (reading, writing):
        os.close(fd)
