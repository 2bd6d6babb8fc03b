"""Owns the frozen values that flow from plan to report: what a cell is, before anything boots."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

SCHEMA = 1

Outcome = Literal[
    "recovered",
    "slow",
    "starved",
    "deadlocked",
    "stalled",
    "livelocked",
    "oom-killed",
    "io-error",
    "crashed",
    "corrupt",
    "fragmented",
    "server-down",
    "network-down",
    "inconclusive",
]
"""What a verdict can come to: see docs/verdicts.md."""

PreconditionName = Literal[
    "in-flight", "still", "exhausted", "reclaiming", "tcp-limit", "served", "burned", "dirty-limit"
]
"""What a playbook may require of a cell, without which it says nothing: testbed/judge/preconditions.py."""

SEEN_INSIDE: frozenset[PreconditionName] = frozenset({"tcp-limit", "burned"})
"""Those of them that only a look into the guest shows."""


class Value(BaseModel):
    """Base of the plan's values: frozen, no unknown keys, JSON both ways."""

    # Its validator is built when it is first used: a command that reads no playbook does not pay for all.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class PlannedNic(Value):
    """One NIC: `tap` is its host side, `ifname` its name in the guest (its link's name).

    `queues` are its pairs of queues, None for what the model has.
    """

    link: str
    model: str
    mac: str
    address: str
    tap: str
    ifname: str
    rx_ring: int | None = None
    queues: int | None = None


class PlannedDisk(Value):
    """An empty disk made for the cell; in the guest `/dev/testbed/NAME`."""

    name: str
    size_bytes: int


class PlannedMachine(Value):
    """One guest. `kernel` is a key of `Plan.kernels`; `cmdline` are words beside the lab's own.

    `root_from` is the machine that its root comes from over NFS, None for a disk of its own.
    """

    name: str
    memory_bytes: int
    vcpus: int
    kernel: str
    nics: tuple[PlannedNic, ...]
    disks: tuple[PlannedDisk, ...]
    sysctl: dict[str, str] = {}
    cmdline: str = ""
    root_from: str | None = None


class PlannedLink(Value):
    """One bridge in the lab's network namespace; `host_address` only on the management link.

    `mtu` is that of the bridge and of every NIC on it, None for the usual one.
    """

    name: str
    bridge: str
    subnet: str
    management: bool
    host_address: str | None = None
    mtu: int | None = None


DEFAULT_BASE = "6.1"
"""Taken where no base is named, and left out of a kernel's name."""


class KernelSpec(Value):
    """What to boot: `base` plus patch sets in order, or a prebuilt package.

    Written `SET[+SET...][@BASE]`: `stock`, `vanilla-2007`, `stock@6.1`; `debian` is the prebuilt.
    """

    base: str
    sets: tuple[str, ...] = ()
    prebuilt: bool = False

    @property
    def label(self) -> str:
        if self.prebuilt:
            return "debian"
        return "+".join(self.sets) or "stock"

    @property
    def name(self) -> str:
        """The label, and the base if it is another than what is taken where none is named."""
        return self.label if self.prebuilt or self.base == DEFAULT_BASE else f"{self.label}@{self.base}"


class PlannedKernel(Value):
    """A kernel by content: `digest` names its folder in the kernel cache."""

    spec: KernelSpec
    digest: str


class PlannedLoad(Value):
    """A process of ours in a guest: `slot` is its place in the machine's witness page.

    `options` are the plugin's own fields, validated by it (loads/KIND.py). `page_kind` is the layout
    of the slot (testbed/guest/witness.h). An `early` load runs from before the steady state on.
    """

    name: str
    kind: str
    machine: str
    slot: int
    page_kind: str
    start: Literal["early", "timeline"]
    options: dict[str, Any]


class PlannedTransport(Value):
    """How A reaches its swap (or file system) on C; `options` as for loads (transports/KIND.py)."""

    kind: str
    client: str
    server: str
    options: dict[str, Any]


class PlannedEvent(Value):
    """One deed of the timeline, `at_s` seconds after the steady state was reached."""

    at_s: float
    do: Literal["apply", "revert", "start", "stop"]
    name: str


