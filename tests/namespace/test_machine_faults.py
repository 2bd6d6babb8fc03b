"""Faults of a machine on a QEMU without a kernel: it halts, so that no revert can lean on its help."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed.errors import TestbedFault
from testbed.faults import Fault, FaultTarget, fault_class
from testbed.machines.domain import Disk, GuestSpec, Nic
from testbed.machines.hypervisor import Domain, Hypervisor
from testbed.machines.sandbox import Sandbox
from tests.namespace.conftest import inside
from tests.namespace.frames import mac

pytestmark = pytest.mark.namespace

BOOT_SECTOR = bytes(0x1F1) + b"\x01" + bytes(12) + b"\x55\xaa"
HALT = bytes.fromhex("faf4ebfd")
"""`cli; hlt; jmp` to the halt, where QEMU begins what is older than the boot protocol (hw/i386/x86.c)."""


@pytest.fixture
def halted(lab: Sandbox, tmp_path: Path) -> Iterator[Domain]:
    kernel, disk = tmp_path / "halt", tmp_path / "disk"
    kernel.write_bytes((BOOT_SECTOR + HALT).ljust(16 << 10, b"\0"))
    disk.write_bytes(bytes(1 << 20))
    spec = GuestSpec(
        name="A",
        memory_bytes=16 << 20,
        kernel=kernel,
        cmdline="none",
        console=lab.folder / "console-A.log",
        disks=(Disk(disk, "swap"),),
        nics=(Nic("dataA", mac("dataA").hex(":"), "e1000e"),),
    )
    with Hypervisor(lab.libvirt_uri) as hypervisor:
        domain = hypervisor.start(spec)
        try:
            yield domain
        finally:
            domain.destroy()


def made(kind: str, **options: Any) -> Fault:
    fault: Fault = fault_class(kind).model_validate({"machine": "A", **options})
    return fault


def test_each_acts_on_a_halted_machine_reads_back_and_flaps(lab: Sandbox, halted: Domain) -> None:
    def disk_limit() -> int:
        (bps,) = {entry["inserted"]["bps"] for entry in halted.qmp("query-block") if "inserted" in entry}
        return int(bps)

    def runs() -> bool:
        return bool(halted.qmp("query-status")["running"])

    def plugged() -> bool:
        return halted.link("dataA")

    where = FaultTarget(lab.broker, {"A": halted}, {("A", "data"): "dataA"})
    for fault, told, usual, changed in (
        (made("freeze"), runs, True, False),
        (made("carrier"), plugged, True, False),
        (made("slow-disk", disk="swap", rate="8Mbit/s"), disk_limit, 0, 1_000_000),
    ):
        fault.revert(where)
        for _ in range(3):
            assert (fault.in_force(where), told()) == (False, usual)
            fault.apply(where)
            assert (fault.in_force(where), told()) == (True, changed)
            fault.revert(where)
        assert (fault.in_force(where), told()) == (False, usual)
        assert fault.cuts(where) == ()
    with pytest.raises(TestbedFault, match="'A' did not answer to SysRq-c"):
        made("sysrq", key="c").apply(where)


def test_a_pulled_cable_is_the_guests_and_not_the_bridges(lab: Sandbox, halted: Domain) -> None:
    fault = made("carrier")
    where = FaultTarget(lab.broker, {"A": halted}, {("A", "data"): "dataA"})
    fault.apply(where)
    assert "master br-data" in inside(lab, "ip", "link", "show", "dataA")
    with pytest.raises(TestbedFault, match="has no NIC on 'dataC'"):
        halted.link("dataC")
    fault.revert(where)
    assert halted.link("dataA")
