"""Topologies on real guests: a NIC model for each machine, several queues, a larger MTU, a root over NFS."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from testbed import introspection
from testbed.cli import inputs
from testbed.clock import now_ns
from testbed.load import TOPOLOGIES
from testbed.run.lab import Lab

pytestmark = [pytest.mark.vm, pytest.mark.nightly]

MTU = 4096
DRIVERS = {"A": "virtio_net", "B": "e1000", "C": "8139cp"}


@pytest.mark.timeout(300)
def test_each_machine_has_the_nic_that_the_topology_gives_it(tmp_path: Path) -> None:
    text = (TOPOLOGIES / "abc-nics.toml").read_text()
    path = tmp_path / "abc-nics.toml"
    path.write_text(text.replace('.0/24"', f'.0/24"\nmtu = {MTU}', 1))
    plan = inputs.idle_plan(str(path), "stock", None, "auto")
    built = inputs.builder(quiet=True)(plan)
    with Lab(plan, built.kernels, built.image, tmp_path) as lab:

        def said(machine: str, *argv: str) -> str:
            return lab.guests[machine].run(argv, timeout_s=20 * lab.cpu_scale).stdout

        for machine, driver in DRIVERS.items():
            named = said(machine, "readlink", "/sys/class/net/data/device/driver")
            assert named.strip().endswith(f"/{driver}")
            assert said(machine, "cat", "/sys/class/net/data/mtu").strip() == str(MTU)
        queues = said("A", "ls", "/sys/class/net/data/queues").split()
        assert queues == ["rx-0", "rx-1", "tx-0", "tx-1"]
        assert said("A", "ethtool", "-l", "data").count("Combined:\t2") == 2  # as many as there may be

        # One frame each way, of a length that the usual MTU would have cut in three.
        for machine in ("B", "C"):
            _, before = lab.broker.counters()
            said("A", "ping", "-c", "1", "-s", "4000", machine)
            _, after = lab.broker.counters()
            for flow in (f"A-{machine}", f"{machine}-A"):
                frames = after[flow]["delivered_packets"] - before[flow]["delivered_packets"]
                size = after[flow]["delivered_bytes"] - before[flow]["delivered_bytes"]
                assert frames == 1 and size > 4000, (flow, frames, size)


@pytest.mark.timeout(300)
def test_a_thin_client_has_no_disk_and_its_root_from_c(tmp_path: Path) -> None:
    path = tmp_path / "thin.toml"
    text = (TOPOLOGIES / "abc.toml").read_text()
    path.write_text(text.replace('memory = "96MiB"', 'memory = "96MiB"\nroot_from = "C"', 1))
    plan = inputs.idle_plan(str(path), "stock", None, "auto")
    built = inputs.builder(quiet=True)(plan)
    with Lab(plan, built.kernels, built.image, tmp_path) as lab:

        def said(machine: str, *argv: str) -> str:
            return lab.guests[machine].run(argv, timeout_s=30 * lab.cpu_scale).stdout

        assert not [name for name in said("A", "ls", "/sys/block").split() if name.startswith("vd")]
        exported = said("C", "cat", "/var/lib/nfs/etab").splitlines()
        assert [line.split()[0] for line in exported] == ["/srv/root"]
        ports = said("C", "cat", "/proc/fs/nfsd/portlist").split()[1::2]
        assert set(ports) == {"2050"}  # that of the swap is free
        # What was not needed so far comes over the data link.
        _, before = lab.broker.counters()
        said("A", "sh", "-c", "echo 3 >/proc/sys/vm/drop_caches; cat /usr/sbin/mke2fs >/dev/null")
        _, after = lab.broker.counters()
        assert after["C-A"]["delivered_bytes"] - before["C-A"]["delivered_bytes"] > 100_000
        said("A", "touch", "/usr/sbin/own")  # into the overlay, not to C
        assert "own" not in said("C", "ls", "/srv/root/usr/sbin").split()


# Model and driver of A and of B, and whether A's driver has a ring that a look can read.
OTHERS = [
    ("vmxnet3", "vmxnet3", "i82559b", "e100", True),
    ("i82559b", "e100", "pcnet", "pcnet32", True),
    ("pcnet", "pcnet32", "tulip", "tulip", True),
    ("tulip", "tulip", "ne2k_pci", "ne2k-pci", True),
    ("ne2k_pci", "ne2k-pci", "vmxnet3", "vmxnet3", False),
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("ours", "driver", "theirs", "its_driver", "has_ring"), OTHERS)
def test_less_usual_models_carry_frames_and_show_their_rings(
    ours: str, driver: str, theirs: str, its_driver: str, has_ring: bool, tmp_path: Path
) -> None:
    text = (TOPOLOGIES / "abc-nics.toml").read_text()
    path = tmp_path / "abc-nics.toml"
    text = text.replace('model = "virtio-net", queues = 2', f'model = "{ours}"')
    path.write_text(text.replace('model = "e1000"', f'model = "{theirs}"'))
    plan = inputs.idle_plan(str(path), "stock", None, "auto")
    built = inputs.builder(quiet=True)(plan)
    with Lab(plan, built.kernels, built.image, tmp_path) as lab:

        def said(machine: str, *argv: str) -> str:
            return lab.guests[machine].run(argv, timeout_s=30 * lab.cpu_scale).stdout

        for machine, name in {"A": driver, "B": its_driver}.items():
            assert said(machine, "readlink", "/sys/class/net/data/device/driver").strip().endswith(f"/{name}")
        _, before = lab.broker.counters()
        said("A", "ping", "-c", "10", "-i", "0.2", "-s", "1400", "B")
        _, after = lab.broker.counters()
        for flow in ("A-B", "B-A"):
            assert after[flow]["delivered_packets"] - before[flow]["delivered_packets"] == 10

        assert lab.subject_vmlinux is not None
        memory = lab.broker.guest_memory("A")
        try:
            look = introspection.look(memory, lab.subject_vmlinux, number=1, taken_ns=now_ns(), paused_ms=0)
        finally:
            os.close(memory)
        assert not look.missing
        nic = next(nic for nic in look.nics if nic.name == "data")
        assert nic.driver == driver
        assert (nic.ring is not None) is has_ring
        if nic.ring is not None:  # an idle NIC has all its buffers
            assert nic.filled is not None and nic.usable is not None
            assert nic.ring - 2 <= nic.usable <= nic.filled <= nic.ring
