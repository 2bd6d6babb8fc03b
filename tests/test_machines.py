"""Machines without a machine: what is rendered, seeded, found and read, from values alone."""

from __future__ import annotations

import base64
import io
import os
import struct
import tarfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import testbed.faults
from testbed import paths, plugins
from testbed.errors import TestbedFault, UsageError
from testbed.faults import Fault, FaultTarget
from testbed.faults.carrier import Carrier
from testbed.faults.delay import Delay
from testbed.faults.freeze import Freeze
from testbed.faults.rate import Rate
from testbed.faults.server_kill import ServerKill
from testbed.introspection.ram import KERNEL_MAP, GuestMemory, symbol_address
from testbed.machines import seed
from testbed.machines.console import Console
from testbed.machines.domain import Disk, GuestSpec, Nic, render
from testbed.machines.keys import make_keys
from testbed.machines.wire import Count, Flow, Queue
from testbed.model import PlannedLink, PlannedMachine, PlannedNic
from testbed.witnesses.memory import FreePages

GUEST = GuestSpec(
    name="A",
    memory_bytes=96 << 20,
    kernel=Path("/k/bzImage"),
    cmdline="console=ttyS0 root=/dev/vda",
    console=Path("/r/console-A.log"),
    disks=(Disk(Path("/i/root.ext4"), "root", readonly=True), Disk(Path("/l/seed"), "seed")),
    nics=(Nic("mgmtA", "02:00:00:00:00:01", "rtl8139"),),
    witness="witness-A",
)


def machine(name: str, number: int) -> PlannedMachine:
    nics = tuple(
        PlannedNic(
            link=link,
            model="e1000e",
            mac=f"02:00:00:0{place}:00:0{number}",
            address=f"10.{place}.0.{number}",
            tap=f"{link}{name}",
            ifname=link,
            rx_ring=64 if place == 2 else None,
        )
        for place, link in enumerate(("mgmt", "data"), 1)
    )
    return PlannedMachine(
        name=name, memory_bytes=96 << 20, vcpus=1, kernel="stock", nics=nics, disks=(), sysctl={"vm.x": "1 2"}
    )


LINKS = (
    PlannedLink(name="mgmt", bridge="b", subnet="10.1.0.0/24", management=True, host_address="10.1.0.254/24"),
    PlannedLink(name="data", bridge="d", subnet="10.2.0.0/16", management=False),
)
MACHINES = (machine("A", 1), machine("C", 3))


class TestDomain:
    def test_says_what_was_asked(self) -> None:
        tree = ElementTree.fromstring(render(GUEST))
        assert tree.get("type") == "qemu"
        assert tree.findtext("os/cmdline") == GUEST.cmdline
        assert [d.get("dev") for d in tree.iterfind("devices/disk/target")] == ["vda", "vdb"]
        assert [d.find("readonly") is not None for d in tree.iterfind("devices/disk")] == [True, False]
        target = tree.find("devices/interface/target")
        assert target is not None and target.attrib == {"dev": "mgmtA", "managed": "no"}
        assert tree.find("memoryBacking") is not None
        assert tree.find("os/initrd") is None
        shmem = tree.find("devices/shmem")
        assert shmem is not None and shmem.get("name") == "witness-A"

    def test_only_a_nic_of_several_queues_names_them(self) -> None:
        nics = (GUEST.nics[0], Nic("A-data", "02:00:00:00:00:02", "virtio-net", 2))
        tree = ElementTree.fromstring(render(replace(GUEST, vcpus=2, nics=nics)))
        drivers = [interface.find("driver") for interface in tree.iterfind("devices/interface")]
        assert [None if driver is None else driver.attrib for driver in drivers] == [
            None,
            {"name": "qemu", "queues": "2"},
        ]

    def test_kvm_has_no_translation_cache(self) -> None:
        tree = ElementTree.fromstring(render(replace(GUEST, accelerator="kvm", initrd=Path("/k/stage1"))))
        assert tree.find("features/tcg") is None
        assert tree.findtext("os/initrd") == "/k/stage1"

    @given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=60))
    def test_a_command_line_comes_out_as_it_went_in(self, text: str) -> None:
        assert ElementTree.fromstring(render(replace(GUEST, cmdline=text))).findtext("os/cmdline") == text

    @pytest.mark.parametrize(
        "change",
        [
            {"name": "A'/>"},
            {"name": ""},
            {"cmdline": "a\nb"},
            {"witness": "../x"},
            {"kernel": Path("relative")},
            {"vcpus": 0},
            {"nics": (Nic("tap with blank", "02:00:00:00:00:01", "e1000e"),)},
            {"nics": (Nic("t", "zz", "e1000e"),)},
            {"nics": (Nic("t", "02:00:00:00:00:01", "e1000f"),)},
            {"nics": (Nic("t", "02:00:00:00:00:01", "e1000", 2),)},
            {"disks": (Disk(Path("/x"), "a'b"),)},
        ],
        ids=str,
    )
    def test_what_can_not_be_is_refused(self, change: dict[str, object]) -> None:
        with pytest.raises(UsageError):
            render(replace(GUEST, **change))


