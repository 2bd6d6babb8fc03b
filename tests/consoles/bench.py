"""Owns a bench of guests that are there to be broken: one lab, any kernels, ready to be told what to do.

Not `run.lab`, whose guests follow a plan: here each guest has its own kernel, size and command line, and
one that panics before it is ready is no fault of the bench.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from testbed.clock import Deadline, poll
from testbed.images import BuiltImage
from testbed.kernels import BuiltKernel
from testbed.machines import keys, seed
from testbed.machines.domain import WITNESS_BYTES, Disk, GuestSpec, Nic
from testbed.machines.guest import PORT, Guest
from testbed.machines.hypervisor import Domain, Hypervisor
from testbed.machines.sandbox import Sandbox
from testbed.machines.wire import Flow
from testbed.model import PlannedLink, PlannedMachine, PlannedNic
from testbed.witnesses.page import State, WitnessPage

READY_S = 240.0
SSH_S = 120.0
SLACK_BYTES = 96 << 20
LINKS = (
    PlannedLink(
        name="mgmt", bridge="br-mgmt", subnet="10.76.0.0/24", management=True, host_address="10.76.0.254/24"
    ),
    PlannedLink(name="data", bridge="br-data", subnet="10.77.1.0/24", management=False),
)
MODELS = {"mgmt": "rtl8139", "data": "e1000e"}
CMDLINE = (
    "root=/dev/vda ro rootfstype=ext4 init=/usr/lib/testbed/init "
    "nokaslr net.ifnames=0 panic=0 transparent_hugepage=never sysrq_always_enabled"
)


@dataclass(frozen=True)
class Place:
    """One guest of the bench: what it boots, its size, what its kernel is told, whether it comes up."""

    name: str
    kernel: BuiltKernel
    memory_bytes: int
    vcpus: int = 1
    cmdline: str = "console=ttyS0,115200 loglevel=8 cgroup_disable=memory"
    disk_bytes: int = 0
    boots: bool = True


class Bench:
    """A context manager. Inside, `guests`, `domains` and `consoles` (files) are keyed by name."""

    def __init__(self, places: Sequence[Place], image: BuiltImage, folder: Path) -> None:
        self.places = tuple(places)
        self.guests: dict[str, Guest] = {}
        self.domains: dict[str, Domain] = {}
        self.consoles = {place.name: folder.absolute() / f"{place.name}.log" for place in places}
        self._image = image
        self._machines = [_machine(place, number) for number, place in enumerate(places, 1)]
        self._pages: dict[str, WitnessPage] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            own = sum(place.memory_bytes + place.disk_bytes + WITNESS_BYTES for place in self.places)
            self.sandbox = stack.enter_context(Sandbox(shm_bytes=own + SLACK_BYTES, what="consoles"))
            self.broker = self.sandbox.broker
            self._keys = keys.make_keys()
            for link in LINKS:
                self.broker.make_link(link.bridge, address=link.host_address)
            specs = [
                self._spec(place, machine, stack)
                for place, machine in zip(self.places, self._machines, strict=True)
            ]
            hypervisor = stack.enter_context(Hypervisor(self.sandbox.libvirt_uri))
            self.domains = hypervisor.start_all(specs)
            self._await_ready()
            self._log_in(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def address(self, name: str) -> str:
        """Its address on the data link."""
        machine = next(machine for machine in self._machines if machine.name == name)
        return next(nic.address for nic in machine.nics if nic.link == "data")

    def tap(self, name: str) -> str:
        """The host's end of its data cable."""
        return f"{name}-data"

    def cut(self, name: str, other: str) -> None:
        """Silently drops all between the two, both ways."""
        there = Flow(self.tap(name), self.tap(other))
        self.broker.block(f"cut.{name}", (there, there.back))

    def heal(self, name: str) -> None:
        self.broker.unblock(f"cut.{name}")

    # --- what is made before boot

    def _spec(self, place: Place, machine: PlannedMachine, stack: ExitStack) -> GuestSpec:
        for nic in machine.nics:
            bridge = next(link.bridge for link in LINKS if link.name == nic.link)
            self.broker.make_tap(nic.tap, bridge)
        page = self.broker.make_shared(f"witness-{place.name}", WITNESS_BYTES)
        try:
            self._pages[place.name] = stack.enter_context(WitnessPage(page))
        finally:
            os.close(page)
        tar = seed.build(seed.machine_conf(machine, self._machines, LINKS), self._keys)
        with os.fdopen(self.broker.make_shared(f"seed-{place.name}", len(tar)), "wb") as file:
            file.write(tar)
        shared = Path("/dev/shm")  # the sandbox's own
        disks = [
            Disk(self._image.root.resolve(), "root", readonly=True),
            Disk(shared / f"seed-{place.name}", "seed", readonly=True),
        ]
        if place.disk_bytes:
            os.close(self.broker.make_shared(f"disk-{place.name}", place.disk_bytes))
            disks.append(Disk(shared / f"disk-{place.name}", "disk"))
        return GuestSpec(
            name=place.name,
            memory_bytes=place.memory_bytes,
            vcpus=place.vcpus,
            kernel=place.kernel.boots,
            initrd=place.kernel.initrd,
            cmdline=f"{CMDLINE} {place.cmdline} testbed.machine={place.name}",
            console=self.consoles[place.name],
            disks=tuple(disks),
            nics=tuple(Nic(nic.tap, nic.mac, nic.model) for nic in machine.nics),
            witness=f"witness-{place.name}",
        )

    # --- from power-on to ready

    def _await_ready(self) -> None:
        deadline = Deadline.after(READY_S, "boot of all guests")
        for place in self.places:
            page = self._pages[place.name]
            if place.boots:
                poll(lambda page=page: page.state(0) == State.READY, deadline)  # type: ignore[misc]

    def _log_in(self, stack: ExitStack) -> None:
        for place, machine in zip(self.places, self._machines, strict=True):
            if not place.boots:
                continue
            address = next(nic.address for nic in machine.nics if nic.link == "mgmt")
            guest = Guest(
                machine.name,
                lambda address=address: self.broker.connect(address, PORT),  # type: ignore[misc]
                self._keys,
            )
            stack.callback(guest.close)
            self.guests[machine.name] = guest
        deadline = Deadline.after(SSH_S, "SSH of all guests")
        with ThreadPoolExecutor(max(1, len(self.guests))) as pool:
            for connected in [pool.submit(guest.connect, deadline) for guest in self.guests.values()]:
                connected.result()


def _machine(place: Place, number: int) -> PlannedMachine:
    nics = tuple(
        PlannedNic(
            link=link.name,
            model=MODELS[link.name],
            mac=f"52:54:00:{index:02x}:00:{number:02x}",
            address=f"{link.subnet.rpartition('.')[0]}.{number}",
            tap=f"{place.name}-{link.name}",
            ifname=link.name,
        )
        for index, link in enumerate(LINKS)
    )
    return PlannedMachine(
        name=place.name,
        memory_bytes=place.memory_bytes,
        vcpus=place.vcpus,
        kernel=place.name,
        nics=nics,
        disks=(),
    )
