"""Owns what the playbook's loads become: processes with their slots, checked against the topology."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from testbed.configuration import Playbook
from testbed.errors import UsageError, nearest
from testbed.load import validate
from testbed.loads import Load, load_class, load_of
from testbed.model import PlannedLoad, PlannedMachine
from testbed.transports import Lender, Transport
from testbed.witnesses.page import OWN_SLOTS

FIRST_SLOT = len(OWN_SLOTS)
RESERVED = (*OWN_SLOTS, "memory", "vcpu", "domain", "console")
"""Names of other sources in the history: `A/memory` is the host's view of A's free pages."""

Parts = dict[str, tuple[PlannedLoad, ...]]


def planned_loads(
    playbook: Playbook,
    machines: tuple[PlannedMachine, ...],
    *,
    prebuilt: bool,
    transport: Transport,
    without: tuple[str, ...],
    started: frozenset[str],
) -> Parts:
    """The loads by the playbook's name. `started`: those that the timeline starts, others run early."""
    by_name = {machine.name: machine for machine in machines}
    slots = dict.fromkeys(by_name, FIRST_SLOT)
    planned: Parts = {}
    for name, table in playbook.loads.items():
        load = _load(playbook, name, by_name)
        if name in without:
            continue
        for needed_key, what, needed in load.needs():
            if what in ("device", "lender"):
                _check_transport(playbook, (name, needed_key), what, transport)
                continue
            if what == "tcp":
                _check_tcp(playbook, (name, needed_key), needed, _load(playbook, needed, by_name))
                continue
            _check_need(playbook, (name, needed_key), what, needed, by_name, without)
        parts = load.parts(prebuilt=prebuilt)
        entries = []
        for number, part in enumerate(parts, 1):
            entries.append(
                PlannedLoad(
                    name=name if len(parts) == 1 else f"{name}-{number}",
                    kind=table.kind,
                    machine=table.on,
                    slot=slots[table.on],
                    page_kind=part.page_kind,
                    start="timeline" if name in started else "early",
                    options=_options(part),
                )
            )
            slots[table.on] += 1
        planned[name] = tuple(entries)
    _check_names(playbook, planned)
    return planned


def watched_devices(
    transport_devices: tuple[str, ...], subject: PlannedMachine, loads: tuple[PlannedLoad, ...]
) -> tuple[str, ...]:
    """The subject's block devices that the blocksampler watches, the transport's first."""
    own = [load_of(load).devices(subject) for load in loads if load.machine == subject.name]
    return tuple(dict.fromkeys((*transport_devices, *chain.from_iterable(own))))


def progress_series(
    subject: PlannedMachine, loads: tuple[PlannedLoad, ...], watched: tuple[str, ...]
) -> Iterator[str]:
    """The series that count the work of the subject's loads."""
    for planned in loads:
        load = load_of(planned)
        if planned.machine != subject.name:
            continue
        yield from (f"{subject.name}/{planned.name}.{field}" for field in load.progress)
        for device in load.devices(subject):
            yield f"{subject.name}/blocksampler.writes_completed_{watched.index(device)}"


def _options(part: Load) -> dict[str, Any]:
    dumped: dict[str, Any] = part.model_dump(mode="json")  # type: ignore[attr-defined]
    return dumped


def _load(playbook: Playbook, name: str, machines: Mapping[str, PlannedMachine]) -> Load:
    table, key = playbook.loads[name], ("loads", name)
    if name in RESERVED or re.fullmatch(r"(tap|disk)(-.*)?", name):
        raise UsageError(f"'{name}' is the name of a witness", where=playbook.where(*key))
    if table.on not in machines:
        raise UsageError(
            f"no machine '{table.on}' in the topology",
            hint=nearest(table.on, machines),
            where=playbook.where(*key, "on"),
        )
    plugin = load_class(table.kind, where=playbook.where(*key, "kind"))
    load: Load = validate(
        playbook.source_file, plugin, table.model_extra or {}, below=key, also=("kind", "on")
    )
    return load


def _check_transport(playbook: Playbook, key: tuple[str, str], what: str, transport: Transport) -> None:
    where = playbook.where("loads", *key)
    if what == "device" and not transport.block_devices:
        raise UsageError(
            "the transport brings no block device to work on",
            hint="use a transport that brings one: nbd, nvme-tcp or iscsi",
            where=where,
        )
    if what == "lender" and not isinstance(transport, Lender):
        raise UsageError(
            f"{transport.kind} serves the machine that it runs on, and no other",
            hint="leave the second client out",
            where=where,
        )


def _check_need(
    playbook: Playbook,
    key: tuple[str, str],
    what: str,
    needed: str,
    machines: Mapping[str, PlannedMachine],
    without: tuple[str, ...],
) -> None:
    load = playbook.loads[key[0]]
    right = {
        "machine": tuple(machines),
        "load": tuple(name for name in playbook.loads if name not in without),
        "disk": tuple(disk.name for disk in machines[load.on].disks),
    }[what]
    if needed not in right:
        place = f" on machine '{load.on}'" if what == "disk" else ""
        raise UsageError(
            f"no {what} '{needed}'{place}", hint=nearest(needed, right), where=playbook.where("loads", *key)
        )


def _check_tcp(playbook: Playbook, key: tuple[str, str], name: str, load: Load) -> None:
    if not getattr(load, "tcp_port", 0):
        raise UsageError(
            f"load '{name}' takes no TCP connection",
            hint=f"give it one, as tcp_port = 6900 in [loads.{name}], or leave 'tcp_connections' out",
            where=playbook.where("loads", *key),
        )


def _check_names(playbook: Playbook, planned: Parts) -> None:
    names = [load.name for parts in planned.values() for load in parts]
    for name, parts in planned.items():
        for load in parts:
            if names.count(load.name) > 1:
                raise UsageError(f"two loads are called '{load.name}'", where=playbook.where("loads", name))
