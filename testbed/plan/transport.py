"""Owns what the playbook's transport becomes, and the kernel's timers that an outage must not outlast."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from testbed.configuration import Playbook
from testbed.errors import UsageError, nearest
from testbed.faults import fault_class
from testbed.load import validate
from testbed.loads import load_of
from testbed.model import Judging, PlannedLoad, PlannedMachine, PlannedTransport
from testbed.plan.machines import check_has_disk
from testbed.plan.timeline import Course, PlayedFault
from testbed.transports import Crossed, Ending, Revivable, Stacked, Transport, revivable, transport_class
from testbed.transports.nfs import root_timers_s
from testbed.units import show_bytes

_OF_ALL = ("client", "server", "allow_beyond_timers")
"""Keys of [transport] that hang on no kind."""
TAKEN_PORTS = {22: "SSH, by which it is set up"}


def planned_transport(
    playbook: Playbook, machines: tuple[PlannedMachine, ...], chosen: str | None, subject: str
) -> PlannedTransport:
    """The playbook's transport, or the chosen kind, between the same machines.

    A chosen kind has what was written as far as it has such keys, and its own defaults for the rest. Raises
    UsageError where a variant would lose by it what makes it one.
    """
    table = playbook.transport
    by_name = {machine.name: machine for machine in machines}
    for key in ("client", "server"):
        if getattr(table, key) not in by_name:
            raise UsageError(
                f"no machine '{getattr(table, key)}' in the topology",
                hint=nearest(getattr(table, key), by_name),
                where=playbook.where("transport", key),
            )
    if table.client != subject:
        raise UsageError(
            f"'{table.client}' does not run the kernel under test: '{subject}' does",
            where=playbook.where("transport", "client"),
        )
    kind = chosen or table.kind
    plugin = transport_class(kind, where="--transport" if chosen else playbook.where("transport", "kind"))
    written = table.model_extra or {}
    same = kind == table.kind
    fields = {key: value for key, value in written.items() if same or key in plugin.model_fields}
    if not same:
        _check_variant(playbook, kind, fields)
    own = ("kind", *_OF_ALL)
    value: Transport = validate(playbook.source_file, plugin, fields, below=("transport",), also=own)
    _check_ends(playbook, value)
    _check_disk(playbook, by_name[table.server], value)
    _check_mirror(playbook, by_name[table.client], value)
    _check_back(playbook, by_name[table.client], value)
    options = value.model_dump(mode="json")  # type: ignore[attr-defined]
    return PlannedTransport(kind=kind, client=table.client, server=table.server, options=options)


def _check_ends(playbook: Playbook, transport: Transport) -> None:
    """Only a transport that crosses no wire has client and server on one machine, and it must have."""
    table = playbook.transport
    local, one = transport.swap_flow is None, table.client == table.server
    if local and not one:
        raise UsageError(
            f"{transport.kind} serves the machine that it runs on",
            hint=f'server = "{table.client}", which needs the disk then, as in local-daemon.toml',
            where=playbook.where("transport", "server"),
        )
    if one and not local:
        raise UsageError(
            f"'{table.client}' is client and server of {transport.kind}, which is for two machines",
            hint="a daemon on the machine itself is local-nbd, local-fuse or local-ublk",
            where=playbook.where("transport", "server"),
        )


def _check_mirror(playbook: Playbook, client: PlannedMachine, transport: Transport) -> None:
    if not isinstance(transport, Stacked) or transport.mirror is None:
        return
    taken = () if transport.swap_flow is not None else (transport.server_disk,)
    check_has_disk(client, transport.mirror, playbook.where("transport", "mirror"), " to mirror on", taken)


def _check_back(playbook: Playbook, client: PlannedMachine, transport: Transport) -> None:
    if not isinstance(transport, Crossed):
        return
    check_has_disk(client, transport.client_disk, playbook.where("transport", "back"), " to serve")


def _check_variant(playbook: Playbook, kind: str, kept: Mapping[str, Any]) -> None:
    """Its cell would bear the variant's name, and be the playbook without it."""
    for name, variant in playbook.variants.items():
        for key in variant.transport:
            if key in (*kept, *_OF_ALL):
                continue
            lost = playbook.transport.kind if key == "kind" else f"'{key}', which {kind} has not"
            raise UsageError(
                f"variant '{name}' is about {lost}: over {kind} it would be something else",
                hint=f"leave --transport out, or play another variant over {kind}",
                where=playbook.where("transport", key),
            )


def _check_disk(playbook: Playbook, server: PlannedMachine, transport: Transport) -> None:
    check_has_disk(server, transport.server_disk, playbook.where("transport", "disk"))
    disks = {disk.name: disk.size_bytes for disk in server.disks}
    if disks[transport.server_disk] < transport.least_disk_bytes:
        raise UsageError(
            f"disk '{transport.server_disk}' of machine '{server.name}' is too small to be swapped to by"
            f" {transport.kind}: {show_bytes(disks[transport.server_disk])}",
            hint=f"give it {show_bytes(transport.least_disk_bytes)} or more in the topology",
            where=playbook.where("transport", "disk"),
        )


