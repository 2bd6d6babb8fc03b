"""A daemon of A's own: a plan without a wire, what the guest is told, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from test_plan_errors import plan_of, refused
from test_plan_plugins import Notebook, planned

from testbed.errors import TestbedFault, UsageError
from testbed.kernels import BuiltKernel
from testbed.load import PLAYBOOKS
from testbed.model import Plan
from testbed.plan.wiring import flows
from testbed.proc import Completed
from testbed.run.lab import _cmdline
from testbed.transports import Ends, Lender, Revivable, transport_class, transport_of

LOCAL = (PLAYBOOKS / "local-daemon.toml").read_text()
FLOOD = (PLAYBOOKS / "flood.toml").read_text()
LIBRARY = "/usr/lib/testbed/daemon.so"
OVERCOMMIT = "/proc/sys/vm/overcommit_memory"


class Machine(Notebook):
    """A that runs its daemon as process 70, with the library and so many locked KiB, or without.

    It is held to the `cap` that was set, or to another; where it is not in the group, `grouped` is off. A's
    kernel counts commitments as `overcommit` says, and did as `overcommits` say when nbdkit was started.
    """

    def __init__(
        self,
        *,
        library: bool = True,
        locked_kib: int = 2580,
        cap: str = "",
        grouped: bool = True,
        overcommit: str = "0",
    ) -> None:
        super().__init__(10809)
        self.overcommit, self.overcommits = overcommit, list[str]()
        self.library, self.locked_kib, self.cap, self.grouped = library, locked_kib, cap, grouped

    def run(self, argv: Sequence[str], *, timeout_s: float, check: bool = True) -> Completed:
        done = super().run(argv, timeout_s=timeout_s, check=check)
        said = {
            "pidof": "70\n",
            "grep": f"VmLck:\t{self.locked_kib} kB\n",
            "blockdev": "1000\n",
            "stat": "100000\n",
        }
        if argv[0].endswith("kernel-conf") and OVERCOMMIT in self.files["/run/kernel.conf"]:
            self.overcommit = self.files["/run/kernel.conf"].split()[-1]
        if argv[0] == "env" and "nbdkit" in argv:
            self.overcommits.append(self.overcommit)
        if tuple(argv) == ("cat", OVERCOMMIT):
            return Completed(done.argv, 0, f"{self.overcommit}\n", "")
        if tuple(argv) == ("cat", "/proc/net/unix"):
            return Completed(done.argv, 0, "0: 2 0 00010000 0001 01 7 /run/local-nbd.sock\n", "")
        if tuple(argv) == ("cat", "/sys/fs/cgroup/daemon/memory.max"):
            was_set = self.files["/run/kernel.conf"].splitlines()[-1].rpartition(" ")[2]
            return Completed(done.argv, 0, f"{self.cap or was_set}\n", "")
        if tuple(argv) == ("cat", "/sys/fs/cgroup/daemon/cgroup.procs"):
            return Completed(done.argv, 0, "70\n71\n" if self.grouped else "", "")
        status = 1 if "maps" in argv[-1] and not self.library else 0
        return Completed(done.argv, status, said.get(argv[0], done.stdout), "")


def set_up(plan: Plan, machine: Machine | None = None, **options: Any) -> list[str]:
    """What A is told, in order."""
    assert plan.transport is not None
    known = plan.transport.options | options
    transport = transport_of(plan.transport.model_copy(update={"options": known}))
    told = machine or Machine()
    transport.serve(told, Ends.of(plan))
    transport.attach(told, Ends.of(plan))
    return told.lines


def local(**choices: Any) -> Plan:
    return planned("local-daemon", **choices)


def test_no_wire_carries_what_a_machine_sends_itself() -> None:
    plan = local()
    assert plan.transport is not None
    assert (plan.transport.client, plan.transport.server) == ("A", "A")
    assert not [name for name in flows(plan) if name.startswith("swap")]
    assert (Ends.of(plan).server, Ends.of(plan).client) == ("127.0.0.1", "127.0.0.1")
    rules = plan.judging
    assert (rules.subject, rules.server, rules.second_client) == ("A", "A", ())
    assert (rules.backing, rules.requires) == ("A/disk.swap", ("served",))
    assert rules.progress[-2:] == ("A/blocksampler.writes_completed_0", "A/blocksampler.reads_completed_0")


@pytest.mark.parametrize("kind", ["local-nbd", "local-fuse", "local-ublk"])
def test_who_serves_itself_lends_nothing_and_is_not_revived(kind: str) -> None:
    transport = transport_class(kind)()
    assert transport.swap_flow is None and transport.kernel_timers_s == {}
    assert not isinstance(transport, Lender) and not isinstance(transport, Revivable)
    assert isinstance(transport_class("nbd")(), Lender)


def test_a_server_of_ublk_has_its_settings_in_itself() -> None:
    plan = local(transport="local-ublk")
    assert plan.watched_devices == ("ublkb0",)
    lines = set_up(plan, mlockall="on-fault", io_flusher=True, direct=True)
    assert lines == [
        "ln -sf /usr/lib/testbed/agent /run/ublk",
        "env TESTBED_MLOCKALL=on-fault TESTBED_IO_FLUSHER=1 /run/ublk --file /dev/testbed/swap --direct",
        "pidof ublk",
        "grep VmLck /proc/70/status",
        "test -b /dev/ublkb0",
        "mkswap /dev/ublkb0",
        "swapon /dev/ublkb0",
    ]
    on_file = set_up(plan, backing="file")
    assert "env /run/ublk --file /srv/store/swap" in on_file
    assert f"fallocate -l {(512 - 16) << 20} /srv/store/swap" in on_file


def test_a_server_of_ublk_that_is_not_locked_is_found_out() -> None:
    with pytest.raises(TestbedFault, match=r"the daemon ublk \(70\) is not locked in memory"):
        set_up(local(transport="local-ublk"), Machine(locked_kib=0), mlockall="filled")


def test_nbd_server_is_reached_over_a_unix_socket() -> None:
    machine = Machine()
    lines = set_up(local(), machine)
    assert lines == [
        f"env LD_PRELOAD=/usr/lib/testbed/no-dh.so:{LIBRARY}"
        " nbd-server -C /run/nbd-server.conf -p /run/nbd-server.pid",
        "nbd-client -unix /run/local-nbd.sock /dev/nbd0 -N swap -b 4096 -swap",
        "pidof nbd-server",
        f"grep -c {LIBRARY} /proc/70/maps",
        "grep VmLck /proc/70/status",
        "mkswap /dev/nbd0",
        "swapon /dev/nbd0",
    ]
    assert machine.files["/run/nbd-server.conf"] == (
        "[generic]\nport = 10809\nunixsock = /run/local-nbd.sock\n[swap]\nexportname = /dev/testbed/swap\n"
    )


def test_nbdkit_is_reached_over_the_loopback() -> None:
    machine = Machine()
    lines = set_up(local(), machine, program="nbdkit", socket="tcp", backing="file", threads=2)
    assert lines[2] == f"fallocate -l {(512 - 16) << 20} /srv/store/swap"
    # Started while the kernel counts no commitment, and as it was after that.
    assert lines.pop(5) == lines.pop(3) == "/usr/lib/testbed/kernel-conf /run/kernel.conf"
    assert machine.files["/run/kernel.conf"] == "word /proc/sys/vm/overcommit_memory 0\n"
    with pytest.raises(ValueError, match='mlockall = "on-fault"'):
        transport_class("local-nbd").model_validate({"program": "nbdkit", "mlockall": "filled"})
    assert lines[3] == (
        f"env LD_PRELOAD={LIBRARY} nbdkit --pidfile=/run/nbdkit.pid --threads=2"
        " --ipaddr=127.0.0.1 --port=10809 file /srv/store/swap"
    )
    assert lines[4] == "nbd-client 127.0.0.1 10809 /dev/nbd0 -N swap -b 4096 -swap"


@pytest.mark.parametrize("before", ["0", "1", "2"])
def test_nbdkit_leaves_the_counting_of_commitments_as_the_topology_has_it(before: str) -> None:
    machine = Machine(overcommit=before)
    set_up(local(variant="nbdkit"), machine)
    assert (machine.overcommits, machine.overcommit) == (["1"], before)


def test_qemu_nbd_alone_may_do_without_a_page_cache() -> None:
    lines = set_up(local(variant="direct"))
    assert lines[0] == (
        f"env LD_PRELOAD={LIBRARY} TESTBED_MLOCKALL=on-fault TESTBED_IO_FLUSHER=1"
        " qemu-nbd --fork --persistent --format=raw --export-name=swap --cache=none"
        " --socket=/run/local-nbd.sock /dev/testbed/swap"
    )
    for program in ("nbd-server", "nbdkit"):
        with pytest.raises(ValueError, match=f"{program} has no O_DIRECT"):
            transport_class("local-nbd").model_validate({"program": program, "direct": True})


def test_fuse_has_a_loop_device_on_its_file() -> None:
    plan = local(transport="local-fuse")
    lines = set_up(plan)
    assert lines[2:6] == [
        f"fallocate -l {(512 - 16) << 20} /srv/store/swap",
        "mkdir -p /run/fuse",
        f"env LD_PRELOAD={LIBRARY} bindfs /srv/store /run/fuse",
        "losetup --direct-io=off /dev/loop0 /run/fuse/swap",
    ]
    assert lines[-1] == "swapon /dev/loop0" and plan.watched_devices == ("loop0",)


@pytest.mark.parametrize(
    ("variant", "told"),
    [
        ("capped", "TESTBED_CGROUP=/sys/fs/cgroup/daemon"),
        ("nbdkit", "nbdkit --pidfile"),
        ("dm", "swapon /dev/dm-0"),
        ("mirror", "--raid-devices=2 /dev/nbd0 /dev/testbed/local"),
        ("loop", "losetup /dev/loop7 /dev/nbd0"),
    ],
)
def test_a_variant_does_what_it_says(variant: str, told: str) -> None:
    assert told in "\n".join(set_up(local(variant=variant)))


def test_another_kind_keeps_what_a_variant_is_about() -> None:
    plan = local(transport="local-fuse", variant="filled-io-flusher")
    assert plan.transport is not None and plan.transport.kind == "local-fuse"
    assert plan.transport.options["mlockall"] == "filled" and plan.transport.options["io_flusher"] is True
    measures = local(transport="local-fuse", variant="measures").transport
    assert measures is not None
    kept = ("mlockall", "memalloc", "less_throttle")
    assert [measures.options[key] for key in kept] == ["on-fault", True, True]
    stacked = local(transport="local-fuse", variant="file-system").transport
    assert stacked is not None and (stacked.options["swap"], stacked.options["stack"]) == (False, ["ext4"])


@pytest.mark.parametrize(("variant", "key"), [("loopback", "socket"), ("direct", "program")])
def test_a_variant_that_another_kind_can_not_be_is_refused(variant: str, key: str) -> None:
    with pytest.raises(UsageError) as caught:
        local(transport="local-fuse", variant=variant)
    assert f"variant '{variant}' is about '{key}', which local-fuse has not" in caught.value.message
    assert caught.value.where.endswith(f"variants.{variant}.transport.{key}")
    assert "leave --transport out" in caught.value.hint


@pytest.mark.parametrize(
    ("variant", "settings"),
    [
        ("", ""),
        ("locked", " TESTBED_MLOCKALL=on-fault"),
        ("filled", " TESTBED_MLOCKALL=filled"),
        ("io-flusher", " TESTBED_IO_FLUSHER=1"),
        ("both", " TESTBED_MLOCKALL=on-fault TESTBED_IO_FLUSHER=1"),
    ],
)
def test_a_variant_has_other_settings_of_the_daemon_and_nothing_else(variant: str, settings: str) -> None:
    plan, main = local(variant=variant), local()
    assert f"{LIBRARY}{settings} nbd-server" in set_up(plan)[0]
    assert plan.judging == main.judging and plan.events == main.events


def test_a_daemon_without_its_settings_is_a_fault_of_the_testbed() -> None:
    with pytest.raises(TestbedFault, match=r"nbd-server \(70\) runs without its settings"):
        set_up(local(), Machine(library=False))
    set_up(local(), Machine(locked_kib=0))
    with pytest.raises(TestbedFault, match=r"nbd-server \(70\) is not locked in memory"):
        set_up(local(variant="locked"), Machine(locked_kib=0))


def test_a_cap_is_a_memory_group_and_only_then_there_are_groups(tmp_path: Path) -> None:
    kernel = BuiltKernel("d", tmp_path, "6.1", (), None, None)
    capped = plan_of(tmp_path, LOCAL.replace('server = "A"\n', 'server = "A"\nmemory_cap = "8MiB"\n', 1))
    machine = Machine()
    lines = set_up(capped, machine)
    assert lines[0] == "mount -t cgroup2 cgroup2 /sys/fs/cgroup"
    assert machine.files["/run/kernel.conf"].splitlines() == [
        "word /sys/fs/cgroup/cgroup.subtree_control +memory",
        "folder /sys/fs/cgroup/daemon",
        f"word /sys/fs/cgroup/daemon/memory.max {8 << 20}",
    ]
    assert "TESTBED_CGROUP=/sys/fs/cgroup/daemon nbd-server" in lines[2]
    assert "cgroup_disable=memory" not in _cmdline(capped, capped.machines[0], kernel)
    with pytest.raises(TestbedFault, match=r"\(70\) is not held to 8388608 bytes: the limit is max"):
        set_up(capped, Machine(cap="max"))
    with pytest.raises(TestbedFault, match="in its control group are none"):
        set_up(capped, Machine(grouped=False))
    for plan in (local(), planned("flood")):
        for one in plan.machines:
            assert "cgroup_disable=memory" in _cmdline(plan, one, kernel)


@pytest.mark.parametrize(
    ("text", "old", "new", "at", "says"),
    [
        (LOCAL, 'kind = "local-nbd"', 'kind = "nbd"', "transport.server", "is for two machines"),
        (FLOOD, 'kind = "nbd"', 'kind = "local-nbd"', "transport.server", "the machine that it runs on"),
        (LOCAL, 'disk = "swap"\nrate', 'disk = "swop"\nrate', "timeline[1].disk", "'A' has no disk 'swop'"),
        (
            LOCAL, '[variants.fast]', '[[timeline]]\nat = "3s"\nfor = "1s"\nfault = "server-kill"\n'
            'machine = "A"\n[variants.fast]', "timeline[2].fault", "is asked nothing",
        ),
        (
            LOCAL, '[[timeline]]', '[loads.client]\nkind = "client"\non = "A"\n[[timeline]]', "loads.client",
            "and no other",
        ),
        (
            LOCAL, 'server = "A"', 'server = "A"\nstack = ["raid1"]\nmirror = "swap"', "transport.mirror",
            "no disk 'swap' to mirror on",
        ),
        (
            FLOOD, 'server = "C"', 'server = "C"\nstack = ["raid1"]\nmirror = "local"', "transport.mirror",
            "no disk 'local' to mirror on",
        ),
    ],
)  # fmt: skip
def test_what_can_not_be_is_refused(
    tmp_path: Path, text: str, old: str, new: str, at: str, says: str
) -> None:
    assert old in text
    error = refused(tmp_path, text.replace(old, new, 1))
    assert says in error.message and at in error.where


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"stack": ["dm", "dm"]}, "twice"),
        ({"stack": ["ext4", "dm"]}, "must be the last"),
        ({"stack": ["raid1"]}, "one needs the other"),
        ({"mirror": "local"}, "one needs the other"),
        ({"stack": ["dm"], "swap": False}, "a bare device is a load's"),
        ({"stack": ["lvm"]}, "'dm', 'loop', 'raid1' or 'ext4'"),
    ],
)
@pytest.mark.parametrize("kind", ["nbd", "iscsi", "local-fuse"])
def test_a_stack_has_an_order(kind: str, keys: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        transport_class(kind).model_validate(keys)


def test_layers_lie_on_each_other_and_the_swap_on_top() -> None:
    plan = local()
    lines = set_up(plan, stack=["dm", "loop", "raid1", "ext4"], mirror="local")
    assert lines[5:] == [
        "blockdev --getsz /dev/nbd0",
        "dmsetup create stacked --noudevsync --noudevrules --table 0 1000 linear /dev/nbd0 0",
        "losetup /dev/loop7 /dev/dm-0",
        "mdadm --create /dev/md0 --run --assume-clean --level=1 --metadata=1.2 --bitmap=none"
        " --raid-devices=2 /dev/loop7 /dev/testbed/local",
        "mke2fs -q -F -t ext4 -b 4096 -N 64 -m 0 -E nodiscard /dev/md0",
        "mkdir -p /run/stacked",
        "mount -t ext4 /dev/md0 /run/stacked",
        "stat -f -c %a /run/stacked",
        f"fallocate -l {100000 * 4096 - (1 << 20)} /run/stacked/swap",
        "chmod 600 /run/stacked/swap",
        "mkswap /run/stacked/swap",
        "swapon /run/stacked/swap",
    ]


def test_a_prebuilt_kernel_loads_what_the_stack_needs(tmp_path: Path) -> None:
    keys = 'server = "A"\nstack = ["dm", "raid1"]\nmirror = "local"\n'
    plan = plan_of(tmp_path, LOCAL.replace('server = "A"\n', keys, 1))
    line = _cmdline(plan, plan.machines[0], BuiltKernel("d", tmp_path, "6.1", (), None, None))
    assert line.endswith("testbed.kinds=rtl8139,e1000e,local-nbd,anonymous,dm,raid1")


def test_a_file_system_on_the_daemons_device_is_written_instead() -> None:
    plan = local(variant="file-system")
    lines = set_up(plan)
    assert lines[-1] == "mount -t ext4 /dev/nbd0 /run/stacked" and "-swap" not in lines[1]
    assert [load.name for load in plan.loads] == ["write"]
    assert (plan.judging.finish, plan.judging.finish_loads) == ("exit", ("write",))
