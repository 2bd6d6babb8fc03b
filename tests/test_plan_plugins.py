"""Transports and loads: the commands they give to guests, on a guest that only takes notes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydantic import ValidationError
from test_plan_errors import plan_of, refused

from testbed import plan as stage
from testbed import plugins, proc
from testbed.errors import TestbedFault, UsageError
from testbed.faults import Fault
from testbed.images import programs
from testbed.load import PLAYBOOKS
from testbed.loads import Load, LoadContext, disk_device, load_class, load_of
from testbed.model import KernelSpec, Plan, PlannedKernel
from testbed.plan import Choices
from testbed.proc import Completed
from testbed.run import provision
from testbed.run.lab import Lab
from testbed.transports import Ends, SwapFlow, Transport, stacks, transport_class, transport_of
from testbed.transports.nvme_tcp import DISKS

FILE_SYSTEM = Path(__file__).parent / "data" / "file-system.toml"
LISTENING = "  0: 00000000:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000"


class Notebook:
    """A guest that answers every command and listens on whatever port it is asked for."""

    def __init__(self, *ports: int) -> None:
        self.ports = ports
        self.lines: list[str] = []
        self.files: dict[str, str] = {}

    def run(self, argv: Sequence[str], *, timeout_s: float, check: bool = True) -> Completed:
        assert timeout_s > 0
        if argv[0] != "cat":
            self.lines.append(" ".join(argv))
        state = "07" if "/proc/net/udp" in argv else "0A"
        table = "\n".join(LISTENING.format(port=port, state=state) for port in self.ports)
        return Completed(tuple(argv), 0, table, "")

    def put(self, path: str, data: bytes) -> None:
        self.files[path] = data.decode()


class Serving(Notebook):
    """One whose files in /proc and /sys say that all is as it was asked for, or not."""

    def __init__(self, *ports: int, flags: str = "02140002", queues: int = 1) -> None:
        super().__init__(*ports)
        self.flags, self.queues = flags, queues

    def run(self, argv: Sequence[str], *, timeout_s: float, check: bool = True) -> Completed:
        done = super().run(argv, timeout_s=timeout_s, check=check)
        if argv[0] == "ls":
            return Completed(done.argv, 0, " ".join(map(str, range(self.queues))), "")
        if argv[:2] == ["grep", "-rhs"]:
            return Completed(done.argv, 0, f"flags:\t0100002\nflags:\t{self.flags}\n", "")
        return done


class Fresh(Notebook):
    """One that has mounted nothing of its own."""

    def run(self, argv: Sequence[str], *, timeout_s: float, check: bool = True) -> Completed:
        mounted = any(line.startswith("mount ") for line in self.lines)
        done = super().run(argv, timeout_s=timeout_s, check=check)
        return done if mounted or argv[0] != "grep" else Completed(done.argv, 1, "", "")


def planned(name: str = "flood", *, prebuilt: bool = False, **choices: Any) -> Plan:
    """On a kernel that has the patch sets that it needs."""
    file = stage.read_playbook(PLAYBOOKS / f"{name}.toml")
    sets = stage.sets_needed(file, choices.get("variant", ""))
    kernel = PlannedKernel(spec=KernelSpec(base="6.1", sets=sets, prebuilt=prebuilt), digest="a" * 24)
    return stage.plan(
        stage.topology_of(file), file, stage.Kernels(kernel, kernel), "image", Choices(**choices)
    )


def attached(plan: Plan, **options: Any) -> tuple[Notebook, Notebook]:
    """What server and client were told, with the plan's transport, or with other options of it."""
    assert plan.transport is not None
    known = plan.transport.options | options
    transport = transport_of(plan.transport.model_copy(update={"options": known}))
    server, client = Notebook(transport.swap_flow.port), Notebook()
    transport.serve(server, Ends.of(plan))
    transport.attach(client, Ends.of(plan))
    return server, client


def argv(plan: Plan, name: str, available_bytes: int | None = None) -> str:
    load = next(load for load in plan.loads if load.name == name)
    return " ".join(load_of(load).argv(load.slot, LoadContext(plan, load, available_bytes)))


def test_every_plugin_keeps_its_protocol() -> None:
    assert set(plugins.collect("testbed.transports", Transport)) == {
        "nbd",
        "nbd-crossed",
        "nfs3",
        "nfs4",
        "nvme-tcp",
        "iscsi",
        "local-nbd",
        "local-fuse",
        "local-ublk",
    }
    loads = {"anonymous", "service", "flood", "job", "mke2fs", "kill", "write", "clock", "reader"}
    loads |= {"storm", "blocks", "client", "shatter", "writer"}
    assert loads <= set(plugins.collect("testbed.loads", Load))
    faults = plugins.collect("testbed.faults", Fault)
    assert {"sysrq", "bitflip", "starve", "slow-disk"} <= set(faults)
    assert [kind for kind, fault in faults.items() if not fault.lasting] == ["sysrq"]