class TestSeed:
    def test_a_links_mtu_is_set_on_its_nics_alone(self) -> None:
        links = (LINKS[0], LINKS[1].model_copy(update={"mtu": 4096}))
        conf = seed.machine_conf(MACHINES[0], MACHINES, links).splitlines()
        assert [line for line in conf if line.startswith("ip ")] == ["ip link set dev data mtu 4096"]
        assert not [
            line for line in seed.machine_conf(MACHINES[0], MACHINES, LINKS).splitlines() if " mtu " in line
        ]

    def test_conf_has_nics_and_neighbours_of_the_same_link(self) -> None:
        lines = seed.machine_conf(MACHINES[0], MACHINES, LINKS, [["vmsampler", "--slot", "2"]]).splitlines()
        assert lines == [
            "name A",
            "nic 02:00:00:01:00:01 mgmt 10.1.0.1/24 0",
            "nic 02:00:00:02:00:01 data 10.2.0.1/16 64",
            "neighbour 10.1.0.3 02:00:00:01:00:03 mgmt",
            "neighbour 10.2.0.3 02:00:00:02:00:03 data",
            "sysctl vm.x 1 2",
            "host A.mgmt 10.1.0.1",
            "host A 10.2.0.1",
            "host C.mgmt 10.1.0.3",
            "host C 10.2.0.3",
            "start vmsampler --slot 2",
        ]

    def test_a_thin_client_and_its_server_are_told_of_each_other_by_the_data_link(self) -> None:
        thin = MACHINES[0].model_copy(update={"root_from": "C"})
        machines = (thin, MACHINES[1])
        ours, theirs = (seed.machine_conf(each, machines, LINKS).splitlines() for each in machines)
        assert "root 10.2.0.3 data" in ours and not [line for line in ours if "export" in line]
        assert "export-root 10.2.0.1" in theirs and not [line for line in theirs if line[:5] == "root "]

    def test_a_value_with_a_line_break_is_refused(self) -> None:
        bad = MACHINES[0].model_copy(update={"sysctl": {"a": "1\nname B"}})
        with pytest.raises(UsageError):
            seed.machine_conf(bad, MACHINES, LINKS)

    def test_tar_is_a_disk_with_keys(self) -> None:
        keys = make_keys()
        data = seed.build("name A\n", keys)
        assert len(data) % 512 == 0
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            files = {
                entry.name: (entry.mode, entry.uid, tar.extractfile(entry)) for entry in tar if entry.isreg()
            }
        assert files["etc/dropbear/dropbear_ed25519_host_key"][:2] == (0o600, 0)
        assert set(files) >= {"root/.ssh/authorized_keys", "etc/testbed/machine.conf"}

    def test_host_key_is_in_dropbear_format(self) -> None:
        keys = make_keys()
        kind, pair = keys.host_dropbear[4:15], keys.host_dropbear[19:]
        assert (
            kind == b"ssh-ed25519"
            and struct.unpack(">I", keys.host_dropbear[15:19]) == (64,)
            and len(pair) == 64
        )
        assert base64.b64decode(keys.host_public.split()[1]).endswith(pair[32:])
        assert make_keys().login_private != keys.login_private


