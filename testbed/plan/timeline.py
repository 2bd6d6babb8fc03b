"""Owns what the timeline becomes: faults, events at absolute times, and the judging point."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from testbed import plugins
from testbed.configuration import Deed, Playbook, Variant
from testbed.errors import UsageError, nearest
from testbed.load import validate
from testbed.model import PlannedEvent, PlannedFault, PlannedMachine
from testbed.plan.machines import check_has_disk

FAULTS = "testbed.faults"
VERBS = ("fault", "heal", "start", "stop")
_KEYS = ("at", "for", "name", "on", "off", *VERBS)
MOST_SPELLS = 1000


@dataclass(frozen=True, slots=True)
class PlayedFault:
    """A fault with its times: `to_s` is None if it is never healed, as one that is not `lasting`.

    One that flaps is in force for the first of `flaps`, and healed for the second, again and again.
    """

    planned: PlannedFault
    machines: tuple[str, ...]
    from_s: float
    to_s: float | None
    entry: int
    lasting: bool = True
    flaps: tuple[float, float] | None = None

    def spells(self) -> tuple[tuple[float, float | None], ...]:
        """From when to when it is in force."""
        if self.flaps is None or self.to_s is None:
            return ((self.from_s, self.to_s),)
        on_s, period_s = self.flaps[0], sum(self.flaps)
        number = ceil(round((self.to_s - self.from_s) / period_s, 6))
        begins = [round(self.from_s + period_s * spell, 6) for spell in range(number)]
        return tuple((begin_s, min(round(begin_s + on_s, 6), self.to_s)) for begin_s in begins)

    def longest_s(self, end_s: float) -> float:
        """How long it is in force at a stretch, if all ends at `end_s`."""
        return max((end_s if to_s is None else to_s) - from_s for from_s, to_s in self.spells())


@dataclass(frozen=True, slots=True)
class PlayedLoad:
    """A load that the timeline starts; `to_s` is None if it runs to the end."""

    name: str
    from_s: float
    to_s: float | None


@dataclass(frozen=True, slots=True)
class Course:
    """The timeline of one variant. `heal_s`: when the last of the judged heals is, or would have been."""

    faults: tuple[PlayedFault, ...]
    loads: tuple[PlayedLoad, ...]
    heals: tuple[str, ...]
    heal_s: float

    def events(self, parts: Mapping[str, tuple[str, ...]]) -> tuple[PlannedEvent, ...]:
        """In order of time; `parts` are the planned loads' names by the playbook's."""
        events: list[PlannedEvent] = []
        for fault in self.faults:
            for from_s, to_s in fault.spells():
                events += _span("apply", "revert", fault.planned.name, from_s, to_s)
        for load in self.loads:
            for name in parts[load.name]:
                events += _span("start", "stop", name, load.from_s, load.to_s)
        return tuple(sorted(events, key=lambda event: event.at_s))

    @property
    def through(self) -> tuple[str, ...]:
        """The loads that are stopped after the last of the judged heals, and were started before it."""
        if not self.heals:
            return ()
        ended = [load for load in self.loads if load.to_s is not None and load.to_s > self.heal_s]
        return tuple(load.name for load in ended if load.from_s < self.heal_s)

    @property
    def begin_s(self) -> float:
        """The judging point: the heal, or the end of the timeline where that comes later."""
        ends = [load.to_s if load.to_s is not None else load.from_s for load in self.loads]
        ends += [fault.to_s if fault.to_s is not None else fault.from_s for fault in self.faults]
        return max([self.heal_s, *ends])


def course(
    playbook: Playbook, machines: tuple[PlannedMachine, ...], variant: Variant | None, key: str
) -> Course:
    """Reads the timeline and takes out what the variant leaves out. Raises UsageError with its place."""
    faults, loads = _read(playbook, machines)
    healed = tuple(fault.planned.name for fault in faults if fault.to_s is not None)
    heals = playbook.judge.heals if playbook.judge.heals is not None else healed
    for number, name in enumerate(heals):
        if name not in healed:
            raise UsageError(
                f"no fault '{name}' that is healed",
                hint=nearest(name, healed),
                where=playbook.where("judge", "heals", number),
            )
    heal_s = max((fault.to_s for fault in faults if fault.to_s and fault.planned.name in heals), default=0.0)
    whole = Course(tuple(faults), tuple(loads), heals, heal_s)
    return whole if variant is None else _without(whole, playbook, variant, key)


def _without(whole: Course, playbook: Playbook, variant: Variant, key: str) -> Course:
    faults = {fault.planned.name: fault for fault in whole.faults}
    known = (*faults, *playbook.loads)
    for field, right in (("without", known), ("forever", tuple(faults))):
        for number, name in enumerate(getattr(variant, field)):
            if name not in right:
                raise UsageError(
                    f"neither a fault nor a load is called '{name}'"
                    if field == "without"
                    else f"no fault is called '{name}'",
                    hint=nearest(name, right),
                    where=playbook.where("variants", key, field, number),
                )
    for name in variant.without:
        faults.pop(name, None)
    for number, name in enumerate(variant.forever):
        if faults[name].flaps is not None:
            raise UsageError(
                f"'{name}' flaps: it can not stay in force",
                where=playbook.where("variants", key, "forever", number),
            )
        faults[name] = replace(faults[name], to_s=None)
    still_healed = tuple(name for name in whole.heals if name in faults and faults[name].to_s is not None)
    loads = tuple(load for load in whole.loads if load.name not in variant.without)
    return Course(tuple(faults.values()), loads, still_healed, whole.heal_s)


def _read(
    playbook: Playbook, machines: tuple[PlannedMachine, ...]
) -> tuple[list[PlayedFault], list[PlayedLoad]]:
    faults: dict[str, PlayedFault] = {}
    loads: list[PlayedLoad] = []
    for number, deed in enumerate(playbook.timeline):
        verb = _verb(playbook, number, deed)
        if verb == "fault":
            fault = _fault(playbook, machines, number, deed)
            if fault.planned.name in faults:
                where = playbook.where("timeline", number, "name")
                raise UsageError(f"two faults are called '{fault.planned.name}'", where=where)
            faults[fault.planned.name] = fault
        elif verb == "start":
            loads.append(_load(playbook, number, deed))
    for number, deed in enumerate(playbook.timeline):
        if deed.heal is not None:
            faults[deed.heal] = _healed(playbook, faults, number, deed)
        elif deed.stop is not None:
            loads = list(_stopped(playbook, loads, number, deed))
    for fault in faults.values():
        _check_flaps(playbook, fault)
    return list(faults.values()), loads


def _verb(playbook: Playbook, number: int, deed: Deed) -> str:
    said = [verb for verb in VERBS if getattr(deed, verb) is not None]
    if len(said) != 1:
        raise UsageError(
            f"says {' and '.join(said) or 'nothing to do'}",
            hint=f"exactly one of {', '.join(VERBS)}",
            where=playbook.where("timeline", number),
        )
    verb = said[0]
    extra = tuple(deed.model_extra or ())
    if extra and verb != "fault":
        raise UsageError(
            "unknown key", hint=nearest(extra[0], _KEYS), where=playbook.where("timeline", number, extra[0])
        )
    for key, value in (("for", deed.for_), ("name", deed.name), ("on", deed.on), ("off", deed.off)):
        if value is not None and (verb in ("heal", "stop") or (verb == "start" and key != "for")):
            raise UsageError(
                f"'{key}' does not go with '{verb}'", where=playbook.where("timeline", number, key)
            )
    return verb


def _end(deed: Deed) -> float | None:
    return None if deed.for_ is None else round(deed.at + deed.for_, 6)


def _fault(playbook: Playbook, machines: tuple[PlannedMachine, ...], number: int, deed: Deed) -> PlayedFault:
    key = ("timeline", number)
    kind = deed.fault or ""
    plugin: type[Any] = plugins.find(FAULTS, object, kind, where=playbook.where(*key, "fault"))
    value = validate(playbook.source_file, plugin, deed.model_extra or {}, below=key, also=_KEYS)
    _check_place(playbook, machines, number, value)
    for healing, given in (("for", deed.for_), ("on", deed.on), ("off", deed.off)):
        if not plugin.lasting and given is not None:
            raise _no_healing(kind, playbook.where(*key, healing))
    if (deed.on is None) != (deed.off is None):
        said, lacks = ("on", "off") if deed.off is None else ("off", "on")
        raise UsageError(f"'{said}' needs '{lacks}'", where=playbook.where(*key, said))
    options = value.model_dump(mode="json", exclude_none=True)
    planned = PlannedFault(name=deed.name or kind, kind=kind, options=options)
    flaps = None if deed.on is None or deed.off is None else (deed.on, deed.off)
    return PlayedFault(planned, tuple(value.machines), deed.at, _end(deed), number, plugin.lasting, flaps)


def _check_flaps(playbook: Playbook, fault: PlayedFault) -> None:
    if fault.flaps is None:
        return
    where = playbook.where("timeline", fault.entry, "on")
    if fault.to_s is None:
        raise UsageError(
            f"'{fault.planned.name}' flaps, and never ends", hint="add 'for', or heal it", where=where
        )
    spells = len(fault.spells())
    if not 1 < spells <= MOST_SPELLS:
        raise UsageError(
            f"'{fault.planned.name}' comes into force {spells} times",
            hint=f"2 to {MOST_SPELLS} times: change 'for', 'on' or 'off'",
            where=where,
        )


def _no_healing(kind: str, where: str) -> UsageError:
    return UsageError(f"a fault of kind '{kind}' can not be healed", hint="leave that out", where=where)


def _check_place(playbook: Playbook, machines: tuple[PlannedMachine, ...], number: int, fault: Any) -> None:
    by_name = {machine.name: machine for machine in machines}
    field = "between" if hasattr(fault, "between") else "machine"
    where = playbook.where("timeline", number, field)
    for name in fault.machines:
        if name not in by_name:
            raise UsageError(f"no machine '{name}' in the topology", hint=nearest(name, by_name), where=where)
        links = [nic.link for nic in by_name[name].nics]
        link = getattr(fault, "link", None)
        if link is not None and link not in links:
            raise UsageError(
                f"machine '{name}' is not on link '{link}'",
                hint=nearest(link, links),
                where=playbook.where("timeline", number, "link"),
            )
        disk = getattr(fault, "disk", None)
        if disk is not None:
            check_has_disk(by_name[name], disk, playbook.where("timeline", number, "disk"))
    server = playbook.transport.server
    if getattr(fault, "of_server", False) and fault.machine != server:
        raise UsageError(
            f"'{fault.machine}' is not the server", hint=f"'{server}' is, by [transport]", where=where
        )
    if len(set(fault.machines)) != len(fault.machines):
        raise UsageError(f"'{fault.machines[0]}' has no link to itself", where=where)


def _load(playbook: Playbook, number: int, deed: Deed) -> PlayedLoad:
    name = deed.start or ""
    if name not in playbook.loads:
        raise UsageError(
            f"no load '{name}'",
            hint=nearest(name, playbook.loads),
            where=playbook.where("timeline", number, "start"),
        )
    return PlayedLoad(name, deed.at, _end(deed))


def _healed(playbook: Playbook, faults: Mapping[str, PlayedFault], number: int, deed: Deed) -> PlayedFault:
    where = playbook.where("timeline", number, "heal")
    fault = faults.get(deed.heal or "")
    if fault is None:
        raise UsageError(f"no fault '{deed.heal}'", hint=nearest(deed.heal or "", faults), where=where)
    if not fault.lasting:
        raise _no_healing(fault.planned.kind, where)
    if fault.to_s is not None or deed.at <= fault.from_s:
        raise UsageError(f"'{deed.heal}' is not in force then", where=where)
    return replace(fault, to_s=deed.at)


def _stopped(playbook: Playbook, loads: list[PlayedLoad], number: int, deed: Deed) -> Iterator[PlayedLoad]:
    own = [load for load in loads if load.name == deed.stop]
    running = [load for load in own if load.to_s is None and load.from_s < deed.at]
    if len(running) != 1:
        started = {load.name for load in loads}
        raise UsageError(
            f"'{deed.stop}' does not run then",
            hint=nearest(deed.stop or "", started),
            where=playbook.where("timeline", number, "stop"),
        )
    for load in loads:
        yield replace(load, to_s=deed.at) if load is running[0] else load


def _span(first: Any, last: Any, name: str, from_s: float, to_s: float | None) -> list[PlannedEvent]:
    events = [PlannedEvent(at_s=from_s, do=first, name=name)]
    if to_s is not None:
        events.append(PlannedEvent(at_s=to_s, do=last, name=name))
    return events