def check_timers(
    playbook: Playbook,
    planned: PlannedTransport,
    transport: Transport,
    machines: tuple[PlannedMachine, ...],
    way: Course,
    rules: Judging,
) -> None:
    """Refuses an outage that outlasts a timer of the kernel, of the swap or of a root: it would test that.

    A playbook that allows it has thought of its own transport. Of one that is chosen in its place that says
    nothing of when the device itself ends, with I/O errors that would be laid at the kernel's door.
    """
    allowed = playbook.transport.allow_beyond_timers
    of_swap = {} if allowed else dict(transport.kernel_timers_s)
    if isinstance(transport, Ending) and not (allowed and planned.kind == playbook.transport.kind):
        of_swap[f"{planned.kind} fails all requests"] = transport.device_ends_s
    thin = {} if allowed else {each.name: each.root_from for each in machines if each.root_from is not None}
    for fault in way.faults:
        timers_s: dict[str, float] = {}
        if _cuts_off(fault, {planned.client, planned.server}):
            timers_s |= of_swap
        for name, server in thin.items():
            # A fault of no machine is of the swap's flow, and lets a root's packets pass.
            if fault.machines and _cuts_off(fault, {name, server}):
                timers_s |= root_timers_s(name)
        if not timers_s:
            continue
        what, limit_s = min(timers_s.items(), key=lambda timer: timer[1])
        lasts_s = fault.longest_s(rules.begin_at_s + rules.bound_s)
        if lasts_s >= limit_s:
            raise UsageError(
                f"'{fault.planned.name}' lasts {lasts_s:g} s, but after {limit_s:g} s {what}",
                hint=f'to test just that, write kind = "{planned.kind}" and allow_beyond_timers = true in'
                " [transport]",
                where=playbook.where("timeline", fault.entry, "for"),
            )


def check_ports(playbook: Playbook, transport: Transport) -> None:
    """Refuses a port of the server that is taken on every machine. Raises UsageError."""
    for port in transport.ports:
        if port in TAKEN_PORTS:
            raise UsageError(
                f"port {port} of '{playbook.transport.server}' is taken by {TAKEN_PORTS[port]}",
                hint="give another 'port' in [transport], or none: each kind has its usual one",
                where=playbook.where("transport", "port"),
            )


def check_room(
    playbook: Playbook,
    transport: Transport,
    subject: PlannedMachine,
    server: PlannedMachine,
    loads: Iterable[PlannedLoad],
) -> None:
    """Refuses loads of more memory than there is with all of the swap. Raises UsageError.

    What the kernel and programs take for themselves is not counted: more may be too much as well.
    """
    wanted_bytes = sum(load_of(load).least_bytes(subject) for load in loads if load.machine == subject.name)
    size = next(disk.size_bytes for disk in server.disks if disk.name == transport.server_disk)
    swap_bytes = size - transport.spare_bytes if getattr(transport, "swap", True) else 0
    if wanted_bytes > subject.memory_bytes + swap_bytes:
        raise UsageError(
            f"the loads of '{subject.name}' want {show_bytes(wanted_bytes)} of memory: it has"
            f" {show_bytes(subject.memory_bytes)}, and {show_bytes(swap_bytes)} of swap by {transport.kind}",
            hint=f"give disk '{transport.server_disk}' of '{server.name}' more room in the topology, or the"
            " loads less memory",
            where=playbook.where("transport", "disk"),
        )


def check_server(playbook: Playbook, transport: Transport, way: Course) -> None:
    """Refuses a fault of the server that this transport's server can not have. Raises UsageError."""
    for fault in way.faults:
        kind = fault_class(fault.planned.kind)
        if getattr(kind, "of_server", False) and transport.swap_flow is None:
            raise UsageError(
                f"'{fault.planned.name}' asks the server, and the machine under test is asked nothing",
                hint='a load of kind "kill" ends a daemon on it, or stops it for a while',
                where=playbook.where("timeline", fault.entry, "fault"),
            )
        if getattr(kind, "serves_again", False) and not isinstance(transport, Revivable):
            raise UsageError(
                f"'{fault.planned.name}' ends what serves, and {transport.kind} can not be served again",
                hint=f"{', '.join(revivable())} can; or freeze the machine, or drop its packets",
                where=playbook.where("timeline", fault.entry, "fault"),
            )
        if getattr(kind, "needs_store", False) and transport.store is None:
            raise UsageError(
                f"'{fault.planned.name}' would change nothing: what is served has all its room already",
                hint='nbd with backing = "file", or NFS with swap = false, grows as it is written',
                where=playbook.where("timeline", fault.entry, "fault"),
            )


def _cuts_off(fault: PlayedFault, ends: set[str]) -> bool:
    """Whether a fault stands between client and server: between both, or at one, or of their flow."""
    concerned = set(fault.machines)
    return not concerned or ends <= concerned or (len(concerned) == 1 and concerned <= ends)
