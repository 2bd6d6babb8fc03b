"""The server as faults know it: ended, reset and revived, on a machine that only takes notes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

import pytest

from testbed.clock import Deadline
from testbed.errors import TestbedFault, UsageError
from testbed.faults import FaultTarget
from testbed.faults.disk_full import DiskFull
from testbed.faults.reboot import Reboot
from testbed.faults.server_kill import ServerKill
from testbed.proc import Completed
from testbed.run import serving
from testbed.run.serving import Serving
from testbed.transports import COMMAND_S, CONF, Ends, Transport
from testbed.transports.iscsi import Iscsi
from testbed.transports.nbd import Nbd
from testbed.transports.nfs import Nfs, Nfs3, Nfs4
from testbed.transports.nvme_tcp import NvmeTcp
from testbed.witnesses.page import State, WitnessPage

LISTENING = "  0: 00000000:{port:04X} 00000000:0000 0A 00000000:00000000 00:00000000"
STARTS = ("nbd-server", "/usr/lib/testbed/nfs-serve")
ENDS = ("killall", "rpc.nfsd")


@dataclass
class Machine:
    """The server: its guest, its domain and its page in one; it has booted after so many questions."""

    port: int
    up: str = "running"
    answers: bool = True
    silences: int = 0
    """How many questions it does not answer in time, before it does."""
    breaks_off: bool = False
    """Whether questions come back without a word, as when the connection ends in their middle."""
    listens: bool = True
    boots_after: int = 0
    fills: bool = True
    free_blocks: int = 126_000
    lines: list[str] = field(default_factory=list)
    configured: dict[str, str] = field(default_factory=dict)
    """The kernel's own files and folders, as the lines for kernel-conf left them."""
    longest_s: float = 0.0
    _conf: str = ""
    _asked: int | None = None

    # the guest

    def run(self, argv: Sequence[str], *, timeout_s: float, check: bool = True) -> Completed:
        self.longest_s = max(self.longest_s, timeout_s)
        if not self.answers:
            raise TestbedFault("no answer")
        if self.silences:
            self.silences -= 1
            raise TestbedFault("no answer yet")
        if self.breaks_off:
            if check:
                raise TestbedFault("broke off")
            return Completed(tuple(argv), -1, "", "")
        if argv[0] not in ("cat", "true"):
            self.lines.append(" ".join(argv))
        if argv[0] in ENDS:
            self.listens = False
        elif any(word in STARTS for word in argv):
            self.listens = True
        if argv[0] == "stat":
            return Completed(tuple(argv), 0, f"{self.free_blocks} 4096\n", "")
        if argv[0] == "rm" or (argv[0] == "fallocate" and self.fills):
            self.free_blocks = 126_000 if argv[0] == "rm" else 3
        if argv[0] == "test":
            return Completed(tuple(argv), int(argv[2] not in self.configured), "", "")
        if argv[0].endswith("kernel-conf"):
            self.obey()
        table = LISTENING.format(port=self.port) if self.listens else ""
        return Completed(tuple(argv), int(argv[0] == "grep"), table, "")

    def put(self, path: str, data: bytes) -> None:
        self.lines.append(f"put {path}")
        self._conf = data.decode() if path == CONF else self._conf

    def obey(self) -> None:
        """As configfs: a link can be made once, and only what is there can go."""
        for line in self._conf.splitlines():
            word, path, *rest = line.split(maxsplit=2)
            if word == "remove":
                del self.configured[path]
            elif word == "folder":
                parents = path.split("/")
                self.configured |= {"/".join(parents[:end]): "" for end in range(2, len(parents) + 1)}
            else:
                assert word != "link" or path not in self.configured
                self.configured[path] = rest[0]
        doors = [path for path in self.configured if "/ports/1/subsystems/" in path or "/np/" in path]
        self.listens = bool(doors)

    def connect(self, deadline: Deadline) -> None:
        self.longest_s = max(self.longest_s, deadline.left_s)
        self.lines.append("connect")

    def close(self) -> None:
        self.lines.append("close")

    # the domain, and the page

    def state(self, slot: int | None = None) -> Any:
        if slot is None:
            return self.up
        if self._asked is None:
            return State.READY
        self._asked += 1
        return State.READY if self._asked > self.boots_after else State.ABSENT

    def reset(self) -> None:
        self.lines.append("reset")
        self.listens = False
        self.configured.clear()

    def clear(self, slot: int) -> None:
        assert slot == 0
        self._asked = 0


