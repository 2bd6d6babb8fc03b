"""Owns what must have been so before the heal for a cell to count at all."""

from __future__ import annotations

from collections.abc import Callable

from testbed.clock import NS
from testbed.judge.case import SETTLE_NS, Case
from testbed.judge.values import Precondition

LEAST_BYTES = 80
"""IP and TCP headers with timestamps are 52 bytes: smaller packets are acknowledgements and probes."""

THROTTLED = ("net-throttle/dropped_free", "net-throttle/dropped_protocol")
"""Packets that a throttle of the kernel's turned away so that memory does not run out."""
PACKETS_IN_A_PAGE = 8
"""No more packets lie in 4 KiB: each has an sk_buff and a skb_shared_info, some 550 bytes without any data
(6.1, include/linux/skbuff.h, SKB_TRUESIZE)."""
PAGE_KIB = 4
BURNERS = ("reclaim", "atomic")
"""The two that take pages, as folders of debugfs below `reserve-burner`."""


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
    late_s = (case.before_ns - seen_ns) / NS
    when = "at the heal" if late_s < 1 else f"when they were last counted, {late_s:.0f} s before the heal"
    return Precondition(
        name="in-flight", met=value > 0, statement=f"{words} {when}.", numbers={"in_flight": value}
    )


def _sent_again(case: Case, value: int) -> Precondition:
    """Without the sampler, by the wire: TCP sends again only what is outstanding, and the host counts it."""

    def grown(counter: str, late_ns: int = 0) -> int | None:
        if case.applied_ns is None:
            return None
        return case.growth(f"wire/{counter}", case.applied_ns + late_ns, case.before_ns)

    packets, carried = (grown(f"swap.requests.offered_{what}") or 0 for what in ("packets", "bytes"))
    # Where replies come, as over a slow link, what is sent need not have been sent before.
    unanswered = grown("swap.replies.delivered_packets", SETTLE_NS) == 0
    met = packets > 0 and carried >= packets * LEAST_BYTES and unanswered
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
    floor = case.atomic_floor(case.before_ns)
    lows = [low for name in case.rules.free_pages if (low := case.least(name, from_ns, case.before_ns))]
    met = False
    if floor is not None and lows:
        free = min(value for _, value in lows)
        met = free <= floor
        numbers |= {"free_pages": free, "floor_pages": floor}
        words.append(f"free pages fell to {free} ({'at or below' if met else 'above'} the floor of {floor})")
    dropped = case.growth(case.own("vmsampler.pfmemalloc_drop"), from_ns, case.before_ns)
    if dropped is not None:
        met = met or dropped > 0
        numbers["pfmemalloc_drop"] = dropped
        words.append(f"{dropped} packets were dropped for the reserve's sake")
    throttled = _throttled(case)
    if throttled is not None and "free_pages" in numbers:
        left = numbers["free_pages"] - numbers["floor_pages"]
        enough = throttled > left * PACKETS_IN_A_PAGE
        met = met or enough
        numbers["throttled"] = throttled
        words.append(
            f"{throttled} packets were turned away by a throttle"
            f" ({'more' if enough else 'no more'} than what was free could have held)"
        )
    if not words:
        return Precondition(
            name="exhausted", met=False, statement="Neither free pages nor reserve drops were recorded."
        )
    text = ", ".join(words[:-1]) + " and " + words[-1] if words[1:] else words[0]
    return Precondition(name="exhausted", met=met, statement=f"Before the heal {text}.", numbers=numbers)


def _reclaiming(case: Case) -> Precondition:
    """Memory was short in either half of the time, so that its being filled does not vouch for all of it.

    A task found nothing above the min watermark and reclaimed itself (vmstat: allocstall); or, where who
    reads that is stuck, no more was free than that mark.
    """
    from_ns = case.applied_ns if case.applied_ns is not None else case.deed_ns
    middle_ns = (from_ns + case.before_ns) // 2
    halves = ((from_ns, middle_ns), (middle_ns, case.before_ns))
    stalls = [case.growth(case.own("vmsampler.allocstall"), *half) for half in halves]
    marks = [case.history.value_at(case.own("blocksampler.min_pages"), to_ns) for _, to_ns in halves]
    lows = [
        min((low[1] for name in case.rules.free_pages if (low := case.least(name, *half))), default=None)
        for half in halves
    ]
    if all(each is None for each in (*stalls, *lows)):
        told = "Whether an allocation had to wait for reclaim was not recorded."
        return Precondition(name="reclaiming", met=False, statement=told)
    short = [
        bool(stalled) or (low is not None and mark is not None and low <= mark)
        for stalled, low, mark in zip(stalls, lows, marks, strict=True)
    ]
    words = " and ".join(
        f"{stalled or 'no'} allocations reclaimed in the {which} half (least free {low} pages, min {mark})"
        for stalled, low, mark, which in zip(stalls, lows, marks, ("first", "second"), strict=True)
    )
    return Precondition(
        name="reclaiming",
        met=all(short),
        statement=f"Before the judging point {words}.",
        numbers={"allocstall": sum(each or 0 for each in stalls)},
    )


