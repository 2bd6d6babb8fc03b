"""Owns the making of a plan: one cell out of topology, playbook, kernels and the user's choices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from testbed.configuration import Playbook, Topology, Variant
from testbed.model import Judging, KernelSpec, Plan, PlannedKernel, PlannedMachine
from testbed.plan.changes import changed
from testbed.plan.judging import judging
from testbed.plan.labels import Choices, cell_name, idle_labels, labels_of
from testbed.plan.loads import Parts, planned_loads, watched_devices
from testbed.plan.machines import planned_links, planned_machines, subject_of
from testbed.plan.needs import check_needs
from testbed.plan.playbook import PlaybookFile
from testbed.plan.timeline import Course, course
from testbed.plan.transport import check_ports, check_room, check_server, check_timers, planned_transport
from testbed.plan.wiring import check_addresses, check_apart, check_checksums, check_flows
from testbed.transports import Transport, transport_of


@dataclass(frozen=True, slots=True)
class Kernels:
    """The kernels of a cell by content: `support` runs on all machines but the one that is judged."""

    under_test: PlannedKernel
    support: PlannedKernel


def support_spec(under_test: KernelSpec) -> KernelSpec:
    """The kernel of the other machines: the same base without any set."""
    return under_test.model_copy(update={"sets": ()})


def plan(topology: Topology, file: PlaybookFile, kernels: Kernels, image: str, choices: Choices) -> Plan:
    """One cell. Raises UsageError with file, line and key for whatever can not be played."""
    variant = file.variant(choices.variant)
    playbook = file.playbook(choices.form, choices.variant, choices.settings)
    check_needs(file, choices.variant, kernels.under_test.spec)
    links = planned_links(topology)
    prebuilt = kernels.under_test.spec.prebuilt
    topology = changed(topology, playbook)
    machines = planned_machines(topology, links, prebuilt=prebuilt, nic=choices.nic)
    planned = planned_transport(playbook, machines, choices.transport, subject_of(topology))
    transport = transport_of(planned)
    subject = next(machine for machine in machines if machine.name == planned.client)
    way = course(playbook, machines, variant, choices.variant)
    parts = _parts(playbook, machines, variant, way, prebuilt, transport)
    loads = tuple(load for group in parts.values() for load in group)
    watched = watched_devices(transport.block_devices, subject, loads)
    events = way.events({name: tuple(load.name for load in group) for name, group in parts.items()})
    rules = judging(playbook, variant, subject, transport, parts, watched, way, events)
    check_timers(playbook, planned, transport, machines, way, rules)
    check_server(playbook, transport, way)
    check_ports(playbook, transport)
    server = next(machine for machine in machines if machine.name == planned.server)
    check_room(playbook, transport, subject, server, loads)
    labels = labels_of(file, playbook, variant, kernels.under_test.spec, subject, links, planned, choices)
    made = Plan(
        cell=cell_name(labels),
        seed=choices.seed,
        accelerator=choices.accelerator,
        labels=labels,
        links=links,
        machines=machines,
        kernels={"under-test": kernels.under_test, "support": kernels.support},
        image=image,
        transport=planned,
        loads=loads,
        faults=tuple(fault.planned for fault in way.faults),
        events=events,
        steady_s=playbook.steady,
        watched_devices=watched,
        judging=rules,
        inputs=_inputs(topology, kernels, image) | {"playbook": playbook.source_file.digest},
    )
    check_flows(playbook, made, way)
    check_addresses(playbook, made, way)
    check_checksums(playbook, made, way)
    check_apart(playbook, made, way)
    return made


def repeated(plan: Plan, repeat: int) -> Plan:
    """The same cell once more, with a number, a name and a seed of its own."""
    labels = plan.labels.model_copy(update={"repeat": repeat})
    seed = plan.seed - plan.labels.repeat + repeat
    return plan.model_copy(update={"labels": labels, "cell": cell_name(labels), "seed": seed})


def idle(
    topology: Topology,
    kernels: Kernels,
    image: str,
    *,
    nic: str | None = None,
    accelerator: Literal["auto", "kvm", "tcg"] = "auto",
) -> Plan:
    """A lab to play with: the machines, no transport, no loads, nothing to judge."""
    links = planned_links(topology)
    machines = planned_machines(topology, links, prebuilt=kernels.under_test.spec.prebuilt, nic=nic)
    name = subject_of(topology)
    subject = next(machine for machine in machines if machine.name == name)
    labels = idle_labels(kernels.under_test.spec, subject, links)
    nothing = Judging(
        subject=name, progress=(), in_flight=None, heals=(), requires=(), finish="exit", finish_loads=()
    )
    return Plan(
        cell=f"{topology.source_file.path.stem}/{labels.kernel}/{labels.nic}",
        seed=1,
        accelerator=accelerator,
        labels=labels,
        links=links,
        machines=machines,
        kernels={"under-test": kernels.under_test, "support": kernels.support},
        image=image,
        transport=None,
        loads=(),
        faults=(),
        events=(),
        steady_s=0.0,
        judging=nothing,
        inputs=_inputs(topology, kernels, image),
    )


def _parts(
    playbook: Playbook,
    machines: tuple[PlannedMachine, ...],
    variant: Variant | None,
    way: Course,
    prebuilt: bool,
    transport: Transport,
) -> Parts:
    return planned_loads(
        playbook,
        machines,
        prebuilt=prebuilt,
        transport=transport,
        without=variant.without if variant else (),
        started=frozenset(load.name for load in way.loads),
    )


def _inputs(topology: Topology, kernels: Kernels, image: str) -> dict[str, str]:
    return {
        "topology": topology.source_file.digest,
        "kernel under test": kernels.under_test.digest,
        "kernel of the others": kernels.support.digest,
        "image": image,
    }