class TestMemory:
    def test_free_pages_come_from_the_guests_own_counter(self, tmp_path: Path) -> None:
        ram = tmp_path / "ram"
        ram.write_bytes(bytes(4096) + struct.pack("<QQ", 1234, 2**64 - 3))
        fd = os.open(ram, os.O_RDONLY)
        try:
            memory = GuestMemory(fd)
            assert FreePages("A", memory, KERNEL_MAP + 4096).read() == {"A/memory": {"free_pages": 1234}}
            assert FreePages("A", memory, KERNEL_MAP + 4104).read() == {"A/memory": {"free_pages": 0}}
            for outside in (KERNEL_MAP + 8192, KERNEL_MAP - 8, 0):
                with pytest.raises(OSError):
                    memory.u64(outside)
        finally:
            os.close(fd)

    def test_symbols(self) -> None:
        lines = ["ffffffff82009440 D vm_zone_stat", "0000000000000000 D hidden", "junk"]
        assert symbol_address(lines, "vm_zone_stat") == 0xFFFFFFFF82009440
        with pytest.raises(TestbedFault, match="no symbol"):
            symbol_address(lines, "vm_zone")
        with pytest.raises(TestbedFault, match="is said to be"):
            symbol_address(lines, "hidden")


def test_console_is_read_on_in_bounded_steps(tmp_path: Path) -> None:
    console = Console(tmp_path / "console")
    assert (console.size, console.new(), console.tail()) == (0, b"", "")
    console.path.write_bytes(b"one\r\n\x1b[2Jtwo\xff\n")
    assert console.new(limit=4) == b"one\r"
    assert console.new() == b"\n\x1b[2Jtwo\xff\n"
    assert console.new() == b""
    assert console.tail() == "one\n\ufffd[2Jtwo\ufffd\n"
    assert console.tail(5) == "wo\ufffd\n" or len(console.tail(5)) <= 5