def test_nbd_serves_a_disk_and_is_swapped_to() -> None:
    server, client = attached(planned())
    assert server.lines == [
        "env LD_PRELOAD=/usr/lib/testbed/no-dh.so nbd-server -C /run/nbd-server.conf -p /run/nbd-server.pid"
    ]
    assert server.files["/run/nbd-server.conf"] == (
        "[generic]\nport = 10809\nlistenaddr = 10.77.1.3\n[swap]\nexportname = /dev/testbed/swap\n"
        "[lent]\nexportname = /run/lent\nreadonly = true\n"
    )
    assert client.lines == [
        "nbd-client 10.77.1.3 10809 /dev/nbd0 -N swap -b 4096 -swap",
        "mkswap /dev/nbd0",
        "swapon /dev/nbd0",
    ]


def test_a_bare_nbd_device_is_not_swapped_to() -> None:
    _, client = attached(planned("mke2fs"))
    assert client.lines == ["nbd-client 10.77.1.3 10809 /dev/nbd0 -N swap -b 4096"]


def test_a_bare_device_stays_bare_with_another_transport() -> None:
    plan = planned("mke2fs", transport="nvme-tcp")
    _, client = attached(plan)
    assert client.lines[-1] == "test -b /dev/nvme0n1"
    load, guest = plan.loads[0], Notebook()
    load_of(load).prepare(guest, LoadContext(plan, load))
    assert guest.lines[0].endswith("/dev/testbed/local /dev/nvme0n1")


def test_a_second_client_borrows_what_is_not_the_swap() -> None:
    plan = planned()
    assert plan.transport is not None
    client = Notebook()
    transport_of(plan.transport).borrow(client, Ends.of(plan))
    assert client.lines[0] == "nbd-client 10.77.1.3 10809 /dev/nbd0 -N lent -b 4096"
    assert client.lines[-1] == "ln -sf /dev/nbd0 /run/testbed/lent"


def test_nfs_serves_a_file_without_holes_to_the_link() -> None:
    server, client = attached(planned(transport="nfs3"))
    assert f"fallocate -l {(512 - 16) << 20} /srv/swap/file" in server.lines
    assert server.lines[-1] == "/usr/lib/testbed/nfs-serve /srv/swap 10.77.1.0/24"
    options = "vers=3,mountproto=tcp,nolock,proto=tcp,port=2049,hard,timeo=600,retrans=2"
    assert client.lines[1] == f"mount -t nfs -o {options} 10.77.1.3:/srv/swap /run/swap"
    assert client.lines[-1] == "swapon /run/swap/file"


def test_nfs_3_goes_over_udp_with_the_times_that_are_usual_there() -> None:
    plan = planned(transport="nfs3")
    server, client = attached(plan, proto="udp", timeo="1100ms", retrans=3)
    assert server.lines[-1] == "/usr/lib/testbed/nfs-serve /srv/swap 10.77.1.0/24"
    options = "vers=3,mountproto=udp,nolock,proto=udp,port=2049,hard,timeo=11,retrans=3"
    assert client.lines[1] == f"mount -t nfs -o {options} 10.77.1.3:/srv/swap /run/swap"
    over_udp = transport_class("nfs3").model_validate({"proto": "udp"})
    assert (over_udp.timeo, over_udp.retrans) == (1.1, 3)
    assert over_udp.swap_flow == SwapFlow("udp", 2049)
    assert over_udp.kernel_timers_s == {}  # it asks for ever: no outage outlasts a timer
    assert "!CONFIG_NFS_DISABLE_UDP_SUPPORT" in over_udp.client_options
    assert transport_class("nfs3").model_validate({"proto": "udp", "timeo": "2s"}).timeo == 2
    sized = Notebook(2049)
    over_udp.attach(sized, Ends.of(plan))
    assert "nolock,rsize=8192,wsize=8192,proto=udp" in sized.lines[1]
    over_tcp = transport_class("nfs3").model_validate({})
    assert (over_tcp.timeo, over_tcp.retrans, over_tcp.swap_flow.protocol) == (60, 2, "tcp")