def server(transport: Transport, **how: Any) -> tuple[Machine, FaultTarget]:
    machine = Machine(transport.swap_flow.port, **how)
    ends = Ends("10.77.1.1", "10.77.1.3", "10.77.1.0/24", {"swap": 512 << 20}, cpu_scale=10.0)
    made = Serving("C", machine, machine, cast(WitnessPage, machine), transport, ends)
    return machine, FaultTarget(cast(Any, None), {}, {}, servers={"C": made})


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "BOOT_S", 0.1)


def test_a_killed_server_is_one_that_does_not_listen_and_serves_again() -> None:
    machine, where = server(Nbd())
    fault = ServerKill(machine="C")
    assert not fault.in_force(where)
    fault.apply(where)
    assert fault.in_force(where)
    fault.revert(where)
    assert not fault.in_force(where)
    assert machine.lines[0] == "killall -KILL nbd-server"
    assert machine.lines[-1].endswith("nbd-server -C /run/nbd-server.conf -p /run/nbd-server.pid")
    done = len(machine.lines)
    fault.revert(where)
    assert len(machine.lines) == done


@pytest.mark.parametrize(("kind", "lease"), [(Nfs3, ""), (Nfs4, " 90")])
def test_an_nfs_server_is_revived_on_the_file_system_that_it_has(kind: type[Nfs], lease: str) -> None:
    machine, where = server(kind())
    ServerKill(machine="C").apply(where)
    ServerKill(machine="C").revert(where)
    assert machine.lines[0] == "rpc.nfsd 0"
    assert "mount -t ext4 /dev/testbed/swap /srv/swap" in machine.lines
    assert not [line for line in machine.lines if line.startswith(("mke2fs", "fallocate"))]
    # Its clients have what they may claim again in the grace period, which is not ended for them.
    assert machine.lines[-1] == f"/usr/lib/testbed/nfs-serve --again /srv/swap 10.77.1.0/24{lease}"


@pytest.mark.parametrize("kind", [NvmeTcp, Iscsi])
@pytest.mark.parametrize("fault", [ServerKill, Reboot])
def test_a_target_in_the_kernel_serves_the_same_disk_again(
    kind: type[NvmeTcp | Iscsi], fault: type[ServerKill | Reboot]
) -> None:
    machine, where = server(kind())
    kind().serve(machine, Ends("10.77.1.1", "10.77.1.3", "10.77.1.0/24", {"swap": 512 << 20}))
    as_served = dict(machine.configured)
    for _ in range(2):
        fault(machine="C").apply(where)
        assert fault(machine="C").in_force(where)
        assert machine.configured != as_served
        if fault is ServerKill:
            kept = [
                path for path in as_served if path.endswith(("/namespaces/1/enable", "iblock_0/swap/enable"))
            ]
            assert kept and set(kept) <= set(machine.configured)
        fault(machine="C").revert(where)
        assert not fault(machine="C").in_force(where)
        assert machine.configured == as_served


def test_an_nvme_disk_has_the_name_that_it_had() -> None:
    machine, _ = server(NvmeTcp())
    NvmeTcp().serve(machine, Ends("10.77.1.1", "10.77.1.3", "10.77.1.0/24", {"swap": 512 << 20}))
    names = [word for path, word in machine.configured.items() if path.endswith("/device_uuid")]
    assert len(set(names)) == 2  # host/core.c, nvme_validate_ns: with another name the disk is removed
    for name in names:
        assert str(UUID(name)) == name