@pytest.mark.parametrize(
    "bad", [("a b", "c"), ("a", "c", "icmp"), ("a", "c", "", 1), ("a", "c", "tcp", 70000), ("a" * 16, "c")]
)
def test_a_flow_that_can_not_be(bad: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Flow(*bad)  # type: ignore[arg-type]


def test_flow_back_and_forth() -> None:
    flow = Flow("a", "b", "tcp", 1, 2)
    assert flow.back == Flow("b", "a", "tcp", 2, 1)
    assert Flow.from_json(flow.to_json()) == flow


class FakeNetwork:
    def __init__(self) -> None:
        self.blocks: dict[str, tuple[Flow, ...]] = {}
        self.queue: dict[str, Queue] = {}
        self.halved = False

    def block(self, name: str, flows: Sequence[Flow]) -> None:
        self.blocks[name] = tuple(flows)

    def reset(self, name: str, flows: Sequence[Flow]) -> None:
        self.blocks[name] = tuple(flows)

    def readdress(self, name: str, tap: str, old: str, new: str) -> None:
        assert (tap, old, new) == ("dataC", "10.2.0.67", "10.2.0.99")
        self.blocks[name] = ()

    def damage(self, name: str, flows: Sequence[Flow], share: float) -> None:
        self.blocks[name] = tuple(flows)

    def unblock(self, name: str) -> None:
        self.blocks.pop(name, None)

    def blocked(self) -> dict[str, Count]:
        return {name: Count(0, 0) for name in self.blocks}

    def limit_rate(self, tap: str, bits_per_s: int) -> None:
        self.queue[tap] = Queue(bits_per_s=bits_per_s)

    def delay(self, tap: str, seconds: float) -> None:
        self.queue[tap] = Queue(delay_s=seconds)

    def queues(self) -> dict[str, Queue]:
        half = 0.5 if self.halved else 1
        return {
            tap: Queue(round(queue.bits_per_s * half), queue.delay_s * half)
            for tap, queue in self.queue.items()
        }


class FakeDomain:
    def __init__(self) -> None:
        self.paused = False
        self.up = True
        self.limit_bytes_per_s = 0

    def limit_disk(self, disk: str, bytes_per_s: int) -> None:
        self.limit_bytes_per_s = bytes_per_s

    def disk_limit(self, disk: str) -> int:
        return self.limit_bytes_per_s

    def state(self) -> str:
        return "paused" if self.paused else "running"

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def set_link(self, tap: str, up: bool) -> None:
        self.up = up

    def link(self, tap: str) -> bool:
        return self.up


class FakeServer:
    def __init__(self) -> None:
        self.serving = True
        self.full = False

    def serves(self) -> bool:
        return self.serving

    def kill(self) -> None:
        self.serving = False

    def reset(self) -> None:
        self.serving = False

    def revive(self) -> None:
        assert not self.serving
        self.serving = True

    def fill(self) -> None:
        self.full = True

    def empty(self) -> None:
        self.full = False

    def is_full(self) -> bool:
        return self.full


class TestFaults:
    target = FaultTarget(
        FakeNetwork(),
        {"A": FakeDomain(), "C": FakeDomain()},
        {("A", "data"): "dataA", ("C", "data"): "dataC"},
        {"swap.requests": Flow("dataA", "dataC", "tcp", 0, 10809)},
        {"C": FakeServer()},
        {("C", "data"): "10.2.0.67"},
    )

    OPTIONS: Sequence[tuple[str, dict[str, object]]] = (
        ("drop", {"between": ["A", "C"]}),
        ("drop", {"between": ["A", "C"], "direction": "back"}),
        ("flow", {"flow": "swap"}),
        ("reset", {"flow": "swap"}),
        ("reset", {"between": ["A", "C"], "direction": "forth"}),
        ("corrupt", {"flow": "swap.requests", "share": 0.5}),
        ("carrier", {"machine": "C"}),
        ("freeze", {"machine": "C"}),
        ("server-kill", {"machine": "C"}),
        ("reboot", {"machine": "C"}),
        ("disk-full", {"machine": "C"}),
        ("readdress", {"machine": "C", "address": "10.2.0.99"}),
        ("rate", {"machine": "A", "rate": "10Mbit/s"}),
        ("delay", {"machine": "A", "delay": "50ms"}),
        ("slow-disk", {"machine": "A", "disk": "swap", "rate": "8Mbit/s"}),
    )

    @pytest.mark.parametrize(
        ("kind", "options"), OPTIONS, ids=lambda value: value if isinstance(value, str) else ""
    )
    def test_each_applies_reads_back_and_reverts(self, kind: str, options: dict[str, object]) -> None:
        plugin = plugins.find(testbed.faults, Fault, kind)
        fault = plugin.model_validate(options)  # type: ignore[attr-defined]
        assert not fault.in_force(self.target)
        fault.apply(self.target)
        assert fault.in_force(self.target)
        fault.revert(self.target)
        assert not fault.in_force(self.target)
        fault.revert(self.target)
        assert type(fault).model_validate(fault.model_dump(mode="json")) == fault

    def test_every_kind_is_tried_above_or_elsewhere(self) -> None:
        elsewhere = {"starve": "test_faults", "sysrq": "test_faults", "bitflip": "test_witness_pattern"}
        tried = {kind for kind, _ in self.OPTIONS}
        assert set(plugins.collect(testbed.faults, Fault)) == tried | set(elsewhere)
        for kind, module in elsewhere.items():
            assert f"{kind.capitalize()}(machine=" in (Path(__file__).parent / f"{module}.py").read_text()

    def test_units_are_kept_in_base_units(self) -> None:
        assert Rate.model_validate({"machine": "A", "rate": "1kbit/s"}).rate == 1000
        assert Delay.model_validate({"machine": "A", "delay": "50ms"}).delay == pytest.approx(0.05)

    @pytest.mark.parametrize(
        "fault",
        [
            Rate.model_validate({"machine": "A", "rate": "10Mbit/s"}),
            Delay.model_validate({"machine": "A", "delay": "50ms"}),
        ],
        ids=lambda fault: fault.kind,
    )
    def test_a_queue_of_another_value_is_not_the_fault(self, fault: Rate | Delay) -> None:
        network = FakeNetwork()
        where = replace(self.target, network=network)
        fault.apply(where)
        assert fault.in_force(where)
        network.halved = True
        assert not fault.in_force(where)

    def test_a_queue_is_read_back_within_what_the_kernel_can_say(self) -> None:
        network = FakeNetwork()
        where = replace(self.target, network=network)
        network.queue["dataA"] = Queue(bits_per_s=1_000_000, delay_s=156265 * 64e-9)
        assert Rate.model_validate({"machine": "A", "rate": "1000007bit/s"}).in_force(where)
        assert Delay.model_validate({"machine": "A", "delay": "10.001ms"}).in_force(where)
        for other in ("1000008bit/s", "999999bit/s"):
            assert not Rate.model_validate({"machine": "A", "rate": other}).in_force(where)
        assert not Delay.model_validate({"machine": "A", "delay": "10.002ms"}).in_force(where)

    @pytest.mark.parametrize(
        ("kind", "options"),
        [
            ("rate", {"rate": "999bit/s"}),
            ("rate", {"rate": "40Gbit/s"}),
            ("delay", {"delay": "0ms"}),
            ("delay", {"delay": "5min"}),
        ],
    )
    def test_what_the_kernel_can_not_keep_is_refused(self, kind: str, options: dict[str, str]) -> None:
        with pytest.raises(ValueError, match="than or equal to"):
            plugins.find(testbed.faults, Fault, kind).model_validate({"machine": "A", **options})  # type: ignore[attr-defined]

    def test_a_wrong_name_lists_the_right_ones(self) -> None:
        with pytest.raises(UsageError) as machine:
            Freeze(machine="B").apply(self.target)
        assert "known: A, C" in machine.value.hint
        with pytest.raises(UsageError, match="'A' serves nothing"):
            ServerKill(machine="A").apply(self.target)
        with pytest.raises(UsageError):
            Carrier(machine="A", link="dato").apply(self.target)
        with pytest.raises(UsageError):
            plugins.find(testbed.faults, Fault, "dorp")


def test_plugins_that_lack_a_method_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "someplugins"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "lame.py").write_text("class Lame:\n    kind = 'lame'\n    def apply(self, target): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(TestbedFault, match="in_force, revert"):
        plugins.collect("someplugins", Fault)


class TestPaths:
    def test_a_folder_of_others_is_refused(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        folder = Path("/tmp") / f"testbed-paths-{os.getpid()}"
        monkeypatch.setenv("TESTBED_RUNTIME", str(folder))
        try:
            assert paths.runtime_dir() == folder
            assert folder.stat().st_mode & 0o777 == 0o700
            folder.chmod(0o755)
            with pytest.raises(TestbedFault, match="0700"):
                paths.runtime_dir()
        finally:
            folder.rmdir()
        monkeypatch.setenv("TESTBED_RUNTIME", "/tmp/" + "x" * 60)
        with pytest.raises(TestbedFault, match="too long"):
            paths.runtime_dir()

    def test_cache_follows_the_environment(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        monkeypatch.delenv("TESTBED_CACHE", raising=False)
        assert paths.cache_dir() == tmp_path / "testbed"
        monkeypatch.setenv("TESTBED_CACHE", str(tmp_path / "own"))
        assert paths.cache_dir() == tmp_path / "own"
