"""What goes wrong on purpose: from the host, read back, and reverted with the guest dead.

A fault is one file: a frozen pydantic model with a `kind`; its fields are its keys in the TOML.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, Self

from pydantic import model_validator

from testbed import plugins
from testbed.errors import TestbedFault, UsageError, nearest
from testbed.machines.wire import Count, Flow, Queue
from testbed.model import PlannedFault, Value

Direction = Literal["both", "forth", "back"]


class FaultNetwork(Protocol):
    """The broker, as far as faults need it (machines/client.py)."""

    def block(self, name: str, flows: Sequence[Flow]) -> None: ...

    def unblock(self, name: str) -> None: ...

    def reset(self, name: str, flows: Sequence[Flow]) -> None: ...

    def readdress(self, name: str, tap: str, old: str, new: str) -> None: ...

    def damage(self, name: str, flows: Sequence[Flow], share: float) -> None: ...

    def blocked(self) -> dict[str, Count]: ...

    def limit_rate(self, tap: str, bits_per_s: int) -> None: ...

    def delay(self, tap: str, seconds: float) -> None: ...

    def queues(self) -> dict[str, Queue]: ...

    def crowd(self, name: str, threads: Sequence[int], spinners: int) -> None: ...

    def disperse(self, name: str) -> None: ...

    def crowds(self) -> dict[str, int]: ...

    def guest_memory(self, domain: str, *, writable: bool = False) -> int: ...


class FaultDomain(Protocol):
    """A guest, as far as faults need it (machines/hypervisor.py)."""

    def state(self) -> str: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def set_link(self, tap: str, up: bool) -> None: ...

    def link(self, tap: str) -> bool: ...

    def vcpu_threads(self) -> tuple[int, ...]: ...

    def sysrq(self, key: str) -> bool: ...

    def limit_disk(self, disk: str, bytes_per_s: int) -> None: ...

    def disk_limit(self, disk: str) -> int: ...


class FaultServer(Protocol):
    """The machine that serves the swap, as far as faults need it (run/serving.py).

    It is not the one under test, so it may be asked to do something; each call is bounded, since it may be
    dead all the same.
    """

    def serves(self) -> bool: ...

    def kill(self) -> None: ...

    def reset(self) -> None: ...

    def revive(self) -> None: ...

    def fill(self) -> None: ...

    def empty(self) -> None: ...

    def is_full(self) -> bool: ...


@dataclass(frozen=True)
class FaultTarget:
    """What faults act on: `taps` and `addresses` by (machine, link), `flows` by name (`swap.requests`)."""

    network: FaultNetwork
    domains: Mapping[str, FaultDomain]
    taps: Mapping[tuple[str, str], str]
    flows: Mapping[str, Flow] = field(default_factory=dict)
    servers: Mapping[str, FaultServer] = field(default_factory=dict)
    addresses: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def tap(self, machine: str, link: str) -> str:
        """The host's end of a machine's cable. Raises UsageError."""
        if (machine, link) not in self.taps:
            known = [f"{machine} on {link}" for machine, link in self.taps]
            raise UsageError(
                f"no NIC of machine '{machine}' on link '{link}'", hint=nearest(f"{machine} on {link}", known)
            )
        return self.taps[machine, link]

    def domain(self, machine: str) -> FaultDomain:
        """A machine's guest. Raises UsageError."""
        if machine not in self.domains:
            raise UsageError(f"no machine '{machine}'", hint=nearest(machine, self.domains))
        return self.domains[machine]

    def server(self, machine: str) -> FaultServer:
        """What a machine serves. Raises UsageError."""
        if machine not in self.servers:
            raise UsageError(f"machine '{machine}' serves nothing", hint=nearest(machine, self.servers))
        return self.servers[machine]

    def between(self, machines: tuple[str, str], link: str, direction: Direction) -> tuple[Flow, ...]:
        """All that two machines send each other on a link: "forth" is from the first to the second."""
        forth = Flow(self.tap(machines[0], link), self.tap(machines[1], link))
        return {"both": (forth, forth.back), "forth": (forth,), "back": (forth.back,)}[direction]

    def queue(self, machine: str, link: str) -> Queue:
        """What holds up all that goes to a machine on a link. Raises UsageError."""
        return self.network.queues().get(self.tap(machine, link), Queue())

    def named_flows(self, name: str) -> tuple[Flow, ...]:
        """The flow of that name, or all whose names begin with it and a dot. Raises UsageError."""
        found = tuple(
            flow for known, flow in self.flows.items() if known == name or known.startswith(f"{name}.")
        )
        if not found:
            raise UsageError(f"no flow '{name}'", hint=nearest(name, self.flows))
        return found

    def covered(self, blocks: Sequence[Flow]) -> tuple[str, ...]:
        """The counted flows of which such blocks let nothing pass, by name."""
        return tuple(
            name for name, flow in self.flows.items() if any(_covers(block, flow) for block in blocks)
        )


