"""Faults of the server on a process that listens in the lab, and on a file system that is there."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Timer
from typing import Any, cast

import pytest

from testbed import proc
from testbed.clock import Deadline, poll
from testbed.errors import TestbedFault
from testbed.faults import FaultTarget
from testbed.faults.disk_full import DiskFull
from testbed.faults.reboot import Reboot
from testbed.faults.server_kill import ServerKill
from testbed.machines.sandbox import Sandbox
from testbed.proc import Completed
from testbed.run.serving import FULL_BYTES, Serving
from testbed.transports import Ends, SwapFlow, Transport, await_listener, listens
from testbed.witnesses.page import State, WitnessPage
from tests.namespace.conftest import entering

pytestmark = pytest.mark.namespace

PORT = 10809
ADDRESS = "10.2.0.1"
STORE = "/dev/shm/store"
LISTEN = """
import os, socket, sys
listener = socket.create_server(("0.0.0.0", int(sys.argv[1])))
open(sys.argv[2], "w").write(str(os.getpid()))
held = []
while True:
    held.append(listener.accept())
"""


class Machine:
    """The server's guest, domain and page in one: its commands run in the lab's namespaces."""

    def __init__(self, lab: Sandbox, number: Path) -> None:
        self._lab, self._number = lab, number
        self.boots = self.mute = False
        self.lingers_s = 0.0

    def listen(self) -> None:
        argv = [*entering(self._lab), sys.executable, "-c", LISTEN, str(PORT), str(self._number)]
        os.posix_spawnp(argv[0], argv, os.environ, setsid=True)

    def run(self, argv: Sequence[str], *, timeout_s: float, check: bool = True) -> Completed:
        if self.mute:
            raise TestbedFault("took longer than it may")
        return proc.run([*entering(self._lab), *argv], timeout_s=timeout_s, check=check)

    def end(self) -> None:
        """Returns before it is gone, as `killall` does."""
        argv = [*entering(self._lab), "kill", "-KILL", self._number.read_text()]
        Timer(self.lingers_s, proc.run, [argv], {"timeout_s": 5}).start()

    def reset(self) -> None:
        self.end()
        deadline = Deadline.after(5, "the end of who listens")
        poll(lambda: not listens(cast(Any, self), PORT, Ends("", "", "", {})), deadline)
        self.boots = True

    def clear(self, slot: int) -> None:
        assert slot == 0

    def close(self) -> None:
        pass

    def connect(self, deadline: Deadline) -> None:
        assert deadline.left_s > 0

    def state(self, slot: int | None = None) -> Any:
        if slot is None:
            return "running"
        booting, self.boots = self.boots, False
        return State.ABSENT if booting else State.READY


class Listener:
    """A transport of which nothing is there but who listens."""

    swap_flow = SwapFlow("tcp", PORT)
    store = STORE

    def kill(self, server: Machine, ends: Ends) -> None:
        server.end()

    def revive(self, server: Machine, ends: Ends) -> None:
        server.listen()
        await_listener(cast(Any, server), PORT, ends)


@pytest.fixture
def machine(lab: Sandbox, tmp_path: Path) -> Iterator[Machine]:
    lab.broker.make_link("br-server", address=f"{ADDRESS}/24")
    yield Machine(lab, tmp_path / "number")


def target(lab: Sandbox, machine: Machine, disk_bytes: int = 1 << 20) -> FaultTarget:
    ends = Ends("10.2.0.2", ADDRESS, "10.2.0.0/24", {"swap": disk_bytes})
    page, transport = cast(WitnessPage, machine), cast(Transport, Listener())
    served = Serving("C", machine, machine, page, transport, ends)
    return FaultTarget(lab.broker, {}, {}, servers={"C": served})


def hears(connection: socket.socket) -> bool:
    """Whether it is still connected."""
    connection.settimeout(1.0)
    try:
        return connection.recv(1) != b""
    except TimeoutError:
        return True
    except ConnectionError:
        return False


@pytest.mark.parametrize(
    "fault", [ServerKill(machine="C"), Reboot(machine="C")], ids=lambda fault: fault.kind
)
def test_who_listens_is_ended_with_its_connections_and_listens_again(
    lab: Sandbox, machine: Machine, fault: ServerKill | Reboot
) -> None:
    where = target(lab, machine)
    Listener().revive(machine, Ends("", "", "", {}))
    for _ in range(2):
        assert not fault.in_force(where)
        with lab.broker.connect(ADDRESS, PORT) as connection:
            assert hears(connection)
            fault.apply(where)
            assert fault.in_force(where)
            assert not hears(connection)
        with pytest.raises(OSError, match="refused"):
            lab.broker.connect(ADDRESS, PORT)
        fault.revert(where)
    assert not fault.in_force(where)
    lab.broker.connect(ADDRESS, PORT).close()


def test_who_takes_its_time_to_end_is_waited_for(lab: Sandbox, machine: Machine) -> None:
    where = target(lab, machine)
    Listener().revive(machine, Ends("", "", "", {}))
    machine.lingers_s = 0.5
    fault = ServerKill(machine="C")
    fault.apply(where)
    assert fault.in_force(where)


def test_one_that_listens_and_does_not_answer_is_no_killed_one(lab: Sandbox, machine: Machine) -> None:
    where = target(lab, machine)
    Listener().revive(machine, Ends("", "", "", {}))
    machine.mute = True
    with pytest.raises(TestbedFault, match="took longer"):
        ServerKill(machine="C").in_force(where)


def test_a_file_system_is_full_and_has_room_again(lab: Sandbox, machine: Machine) -> None:
    machine.run(["mkdir", STORE], timeout_s=5)
    free, size = machine.run(["stat", "-f", "-c", "%a %S", STORE], timeout_s=5).stdout.split()
    where = target(lab, machine, int(free) * int(size) - FULL_BYTES // 2)
    fault = DiskFull(machine="C")
    for _ in range(2):
        assert not fault.in_force(where)
        fault.apply(where)
        assert fault.in_force(where)
        with pytest.raises(TestbedFault, match="No space left"):
            machine.run(["fallocate", "-l", str(FULL_BYTES), f"{STORE}/more"], timeout_s=5)
        fault.revert(where)
    assert not fault.in_force(where)