def _counters(case: Case) -> dict[str, int]:
    """Those of the kernel's debugfs at the last look; empty where nobody looked."""
    last = max(case.evidence.snapshots, key=lambda look: look.taken_ns, default=None)
    return last.counters if last is not None else {}


def _throttled(case: Case) -> int | None:
    """What a throttle dropped up to the last look; None without one, or if others sent after the heal too."""
    found = [count for name, count in _counters(case).items() if name in THROTTLED]
    return sum(found) if found and not case.rules.through else None


def _tcp_limit(case: Case) -> Precondition:
    """Before the judging point: who recovers may give back after it. What the limit is, looks show."""
    name = case.own("vmsampler.tcp_mem_pages")
    limits = [each for look in case.evidence.snapshots for each in look.limits if each.protocol == "tcp"]
    held = [pages for _, pages in case.within(name, case.deed_ns, case.before_ns)]
    if not limits or not held:
        what = "No look shows how much memory TCP may hold." if held else "What TCP held was not recorded."
        return Precondition(name="tcp-limit", met=False, statement=what)
    most, hard = max(held), max(each.limits[2] for each in limits)
    return Precondition(
        name="tcp-limit",
        met=most >= hard,
        statement=f"TCP held up to {most} pages before the judging point; its limit is {hard}.",
        numbers={"tcp_pages": most, "tcp_limit_pages": hard},
    )


def _dirty_limit(case: Case) -> Precondition:
    """On the subject, and on the server where that recorded it: both hold up who writes there."""
    met, words = True, []
    numbers: dict[str, float] = {}
    for machine in sorted(case.alike, key=lambda name: name != case.subject):
        found = _nearest_to_limit(case, machine)
        if found is None:
            told = f"How much was dirty on {machine}, or might be, was not recorded."
            return Precondition(name="dirty-limit", met=False, statement=told)
        most, limit = found
        met = met and most >= limit
        than = "no less" if most >= limit else "less"
        words.append(f"{most} KiB at once on {machine} ({than} than its limit of {limit} KiB)")
        numbers |= {f"{machine}_dirty_kib": most, f"{machine}_limit_kib": limit}
    statement = f"Before the judging point there were dirty or under writeback {' and '.join(words)}."
    return Precondition(name="dirty-limit", met=met, statement=statement, numbers=numbers)


def _nearest_to_limit(case: Case, machine: str) -> tuple[int, int] | None:
    """KiB dirty or under writeback, and the limit, in the round that came nearest to it or passed it most.

    What the kernel compares, by its own numbers: 6.1, mm/page-writeback.c, balance_dirty_pages().
    """
    fields = ("dirty_kib", "writeback_kib", "dirty_limit_pages")
    names = [f"{machine}/vmsampler.{field}" for field in fields]
    changes = (case.within(name, case.deed_ns, case.before_ns) for name in names)
    rounds = []
    for t_ns in sorted({case.deed_ns, *(t_ns for points in changes for t_ns, _ in points)}):
        dirty, written, pages = (case.history.value_at(name, t_ns) for name in names)
        if dirty is not None and written is not None and pages:
            rounds.append((dirty + written, pages * PAGE_KIB))
    return max(rounds, key=lambda pair: pair[0] - pair[1], default=None)


def _burned(case: Case) -> Precondition:
    """By the last look: who takes pages counts them in debugfs alone."""
    counters = _counters(case)
    got = [counters.get(f"reserve-burner/{burner}/pages_got") for burner in BURNERS]
    if all(pages is None for pages in got):
        return Precondition(name="burned", met=False, statement="No look shows whether a page was burned.")
    burns = sum(counters.get(f"reserve-burner/{burner}/burns", 0) for burner in BURNERS)
    pages = sum(taken or 0 for taken in got)
    return Precondition(
        name="burned",
        met=pages > 0,
        statement=f"{burns or 'No'} burns took {pages:,} pages.",
        numbers={"burns": burns, "pages": pages},
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
    "reclaiming": _reclaiming,
    "tcp-limit": _tcp_limit,
    "served": _served,
    "burned": _burned,
    "dirty-limit": _dirty_limit,
}