class PlannedFault(Value):
    """A fault by name; `options` as for loads (faults/KIND.py)."""

    name: str
    kind: str
    options: dict[str, Any]


class BlockRule(Value):
    """How much of free memory must still lie in blocks of 2 to the power of `order` pages, once all is over.

    `least` is the share of what it was before: what is left of it, with the loads ended, is measured.
    """

    order: int
    least: float


class Judging(Value):
    """All that the judge is told of the playbook; never a kernel's name nor an expectation.

    Series are named `SOURCE.FIELD`, e.g. `A/anonymous.work_units`. `heals` names the faults
    whose revert is the judging point; without any it is the end of the timeline. `faults` are
    all that the timeline applies: one that is not in the history as in force voids the cell.
    `devices` are where the requests that are asked about go, as snapshots name it (`nbd0`, `nfs`).
    `second_client` are counters of what the server did for another machine. `backing` is the source where
    the host counts what the server does with the disk that it serves. `server` is the machine whose
    contention would also fake slowness; it is the subject where that serves itself. The judging point lies
    at `begin_at_s` on the timeline: where nothing is healed, where the heal would have been. A proof of a
    deadlock ends the judging `watch_s` later, before the bound. `through` are loads of others that go on
    through the heal and are stopped after it: how it went under them is judged apart.
    """

    subject: str
    server: str | None = None
    faults: tuple[str, ...] = ()
    progress: tuple[str, ...]
    in_flight: str | None
    devices: tuple[str, ...] = ()
    second_client: tuple[str, ...] = ()
    backing: str | None = None
    free_pages: tuple[str, ...] = ()
    heals: tuple[str, ...]
    through: tuple[str, ...] = ()
    blocks: BlockRule | None = None
    requires: tuple[PreconditionName, ...]
    finish: Literal["sweep", "exit"]
    finish_loads: tuple[str, ...]
    ends_too: tuple[str, ...] = ()
    still_s: float = 5.0
    bound_s: float = 300.0
    begin_at_s: float = 0.0
    slow_share: float = 0.25
    rate_window_s: float = 5.0
    finish_s: float = 120.0
    watch_s: float = 0.0


class Labels(Value):
    """What people call the cell. The judge never sees it.

    `control`: `expect` must come out, whatever the kernel, or the testbed is wrong. Cells of before there
    were hypotheses of variants have None: what was expected of a variant then was a control.
    """

    playbook: str
    form: str
    variant: str
    kernel: str
    nic: str
    transport: str
    repeat: int
    expect: str | None
    control: bool | None = None


class Plan(Value):
    """One cell, absolute: addresses, events, content hashes and a seed. Written before anything boots.

    `watched_devices` are the block devices of the judged machine, as its /sys/block names them, in
    the order in which the blocksampler numbers them. Without a transport the lab is to play with.
    """

    schema_version: int = SCHEMA
    cell: str
    seed: int
    accelerator: Literal["auto", "kvm", "tcg"]
    labels: Labels
    links: tuple[PlannedLink, ...]
    machines: tuple[PlannedMachine, ...]
    kernels: dict[str, PlannedKernel]
    image: str
    transport: PlannedTransport | None
    loads: tuple[PlannedLoad, ...]
    faults: tuple[PlannedFault, ...]
    events: tuple[PlannedEvent, ...]
    steady_s: float
    watched_devices: tuple[str, ...] = ()
    judging: Judging
    inputs: dict[str, str]

    def machine(self, name: str) -> PlannedMachine:
        return next(machine for machine in self.machines if machine.name == name)

    @property
    def kernel_under_test(self) -> PlannedKernel:
        """The subject's."""
        return self.kernels[self.machine(self.judging.subject).kernel]

    @property
    def under_test(self) -> tuple[PlannedMachine, ...]:
        """The machines that have the subject's kernel, the subject among them."""
        kernel = self.machine(self.judging.subject).kernel
        return tuple(machine for machine in self.machines if machine.kernel == kernel)

    def management_address(self, machine: PlannedMachine) -> str:
        """Where a machine's SSH is: its address on the link that control traffic uses."""
        management = {link.name for link in self.links if link.management}
        return next(nic.address for nic in machine.nics if nic.link in management)
