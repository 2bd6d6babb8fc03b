"""Owns the main question: did work go on after the heal, and is everything still as it was written?"""

from __future__ import annotations

from collections.abc import Iterator

from testbed.clock import NS
from testbed.judge.case import Case
from testbed.judge.proof import proved_deadlocked, shown_deadlocked
from testbed.judge.resumption import Resumption, left_behind, rate_after, rate_before, resumption
from testbed.judge.values import Finding, Says
from testbed.units import show_seconds

SIGBUS_STATUS = 128 + 7


def detect(case: Case) -> Iterator[Finding]:
    if not case.came_to_end:
        return
    seen = resumption(case)
    if seen.resumed_ns is None:
        yield from _standing_still(case, seen)
    elif seen.finish.done_ns is None:
        yield _unfinished(case, seen)
    else:
        yield _finished(case, seen)


def since(case: Case) -> str:
    """`after the heal`, or what stands in its place."""
    if case.rules.heals:
        return "after the heal"
    return (
        "after the judging point (no fault was healed)" if case.applied_ns is not None else "with no outage"
    )


def _standing_still(case: Case, seen: Resumption) -> Iterator[Finding]:
    watched = show_seconds(case.observed_s)
    if seen.sign_ns is not None:
        sign_s = (seen.sign_ns - case.heal_ns) / NS
        yield _finding(
            case,
            "note",
            f"A first sign of life came {sign_s:.1f} s {since(case)}, but progress did not go on.",
        )
    if proved_deadlocked(case):
        return  # the proof ended the watching before the bound
    if case.watched_to_bound:
        yield _finding(
            case,
            "stalled",
            f"{case.subject} made no lasting progress {since(case)}, for the {watched} that it was watched.",
        )
    elif not shown_deadlocked(case):
        told = f"it was watched for only {watched} of {show_seconds(case.rules.bound_s)}"
        lost = case.lost_looks
        why = f"{lost}, and without that it is not known why {told}." if lost else f"No progress, but {told}."
        yield _finding(case, "doubt", why)


def _unfinished(case: Case, seen: Resumption) -> Finding:
    if left := left_behind(case):
        return _finding(
            case,
            "stalled",
            f"{' and '.join(left)} did nothing for the last {show_seconds(case.rules.bound_s)},"
            f" though something of {case.subject} went on {_after(case, seen)}.",
        )
    what = "the sweep over every page" if case.rules.finish == "sweep" else "the job"
    if seen.finish.late:
        return _finding(
            case,
            "slow",
            f"{case.subject} went on working {_after(case, seen)}, but {what} did not end in its time.",
        )
    return _finding(
        case,
        "doubt",
        f"{case.subject} went on working {_after(case, seen)}, but {what} was not seen to end: no proof.",
    )


def _finished(case: Case, seen: Resumption) -> Finding:
    says, proof = _swept(case) if case.rules.finish == "sweep" else _exited(case)
    if says != "recovered":
        return _finding(case, says, proof)
    if (elsewhere := _elsewhere(case)) is not None:
        return _finding(case, "doubt", f"On {case.subject} {proof}, but {elsewhere}: no proof for both.")
    if not _answered(case):
        return _finding(
            case,
            "doubt",
            f"{proof}, but no request of the swap's device was answered {since(case)}: it was not needed.",
        )
    if case.rules.ends_too:
        proof += f", and so did {' and '.join(case.rules.ends_too)}"
    before, after = rate_before(case), rate_after(case, seen)
    weighed = case.rules.finish == "sweep" and case.rules.slow_share > 0
    if weighed and (not before or after is None):
        return _finding(
            case, "doubt", "The rate of work was not measured before and after: slow can not be ruled out."
        )
    went_on = f"{case.subject} went on working {_after(case, seen)}"
    if before and after is not None and after < case.rules.slow_share * before:
        return _finding(
            case,
            "slow",
            f"{went_on}, but at {after / before:.0%} of its rate before"
            f" (under {case.rules.slow_share:.0%} is slow); {proof}.",
        )
    return _finding(case, "recovered", f"{went_on}; {proof}.")


def _answered(case: Case) -> bool:
    """Whether what was in flight came to anything, where that is asked and its device is counted."""
    if "in-flight" not in case.rules.requires or case.rules.in_flight is None:
        return True
    source = case.rules.in_flight.rpartition(".")[0]
    names = [name for name in case.rules.progress if name.rpartition(".")[0] == source]
    return not names or bool(case.rises(names, case.before_ns, case.end_ns))


def _after(case: Case, seen: Resumption) -> str:
    if case.applied_ns is None or seen.resumed_ns is None:
        return "with no outage"
    return f"{(seen.resumed_ns - case.heal_ns) / NS:.1f} s {since(case)}"


def _swept(case: Case) -> tuple[Says, str]:
    pages = 0
    for load in case.rules.finish_loads:
        total = case.history.value_at(case.own(f"{load}.pages_total"), case.end_ns)
        asked = next(case.history.events_of("sweep.asked")).t_ns
        swept = max(
            (v for _, v in case.within(case.own(f"{load}.sweep_pages"), asked, case.end_ns)), default=None
        )
        if swept is None:  # a second sweep that is as long as the first changes no counter but sweeps_done
            swept = case.history.value_at(case.own(f"{load}.sweep_pages"), case.end_ns)
        if not total or swept != total:
            return (
                "doubt",
                f"The sweep of '{load}' checked {swept} of {total} pages: no proof that memory is intact.",
            )
        if case.history.value_at(case.own(f"{load}.bad_pages"), case.end_ns) is None:
            return "doubt", f"The load '{load}' did not count bad pages: no proof that memory is intact."
        pages += total
    return "recovered", f"a sweep over all {pages:,} pages found each intact"


def _exited(case: Case) -> tuple[Says, str]:
    for load in case.rules.finish_loads:
        status = (case.history.value_at(case.own(f"{load}.exit_status_plus_1"), case.end_ns) or 0) - 1
        if status == SIGBUS_STATUS:
            return "io-error", f"The job '{load}' was ended by SIGBUS: its memory could not be read back."
        if status != 0:
            return "doubt", f"The job '{load}' ended with status {status}, and nothing else says why."
    return "recovered", "the job ended with status 0"


def _elsewhere(case: Case) -> str | None:
    """What became of a job of another machine that did not end well, if its end is part of the proof."""
    for job in case.rules.ends_too:
        status = (case.history.value_at(f"{job}.exit_status_plus_1", case.end_ns) or 0) - 1
        if status != 0:
            machine, _, name = job.partition("/")
            ended = f"ended with status {status}" if status > 0 else "was not seen to end"
            return f"the job '{name}' on {machine} {ended}"
    return None


def _finding(case: Case, says: Says, statement: str) -> Finding:
    return Finding(
        detector="progress",
        says=says,
        statement=statement,
        from_s=case.at(case.heal_ns),
        to_s=case.at(case.end_ns),
    )