def test_a_server_that_listens_on_tcp_alone_does_not_serve_udp(monkeypatch: pytest.MonkeyPatch) -> None:
    class Half(Notebook):
        def run(self, argv: Sequence[str], *, timeout_s: float, check: bool = True) -> Completed:
            done = super().run(argv, timeout_s=timeout_s, check=check)
            return Completed(done.argv, 0, "", "") if "/proc/net/udp" in argv else done

    monkeypatch.setattr("testbed.transports.COMMAND_S", 0.05)
    plan = planned(transport="nfs3")
    ends = Ends.of(plan)
    transport_class("nfs3").model_validate({}).serve(Half(2049), ends)
    with pytest.raises(TestbedFault, match="a listener on UDP port 2049"):
        transport_class("nfs3").model_validate({"proto": "udp"}).serve(Half(2049), ends)


@pytest.mark.parametrize("version", ["4.0", "4.1", "4.2"])
def test_nfs_4_refuses_udp(version: str) -> None:
    with pytest.raises(ValueError, match=r"version 4 does not go over UDP: .* kind = \"nfs3\""):
        transport_class("nfs4").model_validate({"version": version, "proto": "udp"})


def test_nfs_4_is_told_its_lease_and_mounts_the_root_of_the_exports() -> None:
    plan = planned(transport="nfs4")
    server, client = attached(plan)
    assert server.lines[-1] == "/usr/lib/testbed/nfs-serve /srv/swap 10.77.1.0/24 90"
    options = "vers=4.0,proto=tcp,port=2049,hard,timeo=600,retrans=2"
    assert client.lines[1] == f"mount -t nfs -o {options} 10.77.1.3:/ /run/swap"
    server, client = attached(plan, version="4.2", lease="2min")
    assert server.lines[-1].endswith(" 120") and "vers=4.2," in client.lines[1]
    assert plan.judging.progress[-1] == "A/vmsampler.rpc_data_done"


@pytest.mark.parametrize(("kind", "path"), [("nfs3", "/srv/swap"), ("nfs4", "/")])
def test_nfs_without_swap_is_a_file_system_where_a_devices_would_be(kind: str, path: str) -> None:
    server, client = attached(planned(transport=kind), swap=False)
    assert not [line for line in server.lines if "/srv/swap/file" in line]  # all of it is the load's
    assert "fallocate -l 1048576 /srv/swap/lent" in server.lines
    assert client.lines[0] == f"mkdir -p {stacks.FOLDER}"
    assert client.lines[-1].endswith(f" 10.77.1.3:{path} /run/stacked") and len(client.lines) == 2
    assert "CONFIG_NFS_SWAP" not in transport_class(kind).model_validate({"swap": False}).client_options


@pytest.mark.parametrize("kind", ["nfs3", "nfs4"])
def test_a_file_system_over_nfs_is_judged_by_its_reads_and_writes(kind: str, tmp_path: Path) -> None:
    text = FILE_SYSTEM.read_text()
    plan = plan_of(tmp_path, text, transport=kind)
    assert plan.judging.progress == ("A/vmsampler.rpc_data_done",)  # a job counts nothing of its own
    assert (plan.judging.in_flight, plan.judging.devices) == ("A/vmsampler.rpc_in_flight", ("nfs",))
    assert (plan.judging.finish, plan.judging.finish_loads) == ("exit", ("write",))
    subject = Notebook()
    lab = SimpleNamespace(cpu_scale=1.0, guests={"A": subject})
    provision._start_samplers(plan, cast(Lab, lab))
    assert subject.lines[-1].endswith(" vmsampler --slot 2 --detach --nfs /run/stacked")


def test_what_is_not_swapped_to_is_no_room_for_memory(tmp_path: Path) -> None:
    plan_of(tmp_path, flood := (PLAYBOOKS / "flood.toml").read_text(), transport="nfs3")
    assert 'kind = "nbd"\n' in flood
    error = refused(tmp_path, flood.replace('kind = "nbd"\n', 'kind = "nfs3"\nswap = false\n', 1))
    assert "it has 96 MiB, and 0 B of swap by nfs3" in error.message


def test_nvme_connects_by_words_to_the_kernel() -> None:
    server, client = attached(planned(transport="nvme-tcp"))
    target = "/sys/kernel/config/nvmet"
    lines = server.files["/run/kernel.conf"].splitlines()
    swap = f"{target}/subsystems/nqn.2026-11.testbed:swap"
    assert lines[:5] == [
        f"folder {swap}",
        f"word {swap}/attr_allow_any_host 1",
        f"folder {swap}/namespaces/1",
        f"word {swap}/namespaces/1/device_path /dev/testbed/swap",
        f"word {swap}/namespaces/1/device_uuid {DISKS['nqn.2026-11.testbed:swap']}",
    ]
    assert lines[5] == f"word {swap}/namespaces/1/enable 1"
    assert f"word {target}/ports/1/addr_traddr 10.77.1.3" in lines
    assert f"link {target}/ports/1/subsystems/nqn.2026-11.testbed:swap {swap}" in lines
    assert [line for line in lines if "buffered_io" in line] == [
        f"word {target}/subsystems/nqn.2026-11.testbed:lent/namespaces/1/buffered_io 1"
    ]
    assert client.files["/run/kernel.conf"].splitlines() == [
        "word /sys/module/nvme_core/parameters/io_timeout 30",
        "word /dev/nvme-fabrics transport=tcp,traddr=10.77.1.3,trsvcid=4420,nqn=nqn.2026-11.testbed:swap,"
        "nr_io_queues=1,queue_size=16,keep_alive_tmo=60,reconnect_delay=10,ctrl_loss_tmo=3600",
    ]
    assert client.lines[-1] == "swapon /dev/nvme0n1"


