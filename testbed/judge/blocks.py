"""Owns how whole free memory is: the share of it that lies in blocks of some order and above."""

from __future__ import annotations

from testbed.judge.case import Case

ORDERS = 11
"""From one page to 2 to the power of 10 (6.1, include/linux/mmzone.h, MAX_ORDER)."""


def whole(case: Case, order: int, t_ns: int) -> float | None:
    """The share at a moment; None if the sampler did not say. What lies on per-cpu lists is not in it.

    One less the kernel's own index of unusable free memory (6.1, mm/vmstat.c, unusable_free_index).
    """
    counts = [
        case.history.value_at(case.own(f"vmsampler.free_blocks_{number}"), t_ns) for number in range(ORDERS)
    ]
    pages = [(count or 0) << number for number, count in enumerate(counts)]
    return sum(pages[order:]) / sum(pages) if sum(pages) else None


def before(case: Case, order: int) -> float | None:
    """As the sampler saw it first, with no load at work yet."""
    points = case.history.series(case.own("vmsampler.free_blocks_0"))
    return whole(case, order, points[0][0]) if points else None


def after(case: Case, order: int) -> float | None:
    """At the end, with the loads ended; None unless the sampler was at work after that."""
    ended = case.history.first("loads.ended")
    if ended is None or ended.t_ns > case.end_ns:
        return None
    if not case.rises([case.own("vmsampler.samples")], ended.t_ns, case.end_ns):
        return None
    return whole(case, order, case.end_ns)
