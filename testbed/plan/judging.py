"""Owns what the judge is told: derived from transport, loads and timeline where the playbook is silent."""

from __future__ import annotations

from testbed.configuration import Playbook, Variant
from testbed.errors import UsageError, nearest
from testbed.loads import load_of
from testbed.model import BlockRule, Judging, PlannedEvent, PlannedLoad, PlannedMachine
from testbed.plan.loads import Parts, progress_series
from testbed.plan.timeline import Course
from testbed.transports import Transport


def judging(
    playbook: Playbook,
    variant: Variant | None,
    subject: PlannedMachine,
    transport: Transport,
    parts: Parts,
    watched: tuple[str, ...],
    course: Course,
    events: tuple[PlannedEvent, ...],
) -> Judging:
    """Raises UsageError where nothing would prove progress, or nothing the end."""
    rules, name = playbook.judge, subject.name
    loads = tuple(load for group in parts.values() for load in group)
    progress = rules.progress
    if progress is None:
        progress = tuple(progress_series(subject, loads, watched))
        progress += tuple(f"{name}/{series}" for series in transport.progress_series)
    requires = rules.requires if variant is None or variant.requires is None else variant.requires
    return Judging(
        subject=name,
        server=playbook.transport.server,
        faults=tuple(dict.fromkeys(event.name for event in events if event.do == "apply")),
        progress=tuple(dict.fromkeys(progress)),
        in_flight=rules.in_flight or f"{name}/{transport.in_flight_series}",
        devices=transport.request_devices,
        second_client=tuple(
            f"{load.machine}/{load.name}.reads"
            for load in loads
            if load.kind == "client" and load.machine != name
        ),
        backing=f"{playbook.transport.server}/disk.{transport.server_disk}",
        free_pages=(f"{name}/memory.free_pages", f"{name}/blocksampler.free_pages"),
        heals=course.heals,
        through=tuple(load.name for key in course.through for load in parts[key] if load.machine != name),
        blocks=None if rules.blocks is None else BlockRule(**rules.blocks.model_dump()),
        requires=requires,
        finish=rules.finish,
        finish_loads=_finish_loads(playbook, subject, parts, loads),
        ends_too=_ends_too(playbook, variant, subject, parts),
        begin_at_s=max(course.begin_s, rules.begin),
        still_s=rules.still,
        bound_s=rules.bound,
        slow_share=rules.slow_share,
        rate_window_s=rules.rate_window,
        finish_s=rules.finish_within,
        watch_s=rules.watch,
    )


def _finish_loads(
    playbook: Playbook, subject: PlannedMachine, parts: Parts, loads: tuple[PlannedLoad, ...]
) -> tuple[str, ...]:
    rules = playbook.judge
    proving = tuple(
        load.name for load in loads if load.machine == subject.name and load_of(load).finish == rules.finish
    )
    if not proving:
        raise UsageError(
            f"no load on '{subject.name}' can prove the end by '{rules.finish}'",
            hint='finish = "sweep" needs an anonymous load, "exit" a job',
            where=playbook.where("judge", "finish"),
        )
    if rules.finish_loads is None:
        return proving
    chosen: list[str] = []
    for number, name in enumerate(rules.finish_loads):
        own = [load.name for load in parts.get(name, ()) if load.name in proving]
        if not own:
            raise UsageError(
                f"no load '{name}' that proves the end by '{rules.finish}'",
                hint=nearest(name, (each for each, group in parts.items() if group[0].name in proving)),
                where=playbook.where("judge", "finish_loads", number),
            )
        chosen += own
    return tuple(chosen)


def _ends_too(
    playbook: Playbook, variant: Variant | None, subject: PlannedMachine, parts: Parts
) -> tuple[str, ...]:
    """The jobs of other machines whose end is part of the proof, as `C/theirs`, that the variant has."""
    left_out = variant.without if variant is not None else ()
    jobs = {
        name: tuple(f"{load.machine}/{load.name}" for load in group)
        for name, group in parts.items()
        if group[0].machine != subject.name and load_of(group[0]).finish == "exit"
    }
    found: list[str] = []
    for number, name in enumerate(playbook.judge.ends_too):
        if name in left_out:
            continue
        if name not in jobs:
            raise UsageError(
                f"no job '{name}' on another machine than '{subject.name}', whose end could be waited for",
                hint=nearest(name, jobs),
                where=playbook.where("judge", "ends_too", number),
            )
        found += jobs[name]
    return tuple(found)