def test_iscsi_has_a_target_for_each_client_and_a_daemon_on_each() -> None:
    plan = planned(transport="iscsi")
    server, client = attached(plan)
    lines = server.files["/run/kernel.conf"].splitlines()
    target = "/sys/kernel/config/target"
    assert f"word {target}/core/iblock_0/swap/control udev_path=/dev/testbed/swap" in lines
    for name, backing in (("swap", "iblock_0/swap"), ("lent", "fileio_0/lent")):
        group = f"{target}/iscsi/iqn.2026-11.testbed:{name}/tpgt_1"
        assert f"link {group}/lun/lun_0/backing {target}/core/{backing}" in lines
        assert f"folder {group}/np/10.77.1.3:3260" in lines
        known = f"{group}/acls/iqn.2026-11.testbed:{name}-client"
        assert f"link {known}/lun_0/unit {group}/lun/lun_0" in lines
        assert f"word {known}/attrib/dataout_timeout 60" in lines
    name = client.files["/etc/iscsi/initiatorname.iscsi"]
    assert name == "InitiatorName=iqn.2026-11.testbed:swap-client\n"
    node = "iscsiadm -m node -T iqn.2026-11.testbed:swap -p 10.77.1.3:3260"
    assert client.lines[1:5] == [
        "start-stop-daemon -S -b -x /usr/sbin/iscsid --"
        " -f -c /etc/iscsi/iscsid.conf -i /etc/iscsi/initiatorname.iscsi",
        "grep -q ISCSIADM /proc/net/unix",
        f"{node} -o new",
        f"{node} --login",
    ]
    assert "node.session.timeo.replacement_timeout = 3600\n" in client.files["/etc/iscsi/iscsid.conf"]
    assert client.files["/run/kernel.conf"] == "word /sys/block/sda/device/timeout 30\n"
    assert "swapon /dev/sda" in client.lines


@pytest.mark.parametrize(
    ("options", "serves", "port"),
    [
        (
            {"program": "qemu-nbd", "direct": True, "connections": 2},
            "qemu-nbd --fork --persistent --shared=2 --format=raw --cache=none"
            " --pid-file=/run/qemu-nbd-swap.pid --bind=10.77.1.3 --port=10809 --export-name=swap"
            " /dev/testbed/swap",
            10810,
        ),
        (
            {"program": "nbdkit"},
            "nbdkit --pidfile=/run/nbdkit-swap.pid --ipaddr=10.77.1.3 --port=10809 file /dev/testbed/swap",
            10810,
        ),
        (
            {"connections": 4},
            "env LD_PRELOAD=/usr/lib/testbed/no-dh.so"
            " nbd-server -C /run/nbd-server.conf -p /run/nbd-server.pid",
            10809,
        ),
    ],
)
def test_nbd_has_servers_to_choose_from(options: dict[str, Any], serves: str, port: int) -> None:
    plan = planned()
    assert plan.transport is not None
    transport = transport_of(plan.transport.model_copy(update={"options": plan.transport.options | options}))
    connections = options.get("connections", 1)
    server, swapping, borrowing = Serving(10809, port), Serving(queues=connections), Notebook()
    transport.serve(server, Ends.of(plan))
    assert server.lines[0] == serves
    assert all("cache=none" not in line for line in server.lines[1:])  # the lent file lies in memory
    transport.attach(swapping, Ends.of(plan))
    assert (f"-C {connections}" in swapping.lines[0]) == (connections > 1)
    transport.borrow(borrowing, Ends.of(plan))
    assert borrowing.lines[0].startswith(f"nbd-client 10.77.1.3 {port} /dev/nbd0 -N lent")


def test_what_was_asked_of_nbd_is_read_back() -> None:
    plan = planned()
    assert plan.transport is not None
    options = {"program": "qemu-nbd", "direct": True, "connections": 2}
    transport = transport_of(plan.transport.model_copy(update={"options": plan.transport.options | options}))
    with pytest.raises(TestbedFault, match="nothing open with O_DIRECT"):
        transport.serve(Serving(10809, 10810, flags="02100002"), Ends.of(plan))
    with pytest.raises(UsageError, match="nbd0 has 1 queues for 2 connections"):
        transport.attach(Serving(), Ends.of(plan))


