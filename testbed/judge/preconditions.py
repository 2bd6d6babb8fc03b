"""Owns what must have been so before the heal for a cell to count at all."""

from __future__ import annotations

from collections.abc import Callable

from testbed.judge.case import Case
from testbed.judge.values import Precondition
from testbed.snapshot import atomic_floor

LEAST_BYTES = 80
"""IP and TCP headers with timestamps are 52 bytes: smaller packets are acknowledgements and probes."""


def preconditions(case: Case) -> tuple[Precondition, ...]:
    """Those that the playbook requires, each with its numbers."""
    return tuple(CHECKS[name](case) for name in case.rules.requires)


def _in_flight(case: Case) -> Precondition:
    name = case.rules.in_flight
    value = case.history.value_at(name, case.before_ns) if name else None
    if name is None or value is None:
        return Precondition(name="in-flight", met=False, statement="Requests in flight were not recorded.")
    seen_ns = case.last_seen(name, case.before_ns)
    # What was in flight after the cut stays so up to the heal, even if the sampler has stopped since.
    since_ns = case.applied_ns if case.applied_ns is not None else case.before_ns - case.still_ns
    if seen_ns is None or seen_ns < since_ns:
        return _sent_again(case, value)
    words = f"{value} swap requests were in flight" if value > 0 else "No request was in flight"
    return Precondition(
        name="in-flight", met=value > 0, statement=f"{words} at the heal.", numbers={"in_flight": value}
    )


def _sent_again(case: Case, value: int) -> Precondition:
    """Without the sampler, by the wire: TCP sends again only what is outstanding, and the host counts it."""
    grown = [
        case.growth(f"wire/swap.requests.offered_{what}", case.applied_ns, case.before_ns)
        if case.applied_ns is not None
        else None
        for what in ("packets", "bytes")
    ]
    packets, carried = (number or 0 for number in grown)
    met = packets > 0 and carried >= packets * LEAST_BYTES
    words = "The sampler of requests in flight had stopped before the fault"
    words += (
        f", but the host saw {packets} packets of requests sent again with nobody there to answer."
        if met
        else "."
    )
    numbers: dict[str, float] = {"in_flight": value, "sent_again": packets, "bytes": carried}
    return Precondition(name="in-flight", met=met, statement=words, numbers=numbers)


def _still(case: Case) -> Precondition:
    seen = [
        name
        for name in case.rules.progress
        if (last := case.last_seen(name, case.before_ns)) is not None
        and last >= case.before_ns - case.still_ns
    ]
    if not seen:
        return Precondition(
            name="still", met=False, statement="No witness of progress was being read at the heal."
        )
    times = case.rises(case.rules.progress, 0, case.before_ns)
    if not times:
        return Precondition(
            name="still",
            met=False,
            statement="There was no progress at all before the heal: the load never worked.",
        )
    still_s = (case.before_ns - times[-1]) / 1e9
    met = still_s >= case.rules.still_s
    return Precondition(
        name="still",
        met=met,
        statement=f"Progress had stood still for {still_s:.1f} s at the heal"
        f" (needed: {case.rules.still_s:g} s).",
        numbers={"still_s": still_s, "needed_s": case.rules.still_s},
    )


def _exhausted(case: Case) -> Precondition:
    from_ns = case.applied_ns if case.applied_ns is not None else case.deed_ns
    numbers: dict[str, float] = {}
    words = []
    min_pages = case.history.value_at(case.own("blocksampler.min_pages"), case.before_ns)
    lows = [low for name in case.rules.free_pages if (low := case.least(name, from_ns, case.before_ns))]
    met = False
    if min_pages is not None and lows:
        free, floor = min(value for _, value in lows), atomic_floor(min_pages)
        met = free <= floor
        numbers |= {"free_pages": free, "floor_pages": floor, "min_pages": min_pages}
        words.append(f"free pages fell to {free} ({'at or below' if met else 'above'} the floor of {floor})")
    dropped = case.growth(case.own("vmsampler.pfmemalloc_drop"), from_ns, case.before_ns)
    if dropped is not None:
        met = met or dropped > 0
        numbers["pfmemalloc_drop"] = dropped
        words.append(f"{dropped} packets were dropped for the reserve's sake")
    if not words:
        return Precondition(
            name="exhausted", met=False, statement="Neither free pages nor reserve drops were recorded."
        )
    text = " and ".join(words)
    return Precondition(name="exhausted", met=met, statement=f"Before the heal {text}.", numbers=numbers)


def _tcp_limit(case: Case) -> Precondition:
    """By the looks, which come later: who fills the limit must be one that does not give back."""
    seen = [limit for look in case.evidence.snapshots for limit in look.limits if limit.protocol == "tcp"]
    if not seen:
        return Precondition(name="tcp-limit", met=False, statement="No look shows how much memory TCP held.")
    least = min(seen, key=lambda limit: limit.pages - limit.limits[2])
    hard = least.limits[2]
    return Precondition(
        name="tcp-limit",
        met=least.pages >= hard,
        statement=f"In {len(seen)} looks TCP held {least.pages} pages or more; its limit is {hard}.",
        numbers={"tcp_pages": least.pages, "tcp_limit_pages": hard, "looks": len(seen)},
    )


def _served(case: Case) -> Precondition:
    """By the client's device. What the host saw at the disk is told besides: a server's cache may hold it."""
    span = (case.origin_ns, case.before_ns)
    series = [name for name in case.rules.progress if "blocksampler." in name]
    done = [grown for name in series if (grown := case.growth(name, *span)) is not None]
    moved = [case.growth(f"{case.rules.backing}.{what}_bytes", *span) for what in ("read", "write")]
    if not done:
        told = "What the transport's device did was not recorded."
        return Precondition(name="served", met=False, statement=told)
    requests, carried = sum(done), sum(amount or 0 for amount in moved)
    return Precondition(
        name="served",
        met=requests > 0,
        statement=f"{requests or 'No'} requests of the transport's device were answered before the judging;"
        f" the host saw {carried >> 10} KiB go between the server and its disk.",
        numbers={"requests": requests, "disk_bytes": carried},
    )


CHECKS: dict[str, Callable[[Case], Precondition]] = {
    "in-flight": _in_flight,
    "still": _still,
    "exhausted": _exhausted,
    "tcp-limit": _tcp_limit,
    "served": _served,
}
