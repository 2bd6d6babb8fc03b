"""The same hypervisor code against a daemon that is no lab's: a second libvirtd, known by its URI only."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed import kernels
from testbed.clock import Deadline, poll
from testbed.errors import TestbedFault
from testbed.faults import Fault, FaultTarget
from testbed.faults.carrier import Carrier
from testbed.faults.freeze import Freeze
from testbed.machines import layout
from testbed.machines.console import Console
from testbed.machines.domain import GuestSpec, Nic
from testbed.machines.hypervisor import Hypervisor

pytestmark = pytest.mark.vm

TAP = "tap0"
# An ordinary user's session daemon, as on another host: no broker, no lab, only a tap that was made for it.
# The shell is PID 1 in there, and reaps what libvirt's probes of QEMU leave. It reads until the other end of
# its input is closed, also when we are killed, and takes all along.
DAEMON = f"""
ip tuntap add {TAP} mode tap && ip link set {TAP} up || exit 1
libvirtd --config "$XDG_CONFIG_HOME/libvirt/libvirtd.conf" &
cat
"""
UNSHARE = "unshare -U --map-user=1000 --map-group=1000 --keep-caps -n -m -p -f --mount-proc --kill-child"


@pytest.fixture
def uri(short_folder: Path) -> Iterator[str]:
    """Where a second daemon listens; it ends with the test, and its guests with it."""
    layout.make(short_folder, short_folder / "capabilities")
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    with subprocess.Popen(
        [*UNSHARE.split(), "sh", "-c", DAEMON],
        env={**os.environ, **layout.environment(short_folder), "PATH": path},
        stdin=subprocess.PIPE,
        start_new_session=True,
    ) as daemon:
        socket = short_folder / layout.LIBVIRT_SOCKET
        poll(lambda: socket.exists() or daemon.poll() is not None, Deadline.after(30, "a second libvirtd"))
        assert daemon.poll() is None
        yield layout.libvirt_uri(short_folder)


def guest(console: Path) -> GuestSpec:
    """Boots a kernel without a root: it ends in a panic, which is all that is asked of it."""
    built = kernels.build(kernels.resolve("stock"))
    return GuestSpec(
        name="remote",
        memory_bytes=96 << 20,
        kernel=built.boots,
        cmdline="console=ttyS0,115200 loglevel=8 panic=0",
        console=console,
        nics=(Nic(TAP, "52:54:00:00:00:01", "e1000e"),),
        shared_memory=False,
    )


class NoBroker:
    """There is none on another host: a fault that asks it for something fails."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"no broker here to {name}")


def goes_through_its_life(fault: Fault, target: FaultTarget) -> None:
    assert not fault.in_force(target)
    fault.apply(target)
    assert fault.in_force(target)
    fault.revert(target)
    assert not fault.in_force(target)


def test_a_guest_on_a_second_daemon(uri: str, tmp_path: Path) -> None:
    console = Console(tmp_path / "console.log")
    with Hypervisor(uri) as hypervisor:
        assert "QEMU" in hypervisor.version
        assert hypervisor.domains() == {}
        domain = hypervisor.start(guest(console.path))
        assert list(hypervisor.domains()) == ["remote"]
        poll(lambda: "Kernel panic" in console.tail(), Deadline.after(90, "a panic for lack of a root"))
        assert domain.state() == "running"
        domain.pause()
        assert domain.state() == "paused"
        assert domain.qmp("query-status")["status"] == "paused"
        domain.resume()
        assert domain.state() == "running"
        assert domain.link(TAP)
        domain.set_link(TAP, False)
        assert not domain.link(TAP)
        domain.set_link(TAP, True)
        assert domain.link(TAP)
        for fault in (Carrier(machine="A", link="data"), Freeze(machine="A")):
            goes_through_its_life(fault, FaultTarget(NoBroker(), {"A": domain}, {("A", "data"): TAP}, {}))
        domain.destroy()
        assert domain.state() == "off"
        assert hypervisor.domains() == {}
        domain.destroy()


def test_a_daemon_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = f"qemu+unix:///session?socket={tmp_path}/none"
    with pytest.raises(TestbedFault, match="cannot reach libvirt at qemu\\+unix"), Hypervisor(missing):
        pass
