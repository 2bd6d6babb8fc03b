"""Owns a running lab: from a plan and what was built to three guests that are ready, and back to nothing.

Everything of a lab lives in its sandbox: guests, bridges, taps, rules, and in the sandbox's own
memory file system the guests' RAM, witness pages, seeds and disks. So all of it goes with it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from testbed import store
from testbed.clock import Deadline
from testbed.errors import TestbedFault
from testbed.faults import Fault, FaultTarget, fault_of
from testbed.images import BuiltImage
from testbed.introspection.ram import GuestMemory, symbol_address
from testbed.kernels import BuiltKernel
from testbed.kernels.cmdline import NO_GROUPS
from testbed.machines import accelerator, keys, layout, seed
from testbed.machines.console import Console
from testbed.machines.domain import WITNESS_BYTES, Disk, GuestSpec, Nic
from testbed.machines.hypervisor import Domain, Hypervisor
from testbed.machines.sandbox import Sandbox
from testbed.machines.wire import SHORT_QUEUE_FRAMES, USUAL_MTU, USUAL_QUEUE_FRAMES
from testbed.model import Plan, PlannedMachine
from testbed.plan.wiring import addresses, flows, taps
from testbed.run import boot, thin
from testbed.run.serving import Serving
from testbed.transports import Capping, Ends, Stacked, transport_of
from testbed.witnesses import Witness
from testbed.witnesses.host import ConsoleSize, DiskTraffic, DomainState, VcpuTime, Wire
from testbed.witnesses.memory import FREE_PAGES_SYMBOL, FreePages
from testbed.witnesses.page import OWN_SLOTS, State, WitnessPage
from testbed.witnesses.slots import SlotWitness

if TYPE_CHECKING:
    from testbed.machines.guest import Guest

SHARED = Path("/dev/shm")
"""The sandbox's own."""
READY_S = 40.0
SSH_S = 30.0
SLACK_BYTES = 64 << 20
TCG_SCALE = 10.0
"""How much longer a CPU-bound wait may take without KVM; kernel timers are never scaled."""
DISPLAYED_EVERY_TICKS = 4
"""Once a second (run/observe.py TICK_S)."""
BOOT_SHARE = 0.25
"""What of that READY_S and SSH_S are given: they are generous already."""

CMDLINE = "console=ttyS0,115200 loglevel=8 net.ifnames=0 panic=0 sysrq_always_enabled"
DISK_ROOT = "root=/dev/vda ro rootfstype=ext4 rootwait init=/usr/lib/testbed/init"


def _cmdline(plan: Plan, machine: PlannedMachine, kernel: BuiltKernel) -> str:
    """The kernel's command line, with the kinds of things that the machine has to do with in this plan."""
    given = [word for word in kernel.cmdline.split() if word != NO_GROUPS or not _has_groups(plan, machine)]
    root = DISK_ROOT if machine.root_from is None else ""
    line = " ".join(filter(None, [CMDLINE, root, *given, f"testbed.machine={machine.name}", machine.cmdline]))
    if plan.transport is None:
        return line
    kinds = [nic.model for nic in machine.nics] + [plan.transport.kind]
    roots = {name for each in plan.machines if each.root_from for name in (each.name, each.root_from)}
    kinds += ["nfs3"] if machine.name in roots else []
    kinds += [load.kind for load in plan.loads if load.machine == machine.name]
    transport = transport_of(plan.transport)
    if isinstance(transport, Stacked) and machine.name == plan.transport.client:
        kinds += transport.stack
    return f"{line} testbed.kinds={','.join(dict.fromkeys(kinds))}"


def _has_groups(plan: Plan, machine: PlannedMachine) -> bool:
    """Memory groups are there only where a daemon is bounded by one: they make reclaim another."""
    if plan.transport is None or machine.name != plan.transport.client:
        return False
    transport = transport_of(plan.transport)
    return isinstance(transport, Capping) and transport.memory_cap is not None