@pytest.mark.parametrize("program", ["nbd-server", "nbdkit"])
def test_only_one_server_opens_its_disk_directly(program: str) -> None:
    with pytest.raises(ValueError, match=f'{program} has no O_DIRECT: set program = "qemu-nbd"'):
        transport_class("nbd").model_validate({"program": program, "direct": True})


@pytest.mark.parametrize("kind", ["nvme-tcp", "iscsi"])
def test_a_second_client_borrows_a_device_of_its_own(kind: str) -> None:
    plan = planned(transport=kind)
    assert plan.transport is not None
    client = Notebook()
    transport_of(plan.transport).borrow(client, Ends.of(plan))
    device = transport_of(plan.transport).block_devices[0]
    assert client.lines[-1] == f"ln -sf /dev/{device} /run/testbed/lent"
    told = "".join(client.files.values()) + "".join(client.lines)
    assert "testbed:lent" in told and "testbed:swap" not in told


def test_a_device_that_never_comes_is_a_fault_of_the_testbed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bare(Notebook):
        def run(self, argv: Sequence[str], *, timeout_s: float, check: bool = True) -> Completed:
            done = super().run(argv, timeout_s=timeout_s, check=check)
            return Completed(done.argv, 1, "", "") if argv[0] == "test" else done

    monkeypatch.setattr("testbed.transports.COMMAND_S", 0.05)
    plan = planned(transport="nvme-tcp")
    assert plan.transport is not None
    with pytest.raises(TestbedFault, match="the device nvme0n1"):
        transport_of(plan.transport).attach(Bare(), Ends.of(plan))


class Bounded(Notebook):
    """A client whose driver takes `most_kib` in one request, whatever was written."""

    def __init__(self, most_kib: int) -> None:
        super().__init__()
        self.most_kib = most_kib

    def run(self, argv: Sequence[str], *, timeout_s: float, check: bool = True) -> Completed:
        done = super().run(argv, timeout_s=timeout_s, check=check)
        if argv[-1].endswith("/max_sectors_kb"):
            self.lines.append(f"{' '.join(argv)} after {self.files['/run/kernel.conf']}".strip())
            return Completed(done.argv, 0, f"{self.most_kib}\n", "")
        return done


@pytest.mark.parametrize("kind", ["nbd", "nvme-tcp", "iscsi"])
def test_the_size_of_a_request_is_bounded_before_the_device_is_swapped_to(kind: str) -> None:
    plan = planned(transport=kind)
    assert plan.transport is not None
    options = {**plan.transport.options, "max_request": "128KiB"}
    transport = transport_of(plan.transport.model_copy(update={"options": options}))
    device = transport.block_devices[0]
    client = Bounded(128)
    transport.attach(client, Ends.of(plan))
    path = f"/sys/block/{device}/queue/max_sectors_kb"
    at = client.lines.index(f"mkswap /dev/{device}")
    assert client.lines[at - 1] == f"cat {path} after word {path} 128"
    with pytest.raises(TestbedFault, match=f"{device} takes requests of 64 KiB at most, not of 128"):
        transport.attach(Bounded(64), Ends.of(plan))


def test_without_a_bound_the_driver_keeps_its_own() -> None:
    _, client = attached(planned())
    assert not any("max_sectors_kb" in told for told in (*client.lines, *client.files.values()))


@pytest.mark.parametrize("wrong", ["2KiB", "4097B", "65MiB"])
def test_a_request_is_whole_kib_within_bounds(wrong: str) -> None:
    with pytest.raises(ValueError, match="max_request"):
        transport_class("nbd").model_validate({"max_request": wrong})


def kernel_conf(folder: Path, lines: str) -> Completed:
    (folder / "lines").write_text(lines)
    argv = ["sh", str(programs.SOURCES / "kernel-conf"), str(folder / "lines")]
    return proc.run(argv, timeout_s=10, check=False)