def test_a_reset_server_is_revived_when_it_has_booted() -> None:
    machine, where = server(Nbd(), boots_after=2)
    fault = Reboot(machine="C")
    fault.apply(where)
    assert machine.lines == ["reset", "close"]
    assert fault.in_force(where)
    fault.revert(where)
    assert machine.lines[2] == "connect"
    assert not fault.in_force(where)


def test_one_that_never_boots_is_given_up() -> None:
    _, where = server(Nbd(), boots_after=10**6)
    fault = Reboot(machine="C")
    fault.apply(where)
    with pytest.raises(TestbedFault, match="took too long: boot of machine 'C'"):
        fault.revert(where)
    assert fault.in_force(where)


@pytest.mark.parametrize("state", ["paused", "crashed", "off"])
def test_nothing_is_asked_of_one_that_stands_still(state: str) -> None:
    machine, where = server(Nbd(), up=state)
    with pytest.raises(TestbedFault, match=f"'C' can not serve again: it is {state}"):
        ServerKill(machine="C").revert(where)
    assert machine.lines == []


def test_one_that_does_not_answer_is_not_waited_for() -> None:
    machine, where = server(Nbd(), answers=False)
    fault = ServerKill(machine="C")
    for deed in (fault.apply, fault.in_force, fault.revert):
        with pytest.raises(TestbedFault, match="no answer"):
            deed(where)
    assert 0 < machine.longest_s < COMMAND_S


def test_a_server_that_is_only_slow_to_answer_is_not_taken_for_a_killed_one() -> None:
    machine, where = server(Nbd())
    fault = ServerKill(machine="C")
    machine.silences = 1
    with pytest.raises(TestbedFault, match="no answer yet"):
        fault.in_force(where)
    machine.breaks_off = True
    with pytest.raises(TestbedFault, match="broke off"):
        fault.in_force(where)
    machine.breaks_off = False
    assert not fault.in_force(where)


def test_one_that_is_slow_to_answer_is_revived_all_the_same() -> None:
    machine, where = server(Nbd())
    fault = ServerKill(machine="C")
    fault.apply(where)
    machine.silences = 1
    fault.revert(where)
    assert not fault.in_force(where)
    assert "nbd-server -C" in machine.lines[-1]


def test_a_full_disk_has_room_again_when_it_is_healed() -> None:
    machine, where = server(Nbd(backing="file"))
    fault = DiskFull(machine="C")
    assert not fault.in_force(where)
    fault.apply(where)
    assert f"fallocate -l {512 << 20} /srv/store/filler" in machine.lines
    assert fault.in_force(where)
    fault.revert(where)
    assert "rm -f /srv/store/filler" in machine.lines
    assert not fault.in_force(where)


def test_a_disk_that_does_not_get_full_is_said_not_to_be() -> None:
    machine, where = server(Nbd(backing="file"))
    machine.fills = False
    DiskFull(machine="C").apply(where)
    assert not DiskFull(machine="C").in_force(where)


def test_what_has_all_its_room_can_not_run_out_of_it() -> None:
    _, where = server(Nbd())
    with pytest.raises(TestbedFault, match="takes no more room"):
        DiskFull(machine="C").apply(where)


def test_a_served_file_is_made_once_and_mounted_again_after_a_boot() -> None:
    machine, where = server(Nbd(backing="file"))
    Nbd(backing="file").serve(machine, Ends("a", "b", "c", {"swap": 512 << 20}))
    assert f"truncate -s {496 << 20} /srv/store/swap" in machine.lines
    machine.lines.clear()
    Reboot(machine="C").apply(where)
    Reboot(machine="C").revert(where)
    assert "mount -t ext4 /dev/testbed/swap /srv/store" in machine.lines
    assert not [line for line in machine.lines if line.startswith(("mke2fs", "truncate"))]


def test_only_the_server_can_be_asked() -> None:
    _, where = server(Nbd())
    with pytest.raises(UsageError, match="'A' serves nothing") as caught:
        Reboot(machine="A").apply(where)
    assert "C" in caught.value.hint
