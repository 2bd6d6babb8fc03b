"""Two machines that serve each other: what they are told, whose kernel runs where, when it is judged."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from test_plan_errors import refused
from test_plan_local import Machine
from test_plan_plugins import planned

from testbed import plan as stage
from testbed.errors import TestbedFault
from testbed.load import PLAYBOOKS
from testbed.model import KernelSpec, PlannedKernel
from testbed.plan.labels import Choices
from testbed.plan.wiring import flows
from testbed.proc import Completed
from testbed.transports import Crossed, Ends, Lender, transport_class, transport_of

CROSSED = (PLAYBOOKS / "mke2fs-crossed.toml").read_text()
PRELOADED = "env LD_PRELOAD=/usr/lib/testbed/no-dh.so:/usr/lib/testbed/daemon.so"


class Forking(Machine):
    """A machine whose daemon forks, as process 71, once it has a client; who is `bare` is not locked."""

    def __init__(self, *, library: bool = True, bare: Collection[int] = ()) -> None:
        super().__init__(library=library)
        self.bare = bare
        self.ports = (10809, 10810)
        self.peer: Forking | None = None

    def run(self, argv: Sequence[str], *, timeout_s: float, check: bool = True) -> Completed:
        done = super().run(argv, timeout_s=timeout_s, check=check)
        if argv[0] == "pidof":
            used = self.peer is not None and any(line.startswith("nbd-client") for line in self.peer.lines)
            return Completed(done.argv, 0, "71 70\n" if used else "70\n", "")
        if argv[:2] == ["grep", "-rhs"]:
            return Completed(done.argv, 0, "flags:\t02140002\n", "")
        if any(argv[-1] == f"/proc/{pid}/status" for pid in self.bare):
            return Completed(done.argv, 0, "VmLck:\t0 kB\n", "")
        return done


def told(
    variant: str = "",
    *,
    library: bool = True,
    bare: Mapping[str, Collection[int]] = {},
    **options: Any,
) -> tuple[Machine, Machine]:
    """What client and server were told; of each the processes that are `bare` are not locked in memory."""
    plan = planned("mke2fs-crossed", variant=variant)
    assert plan.transport is not None
    known = plan.transport.options | options
    transport = transport_of(plan.transport.model_copy(update={"options": known}))
    ends = Ends.of(plan)
    assert isinstance(transport, Crossed) and isinstance(transport, Lender)
    client, server = (Forking(library=library, bare=bare.get(name, ())) for name in ("client", "server"))
    client.peer, server.peer = server, client
    transport.serve(server, ends)
    transport.attach(client, ends)
    transport.serve_back(client, ends)
    transport.attach_back(server, client, ends)
    return client, server


def test_each_serves_a_disk_and_is_a_client_of_the_other() -> None:
    client, server = told()
    serving = f"{PRELOADED} nbd-server -C /run/nbd-server.conf -p /run/nbd-server.pid"
    read = ["pidof nbd-server"]
    for pid in (71, 70):  # who serves, and who listens
        read += [f"grep -c /usr/lib/testbed/daemon.so /proc/{pid}/maps", f"grep VmLck /proc/{pid}/status"]
    to = "nbd-client 10.77.1.{} 10809 /dev/nbd0 -N swap -b 4096"
    assert server.lines == [serving, to.format(1), *read]
    assert client.lines == [to.format(3), serving, *read]
    for machine, address in ((client, "10.77.1.1"), (server, "10.77.1.3")):
        config = machine.files["/run/nbd-server.conf"]
        assert f"listenaddr = {address}\n[swap]\nexportname = /dev/testbed/served\n" in config


@pytest.mark.parametrize(
    ("variant", "settings"),
    [
        ("memalloc", "TESTBED_MEMALLOC=1"),
        ("less-throttle", "TESTBED_LESS_THROTTLE=1"),
        ("stacked", "TESTBED_LESS_THROTTLE=1 TESTBED_MEMALLOC=1"),
    ],
)
def test_what_is_set_for_a_daemon_is_set_on_both_machines(variant: str, settings: str) -> None:
    for machine in told(variant):
        assert [line for line in machine.lines if line.startswith(f"{PRELOADED} {settings} nbd-server ")]


def test_a_daemon_that_runs_without_its_settings_is_a_fault_of_the_testbed() -> None:
    with pytest.raises(TestbedFault, match="runs without its settings"):
        told("memalloc", library=False)


@pytest.mark.parametrize("machine", ["client", "server"])
@pytest.mark.parametrize("pid", [70, 71])
def test_who_serves_is_looked_at_and_not_only_who_listens(machine: str, pid: int) -> None:
    told(mlockall="on-fault")
    told(bare={machine: [pid]})
    with pytest.raises(TestbedFault, match=rf"nbd-server \({pid}\) is not locked in memory"):
        told(bare={machine: [pid]}, mlockall="on-fault")


def test_both_have_the_kernel_under_test_and_one_is_judged() -> None:
    under_test = PlannedKernel(spec=KernelSpec(base="6.1", sets=("dirty-limit-2007",)), digest="a" * 24)
    support = PlannedKernel(spec=KernelSpec(base="6.1"), digest="b" * 24)
    file = stage.read_playbook(PLAYBOOKS / "mke2fs-crossed.toml")
    kernels = stage.Kernels(under_test, support)
    plan = stage.plan(stage.topology_of(file), file, kernels, "image", Choices())
    assert {name: plan.kernels[plan.machine(name).kernel].digest[0] for name in "ABC"} == {
        "A": "a",
        "B": "b",
        "C": "a",
    }
    rules = plan.judging
    assert (rules.subject, rules.server, rules.finish_loads) == ("A", "C", ("mke2fs",))
    assert rules.ends_too == ("C/theirs",)
    assert rules.requires == ("dirty-limit",) and rules.second_client == ("B/second-client.reads",)
    assert plan.machine("A").sysctl == plan.machine("C").sysctl
    assert flows(plan)["swap.requests"].destination_port == 10809


def test_what_is_cut_off_by_nothing_is_judged_from_when_the_playbook_says() -> None:
    assert planned("mke2fs-crossed").judging.begin_at_s == 10
    assert planned("mke2fs-crossed", settings={"begin": "1min"}).judging.begin_at_s == 60
    assert planned("mke2fs").judging.begin_at_s == 11.5, "the heal"


@pytest.mark.parametrize("named", ["mke2fs", "second-client", "nobodys"])
def test_only_a_job_of_another_machine_can_end_too(named: str, tmp_path: Path) -> None:
    error = refused(tmp_path, CROSSED.replace('ends_too = ["theirs"]', f'ends_too = ["{named}"]', 1))
    assert f"no job '{named}' on another machine than 'A'" in error.message
    assert error.where is not None and error.where.endswith("judge.ends_too[0]")


def test_both_may_open_their_disks_with_o_direct() -> None:
    """The same servers with and without it, so that nothing else differs."""
    for variant, cache in (("direct", "none"), ("qemu", "writeback")):
        client, server = told(variant)
        for machine, address in ((client, "10.77.1.1"), (server, "10.77.1.3")):
            swap, lent = (line for line in machine.lines if " qemu-nbd " in line)
            assert f"--cache={cache} --pid-file=/run/qemu-nbd-swap.pid --bind={address} --port=10809" in swap
            assert "--cache=writeback" in lent and "--port=10810 --export-name=lent" in lent
    with pytest.raises(ValueError, match="nbd-server has no O_DIRECT"):
        transport_class("nbd-crossed").model_validate({"direct": True})


def test_a_alone_serves_itself() -> None:
    plan = planned("mke2fs-crossed", variant="local")
    assert plan.judging.ends_too == ()
    assert plan.transport is not None
    assert (plan.transport.kind, plan.transport.server, plan.judging.server) == ("local-nbd", "A", "A")
    assert [load.name for load in plan.loads] == ["mke2fs"]
    assert (plan.judging.heals, plan.judging.begin_at_s) == (("slow",), 10)


def test_a_disk_that_the_client_has_not_can_not_be_served_back(tmp_path: Path) -> None:
    error = refused(tmp_path, CROSSED.replace('disk = "served"', 'disk = "served"\nback = "swap"', 1))
    assert "machine 'A' has no disk 'swap' to serve" in error.message
    assert error.where is not None and error.where.endswith("transport.back")