def test_the_kernel_is_told_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "attribute").touch()
    lines = (
        f"folder {tmp_path}/a/b\nword {tmp_path}/attribute two words\nlink {tmp_path}/a/link {tmp_path}/a/b\n"
    )
    assert kernel_conf(tmp_path, lines).status == 0
    assert (tmp_path / "attribute").read_text() == "two words\n"
    assert (tmp_path / "a/link").readlink() == tmp_path / "a/b"
    assert kernel_conf(tmp_path, f"remove {tmp_path}/a/link\nremove {tmp_path}/a/b\n").status == 0
    assert list((tmp_path / "a").iterdir()) == []


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("word {}/missing 1", "line 2, word {}/missing: the kernel has no such file"),
        ("word {} 1", "line 2, word {}: the kernel refuses '1'"),
        ("folder {}/lines/below", "line 2, folder {}/lines/below: the kernel refuses this folder"),
        ("link {}/none/link {}", "line 2, link {}/none/link: the kernel refuses this link"),
        ("remove {}/none", "line 2, remove {}/none: the kernel keeps this"),
        ("wrod {} 1", "line 2, wrod {}: is no such line"),
    ],
)
def test_the_first_line_that_the_kernel_refuses_ends_it(tmp_path: Path, line: str, says: str) -> None:
    after = f"folder {tmp_path}/after\n"
    done = kernel_conf(tmp_path, f"folder {tmp_path}/before\n{line.replace('{}', str(tmp_path))}\n{after}")
    assert done.status == 1 and says.replace("{}", str(tmp_path)) in done.stderr
    assert (tmp_path / "before").is_dir() and not (tmp_path / "after").exists()


def test_a_server_that_never_listens_is_a_fault_of_the_testbed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("testbed.transports.COMMAND_S", 0.05)
    plan = planned()
    assert plan.transport is not None
    with pytest.raises(TestbedFault, match="a listener on TCP port 10809"):
        transport_of(plan.transport).serve(Notebook(1), Ends.of(plan))


def test_the_anonymous_load_is_a_share_of_ram_or_of_what_is_available() -> None:
    built = argv(planned(), "anonymous-1")
    assert built.startswith("/usr/lib/testbed/agent anonymous --slot 3 --detach --bytes ")
    assert f"--bytes {int((96 << 20) * 0.675) // 4096 * 4096} " in built
    prebuilt = planned(prebuilt=True)
    assert f"--bytes {int((100 << 20) * 0.675) // 4096 * 4096} " in argv(prebuilt, "anonymous-1", 100 << 20)
    with pytest.raises(TestbedFault, match="MemAvailable of 'A' was not measured"):
        argv(prebuilt, "anonymous-1")


def test_those_that_exchange_stand_in_a_ring() -> None:
    plan = planned(variant="mpi")
    told = {name: argv(plan, name).split(" --order exchange ")[1] for name in ("anonymous-1", "anonymous-2")}
    seeds = {name: argv(plan, name).split("--seed ")[1].split()[0] for name in told}
    assert told["anonymous-1"] == f"--port 7803 --next-port 7804 --last-seed {seeds['anonymous-2']}"
    assert told["anonymous-2"] == f"--port 7804 --next-port 7803 --last-seed {seeds['anonymous-1']}"


def test_a_share_of_the_load_is_of_files_on_a_disk_that_is_made_ready_once() -> None:
    plan = planned(variant="cache-rich")
    whole = int((96 << 20) * 0.675) // 4096 * 4096
    mapped = int(whole * 0.6) // 4096 * 4096
    assert f"--bytes {whole} " in argv(plan, "anonymous-1")
    assert argv(plan, "anonymous-1").endswith(f"--mapped {mapped} --file /mnt/cache/anonymous-1")

    guest = Fresh()
    for load in plan.loads[:2]:
        load_of(load).prepare(guest, LoadContext(plan, load))
    assert [line.split()[0] for line in guest.lines] == ["grep", "mke2fs", "mkdir", "mount", "grep"]
    assert guest.lines[1].endswith(" /dev/testbed/cache")
    bare = Notebook()
    load_of(planned().loads[0]).prepare(bare, LoadContext(plan, plan.loads[0]))
    assert bare.lines == []


def test_a_share_of_files_needs_a_disk() -> None:
    with pytest.raises(ValidationError, match="'mapped' needs a disk"):
        load_class("anonymous").model_validate({"memory": "1x", "mapped": 0.3})


def test_the_storm_and_the_asking_for_blocks_are_the_agents() -> None:
    storm = argv(planned(variant="storm"), "storm")
    assert storm == "/usr/lib/testbed/agent storm --slot 6 --detach --pause-ms 20"
    blocks = argv(planned("fragmentation", settings={"order": "4"}), "blocks")
    assert blocks == "/usr/lib/testbed/agent blocks --slot 6 --detach --order 4 --every-ms 100"


