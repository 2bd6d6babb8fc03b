"""Owns telling a livelock from a stall: no progress, yet the CPU is busy and reclaim never rests."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.clock import NS
from testbed.judge.case import Case
from testbed.judge.resumption import resumption
from testbed.judge.values import Finding

LEAST_BUSY_SHARE = 0.5
FUTILE = ("vmsampler.pgscan_kswapd", "vmsampler.pgscan_direct", "vmsampler.allocstall")


def detect(case: Case) -> Iterator[Finding]:
    if not case.came_to_end or resumption(case).resumed_ns is not None:
        return
    if not case.watched_to_bound:
        return
    moved = case.rises(case.counters, case.heal_ns, case.end_ns)
    from_ns = max(case.heal_ns, moved[-1] if moved else 0)
    span_ns = case.end_ns - from_ns
    run_ns = case.growth(case.own("vcpu.run_ns"), from_ns, case.end_ns)
    if span_ns < max(NS, case.still_ns) or run_ns is None:
        return
    busy = run_ns / span_ns / case.vcpus(case.subject)
    if busy <= LEAST_BUSY_SHARE:
        return
    numbers = {"busy_share": busy}
    futile = _rising(case, from_ns)
    if not futile:
        yield Finding(
            detector="livelock",
            says="note",
            statement=f"The vCPU of {case.subject} was {busy:.0%} busy without progress, but neither"
            " scans nor allocation stalls were seen to rise: no livelock shown.",
            numbers=numbers,
        )
        return
    yield Finding(
        detector="livelock",
        says="livelocked",
        statement=f"{case.subject} made no progress for {span_ns / NS:.0f} s, but its vCPU was"
        f" {busy:.0%} busy and {' and '.join(futile)} kept rising.",
        from_s=case.at(from_ns),
        to_s=case.at(case.end_ns),
        numbers=numbers,
    )


def _rising(case: Case, from_ns: int) -> list[str]:
    """What rose in either half of the span, so that one last scan does not pass for a livelock."""
    middle_ns = (from_ns + case.end_ns) // 2
    rising = []
    for name in FUTILE:
        halves = ((from_ns, middle_ns), (middle_ns, case.end_ns))
        if all(case.growth(case.own(name), *half) for half in halves):
            rising.append(name.partition(".")[2])
    locked = [
        report
        for machine, report, t_ns in case.told
        if machine == case.subject
        and report.kind == "soft-lockup"
        and t_ns
        and from_ns <= t_ns <= case.end_ns
    ]
    return [*rising, "soft lockups"] if len(locked) > 1 else rising