def _covers(block: Flow, flow: Flow) -> bool:
    """Whether every frame of `flow` is one of `block`."""
    if (block.source, block.destination) != (flow.source, flow.destination):
        return False
    return block.protocol in ("", flow.protocol) and all(
        theirs in (0, ours)
        for theirs, ours in (
            (block.source_port, flow.source_port),
            (block.destination_port, flow.destination_port),
        )
    )


class Fault(Protocol):
    """A fault. All may be called at any time; none waits for the guest under test; errors are TestbedFault.

    `machines` names the machines it concerns, for the plan to check. `cuts` names the counted flows
    of which nothing passes while it is in force: the judge holds the wire's counters against it.
    One that is not `lasting` is a deed and no state: `apply` itself raises unless it was seen to be
    done, there is nothing to revert, and a playbook that heals it is refused.

    What else the plan asks of one, where it has it: what it needs for itself (`holds`, in words), so that no
    two that name the same are in force at a time: the end of one would be the end of both. And of its class:
    whether its `machine` must be the one that serves (`of_server`) and can serve again (`serves_again`), from
    a file that grows (`needs_store`), by packets that have their checksums on the wire
    (`needs_checksums`), of a flow that is TCP (`needs_tcp`). And the run: whether it is inside a guest alone
    and its revert has to wait for that one (`ends_with_lab`): then it is left to go with its lab.
    """

    kind: ClassVar[str]
    lasting: ClassVar[bool]

    @property
    def machines(self) -> tuple[str, ...]: ...

    def cuts(self, target: FaultTarget) -> tuple[str, ...]: ...

    def apply(self, target: FaultTarget) -> None: ...

    def in_force(self, target: FaultTarget) -> bool: ...

    def revert(self, target: FaultTarget) -> None: ...


class OnMachine(Value):
    """What faults of one machine have in common; a fault need not be one.

    They cut no counted flow: packets get through, in part or late, or are lost in the machine,
    which is behind the counters.
    """

    kind: ClassVar[str]

    machine: str

    @property
    def machines(self) -> tuple[str, ...]:
        return (self.machine,)

    @property
    def holds(self) -> str:
        return f"the {self.kind} of '{self.machine}'"

    def cuts(self, target: FaultTarget) -> tuple[str, ...]:
        return ()


class OnServed(OnMachine):
    """What faults of what a machine serves have in common, of which it has one at a time."""

    of_server: ClassVar[bool] = True
    ends_with_lab: ClassVar[bool] = True

    @property
    def holds(self) -> str:
        return f"what '{self.machine}' serves"


class OfServer(OnServed):
    """What faults of the machine that serves have in common: they are over when it serves again."""

    serves_again: ClassVar[bool] = True

    def in_force(self, target: FaultTarget) -> bool:
        return not target.server(self.machine).serves()

    def revert(self, target: FaultTarget) -> None:
        server = target.server(self.machine)
        try:
            serves = server.serves()
        except TestbedFault:
            serves = False  # whether it does is read back when it was told to
        if not serves:
            server.revive()


class OnQueue(OnMachine):
    """What faults have in common that need the queue before a machine: a tap has one."""

    link: str = "data"

    @property
    def holds(self) -> str:
        return f"the queue before '{self.machine}' on '{self.link}'"


class Block(Value):
    """What faults have in common that the lab's network keeps under a name; a fault need not be one."""

    @property
    @abstractmethod
    def block(self) -> str:
        """Under which name the broker keeps it."""

    @property
    def holds(self) -> str:
        return f"the block '{self.block}'"

    def in_force(self, target: FaultTarget) -> bool:
        return self.block in target.network.blocked()

    def revert(self, target: FaultTarget) -> None:
        target.network.unblock(self.block)


class OnFlows(Block):
    """What faults of packets between two machines have in common; a fault need not be one.

    `flow` names a conversation, or one direction of it; else `between = ["A", "C"]` is all on `link`, of
    which `direction` may pick "forth" (A to C only) or "back".
    """

    kind: ClassVar[str]

    flow: str | None = None
    between: tuple[str, str] | None = None
    direction: Direction = "both"
    link: str = "data"

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.flow is None) == (self.between is None):
            raise ValueError("exactly one of 'flow' and 'between'")
        if self.flow is not None and (self.direction, self.link) != ("both", "data"):
            raise ValueError(
                "'direction' and 'link' go with 'between'; of a flow name a part: \"swap.replies\""
            )
        return self

    @property
    def machines(self) -> tuple[str, ...]:
        return self.between or ()

    def flows(self, target: FaultTarget) -> tuple[Flow, ...]:
        """The packets that it is about. Raises UsageError."""
        if self.between is None:
            return target.named_flows(self.flow or "")
        return target.between(self.between, self.link, self.direction)

    @property
    def block(self) -> str:
        place = (self.flow,) if self.flow else (self.link, *(self.between or ()), self.direction)
        return ".".join((self.kind, *place))


def fault_class(kind: str, *, where: str = "") -> type[Any]:
    """The fault of that kind. Raises UsageError with the nearest one."""
    return plugins.find(__name__, Fault, kind, where=where)


def fault_of(planned: PlannedFault) -> Fault:
    """The fault of a plan, with its options."""
    fault: Fault = fault_class(planned.kind).model_validate(planned.options)
    return fault