class Lab:
    """A context manager. Inside, `domains`, `pages`, `guests` and `consoles` are keyed by machine."""

    def __init__(self, plan: Plan, kernels: dict[str, BuiltKernel], image: BuiltImage, folder: Path) -> None:
        self.plan = plan
        self.kernels = kernels
        self.image = image
        self.folder = folder
        self.pages: dict[str, WitnessPage] = {}
        self.guests: dict[str, Guest] = {}
        self.domains: dict[str, Domain] = {}
        self.consoles = {m.name: Console(folder / store.console_name(m.name)) for m in plan.machines}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.accelerator = accelerator.choose(
                self.plan.accelerator, self._kernel(self.plan.machines[0]).boots
            )
            self.cpu_scale = TCG_SCALE if self.accelerator.kind == "tcg" else 1.0
            self.sandbox = stack.enter_context(Sandbox(shm_bytes=self._shm_bytes(), what=self.plan.cell))
            self.broker = self.sandbox.broker
            self.keys = keys.make_keys()
            self._make_network()
            specs = [self._make_machine(machine, stack) for machine in self.plan.machines]
            self.hypervisor = stack.enter_context(Hypervisor(self.sandbox.libvirt_uri))
            self.domains = self.hypervisor.start_all(specs)
            self._await_ready()
            self._log_in(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def keep(self) -> str:
        """Leaves the lab running in the care of a keeper; returns its id, for `testbed status` and `down`."""
        (self.sandbox.folder / "login").write_text(self.keys.login_private)
        (self.sandbox.folder / "login").chmod(0o600)
        (self.sandbox.folder / "host").write_text(self.keys.host_public)
        store.write_json(self.sandbox.folder / store.PLAN, self.plan.model_dump(mode="json"))
        (self.sandbox.folder / "consoles").symlink_to(self.folder.absolute(), target_is_directory=True)
        for machine in self.plan.machines:
            vmlinux = self._kernel(machine).vmlinux
            if vmlinux is not None:
                layout.vmlinux(self.sandbox.folder, machine.name).symlink_to(vmlinux)
        self.sandbox.keep()
        return self.sandbox.id

    @property
    def boot_scale(self) -> float:
        """How much longer guests may take to be ready."""
        return max(1.0, self.cpu_scale * BOOT_SHARE)

    @property
    def target(self) -> FaultTarget:
        """What faults act on: the host side of links, and the hypervisor."""
        return FaultTarget(
            self.broker,
            self.domains,
            taps(self.plan),
            flows(self.plan),
            self._servers(),
            addresses(self.plan),
        )

    def _servers(self) -> dict[str, Serving]:
        if self.plan.transport is None:
            return {}
        ends, transport = Ends.of(self.plan, self.cpu_scale), transport_of(self.plan.transport)
        return {
            name: Serving(name, self.guests[name], self.domains[name], self.pages[name], transport, ends)
            for name in self._served_by_others()
        }

    def _served_by_others(self) -> tuple[str, ...]:
        """The machines that serve another, and may be asked things and boot again."""
        transport = self.plan.transport
        return () if transport is None or transport.server == transport.client else (transport.server,)

    @property
    def faults(self) -> dict[str, Fault]:
        """The plan's faults, by name."""
        return {fault.name: fault_of(fault) for fault in self.plan.faults}

    def witnesses(self) -> list[Witness]:
        """All that is watched: shared memory, the broker's counters, QEMU. None asks a guest."""
        found: list[Witness] = [Wire(self.broker, self._tap_sources())]
        for machine in self.plan.machines:
            name, domain = machine.name, self.domains[machine.name]
            found += [
                SlotWitness(name, self.pages[name], self._slots(name)),
                VcpuTime(name, domain.vcpu_threads(), self.broker),
                DomainState(name, domain),
                ConsoleSize(name, self.consoles[name]),
                *(DiskTraffic(name, disk.name, domain.block_stats) for disk in machine.disks),
            ]
        return [*found, *self._free_pages()]

    @property
    def subject(self) -> Domain:
        """The guest that is judged."""
        return self.domains[self.plan.judging.subject]

    @property
    def subject_vmlinux(self) -> Path | None:
        """The debug information of its kernel; a distribution's has none."""
        return self._kernel(self.plan.machine(self.plan.judging.subject)).vmlinux

    def subject_console(self) -> Console:
        """The subject's console, to be read from its beginning."""
        return Console(self.consoles[self.plan.judging.subject].path)

    def _slots(self, machine: str) -> dict[str, tuple[int, str]]:
        return {name: (slot, name) for name, slot in OWN_SLOTS.items()} | {
            load.name: (load.slot, load.page_kind) for load in self.plan.loads if load.machine == machine
        }

    def _tap_sources(self) -> dict[str, str]:
        return {f"{machine}/tap.{link}": tap for (machine, link), tap in taps(self.plan).items()}

    def _free_pages(self) -> Iterator[Witness]:
        """Read from each guest's RAM, the subject's on every beat: the others' only the display shows."""
        addresses: dict[str, int] = {}
        for machine in self.plan.machines:
            name, kernel = machine.name, self._kernel(machine)
            if kernel.digest not in addresses:
                addresses[kernel.digest] = symbol_address(self._symbols(name, kernel), FREE_PAGES_SYMBOL)
            fd = self.broker.guest_memory(name)
            self._stack.callback(os.close, fd)
            seldom = name != self.plan.judging.subject
            every_ticks = DISPLAYED_EVERY_TICKS if seldom else 1
            yield FreePages(name, GuestMemory(fd), addresses[kernel.digest], every_ticks)

    def _symbols(self, machine: str, kernel: BuiltKernel) -> list[str]:
        """Where the kernel has them: its System.map; of a prebuilt one the running kernel is asked, once."""
        listed = kernel.folder / "System.map"
        if listed.is_file():
            return listed.read_text().splitlines()
        argv = ["grep", FREE_PAGES_SYMBOL, "/proc/kallsyms"]
        return self.guests[machine].run(argv, timeout_s=30).stdout.splitlines()

    # --- what is made before boot

    def _kernel(self, machine: PlannedMachine) -> BuiltKernel:
        return self.kernels[machine.kernel]

    def _shm_bytes(self) -> int:
        own = sum(
            machine.memory_bytes + WITNESS_BYTES + sum(disk.size_bytes for disk in machine.disks)
            for machine in self.plan.machines
        )
        return own + SLACK_BYTES

    def _make_network(self) -> None:
        for link in self.plan.links:
            self.broker.make_link(link.bridge, address=link.host_address, mtu=link.mtu or USUAL_MTU)
        for machine in self.plan.machines:
            # The others read all the time: what their taps dropped of a burst would be a fault of ours.
            short = machine.name == self.plan.judging.subject
            frames = SHORT_QUEUE_FRAMES if short else USUAL_QUEUE_FRAMES
            for nic in machine.nics:
                link = next(link for link in self.plan.links if link.name == nic.link)
                mtu, queues = link.mtu or USUAL_MTU, nic.queues or 1
                self.broker.make_tap(nic.tap, link.bridge, mac=nic.mac, queues=queues, mtu=mtu, frames=frames)
        for name, flow in flows(self.plan).items():
            self.broker.count(name, flow)

    def _make_machine(self, machine: PlannedMachine, stack: ExitStack) -> GuestSpec:
        page_fd = self.broker.make_shared(f"witness-{machine.name}", WITNESS_BYTES)
        try:
            self.pages[machine.name] = stack.enter_context(WitnessPage(page_fd))
        finally:
            os.close(page_fd)
        conf = seed.machine_conf(machine, self.plan.machines, self.plan.links)
        kernel = self._kernel(machine)
        initrd = self._lay_seed(machine, kernel, seed.build(conf, self.keys))
        for disk in machine.disks:
            os.close(self.broker.make_shared(f"{machine.name}-{disk.name}", disk.size_bytes))
        return GuestSpec(
            name=machine.name,
            memory_bytes=machine.memory_bytes,
            vcpus=machine.vcpus,
            kernel=kernel.boots,
            initrd=initrd,
            cmdline=_cmdline(self.plan, machine, kernel),
            console=self.consoles[machine.name].path.absolute(),
            accelerator=self.accelerator.domain_type,
            disks=self._disks(machine),
            nics=tuple(Nic(nic.tap, nic.mac, nic.model, nic.queues or 1) for nic in machine.nics),
            witness=f"witness-{machine.name}",
            may_restart=machine.name in self._served_by_others(),
        )

    def _lay_seed(self, machine: PlannedMachine, kernel: BuiltKernel, tar: bytes) -> Path | None:
        """Lays the seed where the guest finds it: on a disk, or in its first root, which is returned."""
        if machine.root_from is None:
            self._fill_shared(f"seed-{machine.name}", tar)
            return kernel.initrd
        self._fill_shared(f"thin-{machine.name}", thin.first_root(self.image.root, tar, kernel.initrd))
        return SHARED / f"thin-{machine.name}"

    def _fill_shared(self, name: str, data: bytes) -> None:
        with os.fdopen(self.broker.make_shared(name, len(data)), "wb") as file:
            file.write(data)

    def _disks(self, machine: PlannedMachine) -> tuple[Disk, ...]:
        own = tuple(Disk(SHARED / f"{machine.name}-{disk.name}", disk.name) for disk in machine.disks)
        if machine.root_from is not None:
            return own
        return (
            Disk(self.image.root.resolve(), "root", readonly=True),
            Disk(SHARED / f"seed-{machine.name}", "seed", readonly=True),
            *own,
        )

    # --- from power-on to ready

    def _await_ready(self) -> None:
        boot.await_all(
            list(self.pages),
            [machine.name for machine in self.plan.under_test],
            self._ready,
            self.consoles.__getitem__,
            READY_S * self.boot_scale,
        )

    def _ready(self, name: str) -> bool:
        if self.domains[name].state() not in ("running", "unknown"):
            raise TestbedFault(f"its domain is {self.domains[name].state()}")
        if boot.PANIC in self.consoles[name].tail():
            raise TestbedFault("its kernel panicked")
        return self.pages[name].state(OWN_SLOTS["machine"]) == State.READY

    def _log_in(self, stack: ExitStack) -> None:
        # fabric and paramiko take a tenth of a second to import, which no command without a lab should.
        from testbed.machines.guest import PORT, Guest

        for machine in self.plan.machines:
            address = self.plan.management_address(machine)
            guest = Guest(machine.name, lambda address=address: self.broker.connect(address, PORT), self.keys)  # type: ignore[misc]
            stack.callback(guest.close)
            self.guests[machine.name] = guest
        deadline = Deadline.after(SSH_S * self.boot_scale, "SSH of all guests")
        with ThreadPoolExecutor(len(self.guests)) as pool:
            for connected in [pool.submit(guest.connect, deadline) for guest in self.guests.values()]:
                connected.result()
