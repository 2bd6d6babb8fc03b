"""What works in the guests: memory that is swapped, the service, the flood, jobs.

A load is one file: a frozen pydantic model with a `kind`; its fields are its keys in the TOML.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, Self

from testbed import plugins
from testbed.errors import TestbedFault
from testbed.model import Plan, PlannedLoad, PlannedMachine, Value
from testbed.transports import Guest, transport_of

AGENT = "/usr/lib/testbed/agent"
MAKE_S = 20.0
"""How long the making of a file system may take, where the guest has KVM."""

Needed = tuple[str, Literal["machine", "load", "disk", "device", "lender", "tcp"], str]
"""A key of the load, what it names, and the name: ("service", "load", "service").

A `device` is any block device of the transport, a `lender` a transport that serves other machines too,
`tcp` a load that takes TCP connections.
"""


@dataclass(frozen=True, slots=True)
class LoadContext:
    """What a load is started with. `available_bytes`: MemAvailable measured when the machine was ready."""

    plan: Plan
    load: PlannedLoad
    available_bytes: int | None = None
    cpu_scale: float = 1.0

    @property
    def machine(self) -> PlannedMachine:
        return self.plan.machine(self.load.machine)

    def address(self, machine: str, link: str) -> str:
        """A machine's address on a link."""
        return next(nic.address for nic in self.plan.machine(machine).nics if nic.link == link)

    def other(self, name: str) -> Load:
        """Another load of the plan."""
        return load_of(next(load for load in self.plan.loads if load.name == name))

    def transport_devices(self) -> tuple[str, ...]:
        """The block devices that the transport gives to its client."""
        return transport_of(self.plan.transport).block_devices if self.plan.transport else ()

    def own_seed(self) -> int:
        """A seed of this load alone, from the plan's."""
        return self.seed_of(self.load)

    def seed_of(self, load: PlannedLoad) -> int:
        """That of another load of its machine."""
        return self.plan.seed << 16 | load.slot


class Load(Protocol):
    """A load. Its process has the slot layout `page_kind` (testbed/guest/witness.h).

    `parts`: the load as one value for each process it wants. `needs`: what its keys name, for the
    plan to check. `progress`: fields of its own slot that count its work. `devices`: block devices
    (of /sys/block) whose completions are its progress. `prepare` runs before the load, on an idle
    guest; `argv` is for the agent, and returns once the slot is ready. `kernel_options` are those of its
    machine's kernel that it needs, `least_bytes` the memory that it fills, if it is one that fills it.
    """

    kind: ClassVar[str]
    page_kind: ClassVar[str]
    finish: ClassVar[Literal["sweep", "exit"] | None]
    progress: ClassVar[tuple[str, ...]]

    @property
    def kernel_options(self) -> tuple[str, ...]: ...

    def parts(self, *, prebuilt: bool) -> tuple[Self, ...]: ...

    def needs(self) -> tuple[Needed, ...]: ...

    def devices(self, machine: PlannedMachine) -> tuple[str, ...]: ...

    def least_bytes(self, machine: PlannedMachine) -> int: ...

    def prepare(self, guest: Guest, context: LoadContext) -> None: ...

    def argv(self, slot: int, context: LoadContext) -> list[str]: ...


class OneProcess(Value):
    """What loads of one process that need nothing have in common; a load need not be one."""

    finish: ClassVar[Literal["sweep", "exit"] | None] = None
    progress: ClassVar[tuple[str, ...]] = ()

    @property
    def kernel_options(self) -> tuple[str, ...]:
        return ()

    def parts(self, *, prebuilt: bool) -> tuple[Self, ...]:
        return (self,)

    def needs(self) -> tuple[Needed, ...]:
        return ()

    def devices(self, machine: PlannedMachine) -> tuple[str, ...]:
        return ()

    def least_bytes(self, machine: PlannedMachine) -> int:
        return 0

    def prepare(self, guest: Guest, context: LoadContext) -> None:
        pass


def load_class(kind: str, *, where: str = "") -> type[Any]:
    """The load of that kind. Raises UsageError with the nearest one."""
    return plugins.find(__name__, Load, kind, where=where)


def load_of(planned: PlannedLoad) -> Load:
    """The load of a plan, with its options."""
    load: Load = load_class(planned.kind).model_validate(planned.options)
    return load


def agent(program: str, slot: int, options: Mapping[str, object]) -> list[str]:
    """The command that starts a program of the agent and returns once its slot is ready."""
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return [AGENT, program, "--slot", str(slot), "--detach", *words]


def disk_device(machine: PlannedMachine, disk: str) -> str:
    """The name in /sys/block of a machine's own disk: they come in their order, after root and seed.

    A machine whose root comes from another has neither of those two.
    """
    first = "c" if machine.root_from is None else "a"
    for number, known in enumerate(machine.disks):
        if known.name == disk:
            return f"vd{chr(ord(first) + number)}"
    raise TestbedFault(f"machine '{machine.name}' has no disk '{disk}'")


def disk_folder(disk: str) -> str:
    """Where mount_disk() mounts a machine's own disk."""
    return f"/mnt/{disk}"


def mount_disk(guest: Guest, context: LoadContext, disk: str) -> None:
    """The first load that wants files on a disk makes the file system that all of them lie on."""
    timeout_s, folder = MAKE_S * context.cpu_scale, disk_folder(disk)
    if guest.run(["grep", "-q", f" {folder} ", "/proc/mounts"], timeout_s=timeout_s, check=False).status:
        device = f"/dev/testbed/{disk}"
        # No journal, whose thread would need memory too; few inodes, which are written at once.
        make = ["mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-b", "4096", "-N", "64"]
        guest.run([*make, "-E", "nodiscard,lazy_itable_init=0", device], timeout_s=timeout_s)
        guest.run(["mkdir", "-p", folder], timeout_s=timeout_s)
        guest.run(["mount", "-t", "ext4", "-o", "noatime", device, folder], timeout_s=timeout_s)
