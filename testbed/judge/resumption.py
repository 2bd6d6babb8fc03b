"""Owns when progress stood still and when it went on: what the verdict rests on."""

from __future__ import annotations

from dataclasses import dataclass

from testbed.clock import NS
from testbed.judge.case import BOUND_SLACK_S, Case


@dataclass(frozen=True, slots=True)
class Finish:
    """How the proof at the end went: when it was asked for and done (None: not within the window)."""

    asked_ns: int | None
    done_ns: int | None
    late: bool


@dataclass(frozen=True, slots=True)
class Resumption:
    """`resumed_ns`: the first progress after the heal that never stood still again; None without one.

    `sign_ns` is the first progress of all, be it a single request. `finish` closes the watch on
    progress: what has finished may stand still.
    """

    resumed_ns: int | None
    sign_ns: int | None
    finish: Finish


def resumption(case: Case) -> Resumption:
    """When progress resumed after the heal, for good; a job that had ended by then had nothing to resume."""
    finish = finish_of(case)
    if finish.done_ns is not None and finish.done_ns <= case.heal_ns:
        return Resumption(case.heal_ns, None, finish)
    until_ns = finish.done_ns if finish.done_ns is not None else case.end_ns
    times = case.rises(case.counters, case.heal_ns, until_ns)
    resumed_ns = lasting(case, times, until_ns, ended=finish.done_ns is not None)
    if resumed_ns is None and case.rules.finish == "exit":
        resumed_ns = finish.done_ns  # a job that came to its end went on, whoever counted its requests
    return Resumption(resumed_ns, times[0] if times else None, finish)


def lasting(case: Case, times: tuple[int, ...], until_ns: int, *, ended: bool = False) -> int | None:
    """The first of the rises after which, up to `until_ns`, progress never stood still again.

    One request just before the end is none: it must have gone on for as long as it may stand still, unless
    what it was for had `ended`.
    """
    resumed = None
    next_ns = until_ns
    for t_ns in reversed(times):
        if next_ns - t_ns > case.still_ns:
            break
        resumed = next_ns = t_ns
    lasted = resumed is not None and (ended or until_ns - resumed >= case.still_ns)
    return resumed if lasted else None


def left_behind(case: Case) -> tuple[str, ...]:
    """The loads that did nothing for as long as silence must last to be a verdict, while others went on.

    Swap that goes in and out is no work of theirs, nor is that of another load.
    """
    if case.rules.finish != "sweep":
        return ()
    least_ns = round((case.rules.bound_s - BOUND_SLACK_S) * NS)
    found = []
    for load in case.rules.finish_loads:
        names = [case.own(f"{load}.{field}") for field in ("work_units", "sweep_pages", "sweeps_done")]
        times = case.rises(names, case.heal_ns, case.end_ns)
        counted = any(case.history.series(name) for name in names)
        if counted and case.end_ns - max(times, default=case.heal_ns) >= least_ns:
            found.append(load)
    return tuple(found)


def finish_of(case: Case) -> Finish:
    """When the sweep of every load, or the job's end, was seen in the loads' own counters."""
    late = case.history.first("sweep.late") is not None
    asked = case.history.first("sweep.asked")
    if case.rules.finish == "sweep":
        if asked is None or asked.t_ns < case.heal_ns:
            return Finish(None, None, late)
        field, from_ns = "sweeps_done", asked.t_ns
    else:
        field, from_ns = "exit_status_plus_1", case.origin_ns
    done = []
    for load in case.rules.finish_loads:
        times = case.rises([case.own(f"{load}.{field}")], from_ns, case.end_ns)
        if not times:
            return Finish(asked.t_ns if asked else None, None, late)
        done.append(times[0])
    return Finish(asked.t_ns if asked else None, max(done, default=None), late)


def rate_before(case: Case) -> float | None:
    """Rate of the first progress counter in the undisturbed time before the timeline's first deed."""
    if not case.rules.progress:
        return None
    window_ns = round(case.rules.rate_window_s * 1e9)
    return case.rate(case.rules.progress[0], case.deed_ns - window_ns, case.deed_ns)


def rate_after(case: Case, seen: Resumption) -> float | None:
    """The same rate once progress had resumed, up to the sweep (which takes turns with the work).

    Who stood still once more while it was swept resumed for good only after that; it worked before
    nonetheless, or the sweep would not have been asked for.
    """
    if not case.rules.progress or seen.resumed_ns is None:
        return None
    window_ns = round(case.rules.rate_window_s * 1e9)
    stops = (seen.finish.asked_ns, seen.finish.done_ns, case.end_ns)
    to_ns = next(stop for stop in stops if stop is not None)
    from_ns = to_ns - window_ns
    if seen.resumed_ns < to_ns:
        from_ns = max(from_ns, seen.resumed_ns)
    return case.rate(case.rules.progress[0], from_ns, to_ns)
