"""Owns numbers of a cell that decide nothing by themselves: what loads counted that count no progress."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.judge.blocks import after, before
from testbed.judge.case import Case

SECTORS_PER_KIB = 2
CALLS = ("fork", "exec", "mmap", "socket", "open")
CLASSES = ("no_memory", "again", "other")
"""Of failures: ENOMEM and ENOBUFS, EAGAIN, all else (testbed/guest/witness.h, enum storm_field)."""
WANT = ("no_memory", "again")
"""Those that are for want of memory. Among the rest are children that somebody killed."""


def measures(case: Case) -> dict[str, float]:
    """By name, from the timeline's first deed to the end; empty where nobody counted.

    `outage_...` are from the first fault to the last heal: as long in each cell, however it ends.
    `flood_...` are packets from a flood's start to its stop, `job_...` what a job that went well took, and
    what was written to the transport's device meanwhile.
    """
    parts = (_calls, _outage, _flood, _job, _blocks, _writes, _whole)
    return {name: value for part in parts for name, value in part(case).items()}


def _sources(case: Case, field: str) -> Iterator[str]:
    """The subject's sources that have a series of that name."""
    for name in case.history.values:
        source, _, own = name.rpartition(".")
        if own == field and source.startswith(f"{case.subject}/"):
            yield source


def _grown(case: Case, name: str) -> int:
    return case.growth(name, case.deed_ns, case.end_ns) or 0


def _most(case: Case, name: str) -> int:
    return max((value for _, value in case.within(name, case.deed_ns, case.end_ns)), default=0)


def _calls(case: Case) -> dict[str, float]:
    found: dict[str, float] = {}
    for source in _sources(case, "fork_tried"):
        for call in CALLS:
            found[f"calls_{call}"] = _grown(case, f"{source}.{call}_tried")
            failed = {kind: _grown(case, f"{source}.{call}_{kind}") for kind in CLASSES}
            found |= {f"calls_{call}_{kind}": number for kind, number in failed.items() if number}
            found[f"calls_{call}_longest_ms"] = _most(case, f"{source}.{call}_longest_ms")
        found["calls"] = sum(found[f"calls_{call}"] for call in CALLS)
        found["calls_failed"] = sum(
            found.get(f"calls_{call}_{kind}", 0) for call in CALLS for kind in CLASSES
        )
        found["calls_waiting_most"] = _most(case, f"{source}.waiting")
    return found


def _outage(case: Case) -> dict[str, float]:
    """How many calls came back meanwhile, and how many of those had failed for want of memory."""
    if case.applied_ns is None or not case.rules.heals:
        return {}
    found: dict[str, float] = {}
    for source in _sources(case, "fork_tried"):
        fields = {
            "outage_calls": [f"{call}_tried" for call in CALLS],
            "outage_calls_failed": [f"{call}_{kind}" for call in CALLS for kind in WANT],
        }
        for name, counted in fields.items():
            grown = (case.growth(f"{source}.{each}", case.applied_ns, case.heal_ns) for each in counted)
            found[name] = found.get(name, 0) + sum(each or 0 for each in grown)
    return found


def _flood(case: Case) -> dict[str, float]:
    """How many datagrams the floods sent while at work, and how many the subject's services read then."""
    found: dict[str, float] = {}
    for name in case.history.values:
        source, _, own = name.rpartition(".")
        span = _at_work(case, source.partition("/")[2]) if own == "packets_sent" else None
        if span is None:
            continue
        read = sum(case.growth(f"{each}.packets", *span) or 0 for each in _sources(case, "touches"))
        found["flood_sent"] = found.get("flood_sent", 0) + (case.growth(name, *span) or 0)
        found["flood_read"] = found.get("flood_read", 0) + read
    return found


def _at_work(case: Case, load: str) -> tuple[int, int] | None:
    """From a load's first start to its stop after that, or to the end; None if it was not started."""
    began = [
        e.t_ns for e in case.history.events_of("load.started") if e.name == load and e.t_ns < case.end_ns
    ]
    if not began:
        return None
    stops = [e.t_ns for e in case.history.events_of("load.stopped") if e.name == load and e.t_ns > began[0]]
    return began[0], min([*stops, case.end_ns])


def _job(case: Case) -> dict[str, float]:
    """Of the last that ended with status 0; what it left in the page cache is not in it."""
    found: dict[str, float] = {}
    for source in _sources(case, "exit_status_plus_1"):
        if _most(case, f"{source}.exit_status_plus_1") == 1:
            sectors = _grown(case, f"{case.subject}/blocksampler.sectors_written_0")
            found = {"job_ms": _most(case, f"{source}.run_ms"), "job_kib": sectors / SECTORS_PER_KIB}
    return found


def _blocks(case: Case) -> dict[str, float]:
    found: dict[str, float] = {}
    for source in _sources(case, "refused"):
        fields = ("tried", "got", "refused", "late")
        found |= {f"blocks_{field}": _grown(case, f"{source}.{field}") for field in fields}
        found["blocks_longest_ms"] = _most(case, f"{source}.longest_ms")
    return found


def _writes(case: Case) -> dict[str, float]:
    sources = tuple(_sources(case, "held"))
    if not sources:
        return {}
    return {
        "writes_kib": sum(_grown(case, f"{source}.bytes") for source in sources) / 1024,
        "writes_held": sum(_grown(case, f"{source}.held") for source in sources),
        "writes_longest_ms": max(_most(case, f"{source}.longest_ms") for source in sources),
    }


def _whole(case: Case) -> dict[str, float]:
    if case.rules.blocks is None:
        return {}
    shares = {"whole_before": before, "whole_after": after}
    told = {name: share(case, case.rules.blocks.order) for name, share in shares.items()}
    return {name: share for name, share in told.items() if share is not None}
