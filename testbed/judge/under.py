"""Owns the first of two judgements: how it went under what others kept up through the heal."""

from __future__ import annotations

from testbed.clock import NS
from testbed.judge.case import Case
from testbed.judge.delays import MOST_DELAYED_SHARE, delayed
from testbed.judge.resumption import lasting, rate_before
from testbed.judge.values import Under, UnderOutcome


def under(case: Case) -> Under | None:
    """From the heal to the stop of the last of `rules.through`; None where nothing was kept up."""
    stops = [
        event.t_ns
        for event in case.history.events_of("load.stopped")
        if event.name in case.rules.through and case.heal_ns < event.t_ns <= case.end_ns
    ]
    if not stops:
        return None
    until_ns = max(stops)
    resumed_ns = lasting(case, case.rises(case.counters, case.heal_ns, until_ns), until_ns)
    rate = _rate(case, resumed_ns, until_ns)
    before = rate_before(case)
    slow = before is not None and rate is not None and rate < case.rules.slow_share * before
    outcome: UnderOutcome = "stood still" if resumed_ns is None else "slow" if slow else "went on"
    if outcome != "went on" and _contended(case, until_ns):
        outcome = "in doubt"
    return Under(
        loads=case.rules.through,
        outcome=outcome,
        observed_s=(until_ns - case.heal_ns) / NS,
        time_to_recover_s=None if resumed_ns is None else (resumed_ns - case.heal_ns) / NS,
        rate=rate,
    )


def _contended(case: Case, until_ns: int) -> bool:
    """Whether the host may have done it; of what was not recorded the detector of contention tells."""
    return case.unwatched or any(
        (share or 0) > MOST_DELAYED_SHARE for share in delayed(case, until_ns).values()
    )


def _rate(case: Case, resumed_ns: int | None, until_ns: int) -> float | None:
    """Of the first progress counter, over the last `rate_window_s` under it."""
    if resumed_ns is None or not case.rules.progress:
        return None
    window_ns = round(case.rules.rate_window_s * NS)
    return case.rate(case.rules.progress[0], max(resumed_ns, until_ns - window_ns), until_ns)