def test_the_writer_writes_on_a_disk_of_its_machine_or_where_it_is_told() -> None:
    plan = planned(variant="writer")
    assert argv(plan, "writer") == (
        "/usr/lib/testbed/agent writer --slot 6 --detach --file /mnt/cache/writer --bytes 67108864"
    )
    load, guest = next(load for load in plan.loads if load.name == "writer"), Fresh()
    load_of(load).prepare(guest, LoadContext(plan, load))
    assert [line.split()[0] for line in guest.lines] == ["grep", "mke2fs", "mkdir", "mount"]
    elsewhere = load_class("writer").model_validate({"file": "/run/stacked/file"})
    assert "--file /run/stacked/file" in " ".join(elsewhere.argv(3, LoadContext(plan, load)))


@pytest.mark.parametrize("options", [{}, {"disk": "cache", "file": "/run/stacked/file"}])
def test_the_writer_wants_one_place(options: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="wants one of 'disk' and 'file'"):
        load_class("writer").model_validate(options)


def test_loads_of_one_plan_differ_in_seed() -> None:
    plan = planned()
    assert argv(plan, "anonymous-1").split("--seed ")[1] != argv(plan, "anonymous-2").split("--seed ")[1]


@pytest.mark.parametrize(
    ("variant", "load", "command"),
    [
        (
            "recovery-50s",
            "hold",
            "deed-kill --slot 3 --detach --signal 19 --process nbd-server --resume-after-ms 59000",
        ),
        ("server-killed", "kill", "deed-kill --slot 3 --detach --signal 9 --process nbd-server"),
        ("agent-killed", "kill", "deed-kill --slot 5 --detach --signal 9 --victim 0"),
        ("console-silent", "mute", "deed-write --slot 5 --detach --file /proc/sys/kernel/printk --text 1"),
        ("clock-jumping", "clock", "deed-clock --slot 5 --detach --step-s 3600 --every-ms 1000"),
        ("memory-in-pieces", "shatter", "deed-shatter --slot 5 --detach --bytes 50331648 --keep 4"),
        (
            "lock-cycle",
            "reader",
            "reader --slot 5 --detach --file /sys/kernel/debug/known-answer/locked --pause-ms 20",
        ),
    ],
)
def test_deeds_are_given_to_the_agent(variant: str, load: str, command: str) -> None:
    assert argv(planned("selftest", variant=variant), load) == f"/usr/lib/testbed/agent {command}"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "exactly one of 'process' and 'witness'"),
        ({"process": "x", "witness": "heartbeat"}, "exactly one of 'process' and 'witness'"),
        ({"process": "x", "resume_after": "1s"}, "only what was stopped can go on"),
        ({"process": "a/b"}, "should match pattern"),
        ({"witness": "me"}, "'heartbeat', 'blocksampler' or 'vmsampler'"),
    ],
)
def test_a_deed_needs_one_victim(options: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        load_class("kill").model_validate(options)


@pytest.mark.parametrize("file", ["/etc/passwd", "proc/x", "/proc/\n", "/sys/"])
def test_a_word_is_written_to_the_kernels_files_alone(file: str) -> None:
    with pytest.raises(ValueError, match="should match pattern"):
        load_class("write").model_validate({"file": file, "text": "1"})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"text": "10", "unit": "ms"}, "'text' is a word, but 'unit' is of a duration, as in '1s'"),
        ({"text": "4MiB", "unit": "s"}, "'text' is a size, but 'unit' is of a duration"),
        ({"text": "1500ms", "unit": "s"}, "'1500ms' is no whole number of 's'"),
        ({"text": True}, "valid string"),
    ],
)
def test_a_quantity_is_written_in_its_unit(options: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        load_class("write").model_validate({"file": "/proc/x", **options})


def test_a_lone_fragment_is_one_frame() -> None:
    flood = {"to": "A", "service": "service", "rate": "1pps", "lone_fragments": True}
    load_class("flood").model_validate(flood | {"sizes": [{"size": "1480B"}]})
    with pytest.raises(ValidationError, match="at most 1480B"):
        load_class("flood").model_validate(flood | {"sizes": [{"size": "1481B"}]})


def test_service_and_flood_agree_on_ports() -> None:
    plan = planned()
    assert argv(plan, "service") == (
        "/usr/lib/testbed/agent service --slot 5 --detach --port 7000 --sockets 64 --rcvbuf 8388608 "
        "--memory 8388608 --consumers 4 --tcp-port 6900"
    )
    assert argv(plan, "flood") == (
        "/usr/lib/testbed/agent flood --slot 3 --detach --to 10.77.1.1 --port 7000 --ports 64 --rate 10000 "
        "--sizes 1400:9,64:1 --tcp-port 6900 --tcp-connections 4"
    )


def test_a_flood_over_tcp_alone_has_a_rate_and_sizes_of_its_own() -> None:
    given = {"to": "A", "service": "service", "tcp_connections": 2, "tcp_rate": "2kpps"}
    sizes = {"tcp_sizes": [{"size": "1KiB", "weight": 3}, {"size": "64B"}]}
    flood = load_class("flood").model_validate(given | sizes)
    again = load_class("flood").model_validate(flood.model_dump(mode="json"))
    assert again == flood
    plan = planned()
    load = next(each for each in plan.loads if each.name == "flood")
    assert " ".join(again.argv(3, LoadContext(plan, load))) == (
        "/usr/lib/testbed/agent flood --slot 3 --detach --to 10.77.1.1 --port 7000 --ports 0 "
        "--tcp-port 6900 --tcp-connections 2 --tcp-rate 2000 --tcp-sizes 1024:3,64:1"
    )


def test_mke2fs_makes_the_mirror_before_it_is_asked_to_run() -> None:
    plan, guest = planned("mke2fs"), Notebook()
    load = plan.loads[0]
    load_of(load).prepare(guest, LoadContext(plan, load))
    assert guest.lines[0].endswith("--raid-devices=2 /dev/testbed/local /dev/nbd0")
    assert argv(plan, "mke2fs").endswith(
        "-- env UNIX_IO_NOZEROOUT=1"
        " mke2fs -F -j -i 4096 -E nodiscard,lazy_itable_init=0,lazy_journal_init=0 /dev/md0"
    )


def test_the_far_disk_may_be_the_first_of_the_mirror() -> None:
    plan, guest = planned("mke2fs", variant="far-first"), Notebook()
    load = plan.loads[0]
    load_of(load).prepare(guest, LoadContext(plan, load))
    assert guest.lines[0].endswith("--raid-devices=2 /dev/nbd0 /dev/testbed/local")


def test_a_disk_of_a_machine_without_root_disk_is_the_first_that_it_has() -> None:
    machine = planned("mke2fs").machine("A")
    assert disk_device(machine, "local") == "vdc"
    assert disk_device(machine.model_copy(update={"root_from": "C"}), "local") == "vda"


@pytest.mark.parametrize(
    ("transport", "nfs"), [("nbd", ""), ("nfs3", " --nfs /run/swap"), ("nfs4", " --nfs /run/swap")]
)
def test_the_sampler_is_told_whose_requests_are_the_swaps(transport: str, nfs: str) -> None:
    subject = Notebook()
    lab = SimpleNamespace(cpu_scale=1.0, guests={"A": subject})
    provision._start_samplers(planned(transport=transport), cast(Lab, lab))
    assert subject.lines[-1] == f"/usr/lib/testbed/agent vmsampler --slot 2 --detach{nfs}"


def test_who_has_the_kernel_under_test_too_is_sampled_but_not_its_requests() -> None:
    guests = {name: Notebook() for name in "ABC"}
    lab = SimpleNamespace(cpu_scale=1.0, guests=guests)
    provision._start_samplers(planned("mke2fs-crossed"), cast(Lab, lab))
    told = {name: [line.split()[1] for line in guest.lines] for name, guest in guests.items()}
    assert told["A"] == ["blocksampler", "vmsampler"] and told["C"] == ["vmsampler"] and not told["B"]


def test_options_of_a_plan_are_validated_anew() -> None:
    plan = planned()
    broken = plan.loads[2].model_copy(update={"options": plan.loads[2].options | {"rcvbuf": 8}})
    with pytest.raises(ValueError, match="has no unit"):
        load_of(broken)


# --- schemas


def test_the_schemas_know_every_plugins_keys() -> None:
    found = stage.schema("playbook")
    loads = {option["title"]: option for option in found["$defs"]["LoadTable"]["oneOf"]}
    assert {"rcvbuf", "kind", "on"} <= set(loads["service"]["properties"])
    faults = {option["title"] for option in found["$defs"]["Deed"]["oneOf"]}
    assert {"drop", "carrier", "freeze", "rate", "reset", "corrupt", "server-kill", "readdress"} <= faults
    reset = next(option for option in found["$defs"]["Deed"]["oneOf"] if option["title"] == "reset")
    assert {"flow", "between", "direction", "at", "for", "on", "off"} <= set(reset["properties"])
    assert reset["required"] == ["at", "fault"] and not reset["additionalProperties"]
    for load, key in (("flood", "rate"), ("flood", "tcp_rate"), ("service", "reads")):  # one may be left out
        options = loads[load]["properties"][key]["anyOf"]
        assert [each.get("pattern", "")[:3] for each in options].count(r"^\$") == 1


def test_schemas_are_json_and_wrong_names_are_refused() -> None:
    for kind in stage.KINDS:
        assert json.loads(json.dumps(stage.schema(kind)))["type"] == "object"
    with pytest.raises(UsageError) as caught:
        stage.schema("playbok")
    assert "did you mean 'playbook'?" in caught.value.hint
