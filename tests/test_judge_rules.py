"""Every rule of the verdict with a case that meets it and one that just does not."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from histories import PAGES, Story, Values, as_history, judging, ns, plan_of, write_result

from testbed import store
from testbed.errors import UsageError
from testbed.judge import Verdict, judge
from testbed.judge.values import read_verdict, write_verdict
from testbed.snapshot import atomic_floor

RECOVERED = Story()
STALLED = Story(recover_s=None)
NO_CUT = Story(rules=judging(faults=(), heals=(), requires=()), cut_s=None)
SILENT = Story(rules=judging(requires=("in-flight", "still")), flood_s=None)
NEVER_HEALED = Story(rules=judging(heals=()), heals=False)


def verdict(story: Story) -> Verdict:
    return judge(story.evidence())


def says(found: Verdict, word: str) -> list[str]:
    return [finding.statement for finding in found.findings if finding.says == word]


# --- the main outcomes


def test_progress_and_an_intact_sweep_are_a_recovery_with_its_times() -> None:
    found = verdict(RECOVERED)
    assert found.outcome == "recovered"
    assert found.time_to_recover_s == pytest.approx(10, abs=0.3)
    assert found.sweep_s == pytest.approx(3, abs=0.3)
    assert found.rate_before == pytest.approx(900, rel=0.1)
    assert found.rate_after == pytest.approx(800, rel=0.1)
    assert not found.censored
    assert f"{PAGES:,} pages" in found.reason


def test_no_progress_for_the_bound_is_stalled_and_censored() -> None:
    found = verdict(STALLED)
    assert (found.outcome, found.censored, found.time_to_recover_s) == ("stalled", True, None)
    assert found.observed_s == pytest.approx(60, abs=0.5)
    assert "60 s" in found.reason


def test_no_progress_but_watched_for_less_than_the_bound_is_no_verdict() -> None:
    found = verdict(STALLED.but(watch_s=50))
    assert (found.outcome, found.censored) == ("inconclusive", False)
    assert "50 s of 60 s" in found.reason


def test_silence_of_a_minute_and_then_recovery_is_a_recovery() -> None:
    found = verdict(RECOVERED.but(recover_s=53.0))
    assert found.outcome == "recovered"
    assert found.time_to_recover_s == pytest.approx(53, abs=0.3)


def test_one_completed_request_is_no_recovery() -> None:
    def one_request(t: float, values: Values) -> None:
        values["A/blocksampler"]["reads_completed_0"] += int(t > 30)

    found = verdict(STALLED.but(tweak=one_request))
    assert found.outcome == "stalled"
    assert any("first sign of life" in note for note in says(found, "note"))


def test_the_time_to_recover_ends_with_the_last_standstill() -> None:
    def stutter(t: float, values: Values) -> None:
        values["A/anonymous"]["work_units"] += 2 * int(t > 20) + 5 * int(t > 25)

    found = verdict(RECOVERED.but(recover_s=20.0, tweak=stutter))
    assert found.time_to_recover_s == pytest.approx(20, abs=0.3)


def test_without_a_fault_it_takes_no_time() -> None:
    found = verdict(NO_CUT)
    assert (found.outcome, found.time_to_recover_s) == ("recovered", 0.0)
    assert "with no outage" in found.reason


def test_without_a_fault_a_kernel_that_stops_is_still_stalled() -> None:
    found = verdict(NO_CUT.but(dead_from_s=19.0, watch_s=60, sweep_ends=False))
    assert found.outcome != "recovered"


def test_with_the_flood_silent_the_cell_recovers() -> None:
    assert verdict(SILENT).outcome == "recovered"


def test_a_link_that_is_never_healed_is_never_a_recovery() -> None:
    found = verdict(NEVER_HEALED)
    assert found.outcome == "network-down"
    assert "no packet came through" in found.reason
    assert any("no fault was healed" in finding.statement for finding in found.findings)


def test_never_healed_and_yet_packets_pass_is_no_verdict() -> None:
    def leak(t: float, values: Values) -> None:
        values["wire/swap.replies"]["delivered_packets"] += int(max(0.0, t - 10))

    found = verdict(NEVER_HEALED.but(tweak=leak))
    assert found.outcome == "inconclusive"
    assert "leaked" in found.reason


def test_a_fault_that_flaps_may_leak_only_while_it_is_healed() -> None:
    told = {"name": "cut", "fault": "drop", "read_back": True, "flows": ["swap.requests", "swap.replies"]}
    spells = ((8.0, "fault.reverted", told), (12.0, "fault.applied", told))

    def passing(from_s: float) -> Callable[[float, Values], None]:
        def tweak(t: float, values: Values) -> None:
            passed = int(max(0.0, min(t, from_s + 3) - from_s) * 4)
            values["wire/swap.replies"]["delivered_packets"] += passed

        return tweak

    flapping = RECOVERED.but(events=spells, rules=judging(requires=[]))
    assert verdict(flapping.but(tweak=passing(8.5))).outcome == "recovered"
    leaking = verdict(flapping.but(tweak=passing(13.5)))
    assert leaking.outcome == "inconclusive"
    assert "leaked" in leaking.reason


# --- slow


@pytest.mark.parametrize(("rate", "outcome"), [(200, "slow"), (250, "recovered")])
def test_slow_is_a_share_of_the_rate_before(rate: float, outcome: str) -> None:
    found = verdict(RECOVERED.but(rate_after=rate))
    assert found.outcome == outcome
    assert not found.censored


def test_progress_with_a_sweep_that_is_late_is_slow() -> None:
    found = verdict(RECOVERED.but(sweep_ends=False))
    assert found.outcome == "slow"
    assert "did not end in its time" in found.reason


@pytest.mark.parametrize(("rate", "outcome"), [(200, "slow"), (800, "recovered")])
def test_who_stands_still_while_it_is_swept_has_the_rate_of_before(rate: float, outcome: str) -> None:
    stands_s = (38.0, 45.0)  # of the sweep, which is from 35.5 s to 47.5 s
    held: dict[str, dict[str, int]] = {}

    def pauses(t: float, values: Values) -> None:
        for source in ("A/anonymous", "A/blocksampler"):
            if stands_s[0] <= t < stands_s[1]:
                values[source] = held.setdefault(source, dict(values[source]))

    found = verdict(RECOVERED.but(rate_after=rate, sweep_takes_s=12.0, tweak=pauses))
    assert found.outcome == outcome
    assert found.time_to_recover_s == pytest.approx(27, abs=0.5), "for good only then"
    assert found.rate_after == pytest.approx(rate, rel=0.1)


def test_a_rate_that_was_not_measured_leaves_slow_open() -> None:
    def unseen(t: float, values: Values) -> None:
        if t < 3:
            values["A/anonymous"]["work_units"] = 7

    found = verdict(RECOVERED.but(tweak=unseen))
    assert found.outcome == "inconclusive"
    assert "slow can not be ruled out" in found.reason


# --- the proof


def test_a_sweep_that_misses_one_page_proves_nothing() -> None:
    def one_missing(t: float, values: Values) -> None:
        values["A/anonymous"]["sweep_pages"] = min(PAGES - 1, values["A/anonymous"]["sweep_pages"])

    found = verdict(RECOVERED.but(tweak=one_missing))
    assert found.outcome == "inconclusive"
    assert str(PAGES - 1) in found.reason


def test_a_sweep_without_a_count_of_bad_pages_proves_nothing() -> None:
    def uncounted(t: float, values: Values) -> None:
        del values["A/anonymous"]["bad_pages"]

    assert verdict(RECOVERED.but(tweak=uncounted)).outcome == "inconclusive"


def test_a_sweep_that_nobody_asked_for_proves_nothing() -> None:
    records = [r for r in RECOVERED.records() if r.get("what") != "sweep.asked"]
    found = judge(store.Evidence(RECOVERED.rules, as_history(records), {}))
    assert found.outcome == "inconclusive"


def job(status: int) -> Story:
    def exits(t: float, values: Values) -> None:
        values["A/mke2fs"] = {"exit_status_plus_1": status + 1 if t >= 36 else 0}

    return RECOVERED.but(rules=judging(finish="exit", finish_loads=("mke2fs",)), tweak=exits)


@pytest.mark.parametrize(
    ("status", "outcome"), [(0, "recovered"), (1, "inconclusive"), (7, "inconclusive"), (135, "io-error")]
)
def test_a_job_proves_itself_by_its_exit_status(status: int, outcome: str) -> None:
    assert verdict(job(status)).outcome == outcome


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (0, "the job ended with status 0, and so did C/theirs"),
        (
            1,
            "On A the job ended with status 0, but the job 'theirs' on C ended with status 1: no proof",
        ),
        (None, "but the job 'theirs' on C was not seen to end: no proof for both."),
    ],
)
def test_a_job_of_another_machine_may_be_part_of_the_proof(status: int | None, told: str) -> None:
    story = job(0)

    def ends(t: float, values: Values) -> None:
        story.tweak(t, values)
        values["C/theirs"] = {"exit_status_plus_1": (status + 1 if status is not None and t >= 38 else 0)}

    rules = judging(finish="exit", finish_loads=("mke2fs",), ends_too=("C/theirs",))
    found = verdict(story.but(rules=rules, tweak=ends))
    assert found.outcome == ("recovered" if status == 0 else "inconclusive")
    assert told in found.reason


def test_a_job_that_ended_may_stand_still_afterwards() -> None:
    story = job(0)

    def ends(t: float, values: Values) -> None:
        story.tweak(t, values)
        if t > 36:
            values["A/anonymous"]["work_units"] = 10**6
            values["A/blocksampler"]["reads_completed_0"] = 10**6

    found = verdict(story.but(tweak=ends, sweep_takes_s=12.0))
    assert found.outcome == "recovered"
    assert found.sweep_s is None


@pytest.mark.parametrize(("status", "outcome"), [(0, "recovered"), (1, "inconclusive"), (135, "io-error")])
def test_a_job_that_ended_before_the_judging_point_has_nothing_to_resume(status: int, outcome: str) -> None:
    """No fault is healed, and nothing is to be done any more when judging begins."""

    def ends(t: float, values: Values) -> None:
        values["A/mke2fs"] = {"exit_status_plus_1": status + 1 if t >= 9 else 0}
        values["A/anonymous"]["work_units"] = values["A/blocksampler"]["reads_completed_0"] = int(
            min(t, 9) + 99
        )

    rules = judging(finish="exit", finish_loads=("mke2fs",), heals=(), faults=(), requires=())
    found = verdict(RECOVERED.but(rules=rules, cut_s=None, tweak=ends))
    assert found.outcome == outcome
    assert found.time_to_recover_s == (0 if status == 0 else None)


# --- integrity


@pytest.mark.parametrize("field", ["bad_pages", "sweep_bad_pages", "stale_pages"])
def test_one_wrong_page_is_corruption_before_all_else(field: str) -> None:
    def wrong(t: float, values: Values) -> None:
        values["A/anonymous"][field] = int(t > 30)

    story = RECOVERED.but(tweak=wrong, events=((31.0, "testbed.fault", {"message": "x"}),))
    assert verdict(story).outcome == "corrupt"


def test_a_page_that_could_not_be_read_is_lost_not_corrupt() -> None:
    def lost(t: float, values: Values) -> None:
        count = 2 * int(t > 30)
        values["A/anonymous"] |= {"bad_pages": count, "sweep_bad_pages": count, "lost_pages": count}

    assert verdict(RECOVERED.but(tweak=lost)).outcome == "io-error"

    def both(t: float, values: Values) -> None:
        lost(t, values)
        values["A/anonymous"]["bad_pages"] = 3 * int(t > 30)

    assert verdict(RECOVERED.but(tweak=both)).outcome == "corrupt"


def test_a_wrong_page_counted_elsewhere_is_not_the_subjects() -> None:
    def elsewhere(t: float, values: Values) -> None:
        values["B/anonymous"] = {"bad_pages": 1}

    assert verdict(RECOVERED.but(tweak=elsewhere)).outcome == "recovered"


# --- preconditions


def test_the_floor_is_three_eighths_of_min() -> None:
    assert [atomic_floor(pages) for pages in (256, 362, 512)] == [96, 136, 192]


@pytest.mark.parametrize(("free", "outcome"), [(96, "recovered"), (97, "inconclusive")])
def test_memory_must_have_fallen_to_the_floor(free: int, outcome: str) -> None:
    assert verdict(RECOVERED.but(least_free=free)).outcome == outcome


def test_drops_for_the_reserve_stand_in_for_the_floor() -> None:
    def drops(t: float, values: Values) -> None:
        values["A/vmsampler"]["pfmemalloc_drop"] = int(t > 8)

    assert verdict(RECOVERED.but(least_free=200, tweak=drops)).outcome == "recovered"


def test_drops_before_the_fault_or_after_the_heal_do_not_count() -> None:
    def drops(t: float, values: Values) -> None:
        values["A/vmsampler"]["pfmemalloc_drop"] = 3 + int(t > 18.5)

    assert verdict(RECOVERED.but(least_free=200, tweak=drops)).outcome == "inconclusive"


def test_memory_that_is_short_only_after_the_heal_does_not_count() -> None:
    def late(t: float, values: Values) -> None:
        low = 60 if t > 18.5 else 900
        values["A/blocksampler"]["free_pages"] = values["A/memory"]["free_pages"] = low

    assert verdict(RECOVERED.but(tweak=late)).outcome == "inconclusive"


def test_requests_must_be_in_flight() -> None:
    found = verdict(RECOVERED.but(in_flight=0))
    assert found.outcome == "inconclusive"
    assert [one.name for one in found.preconditions if not one.met] == ["in-flight"]


@pytest.mark.parametrize(
    ("stalls_at_s", "free", "met"),
    [((7, 15), 900, True), ((7,), 900, False), ((15,), 900, False), ((25, 26), 900, False), ((), 256, True)],
)
def test_memory_must_have_been_short_in_either_half_of_the_time(
    stalls_at_s: tuple[int, ...], free: int, met: bool
) -> None:
    def stalls(t: float, values: Values) -> None:
        values["A/vmsampler"]["allocstall"] = 2 + sum(t > at_s for at_s in stalls_at_s)

    rules = RECOVERED.rules.model_copy(update={"requires": ("reclaiming",)})
    found = verdict(RECOVERED.but(rules=rules, tweak=stalls, least_free=free))
    assert found.preconditions[0].met is met
    assert found.outcome == ("recovered" if met else "inconclusive")


def test_a_sampler_that_stopped_before_the_fault_vouches_for_nothing() -> None:
    def stopped(t: float, values: Values) -> None:
        if t > 1:
            values["A/blocksampler"] |= {"samples": 220, "in_flight_0": 4}

    assert verdict(RECOVERED.but(tweak=stopped)).outcome == "inconclusive"


@pytest.mark.parametrize(("size", "outcome"), [(1200, "recovered"), (52, "inconclusive")])
def test_without_the_sampler_what_was_sent_again_vouches_but_bare_probes_do_not(
    size: int, outcome: str
) -> None:
    def tweak(t: float, values: Values) -> None:
        if t >= -1:
            values["A/blocksampler"] |= {"samples": 220, "in_flight_0": 4}
        values["wire/swap.requests"]["offered_bytes"] = values["wire/swap.requests"]["offered_packets"] * size

    found = verdict(RECOVERED.but(tweak=tweak))
    assert found.outcome == outcome


def test_what_is_sent_while_replies_come_was_not_sent_again() -> None:
    """A link that is slow and not cut: with the sampler stopped nothing says what is in flight."""

    def tweak(t: float, values: Values) -> None:
        if t >= -1:
            values["A/blocksampler"] |= {"samples": 220, "in_flight_0": 4}
        values["wire/swap.requests"]["offered_bytes"] = values["wire/swap.requests"]["offered_packets"] * 1200
        if 0 < t < 20:
            values["wire/swap.replies"]["delivered_packets"] += int(t)

    found = verdict(RECOVERED.but(tweak=tweak))
    assert [one.name for one in found.preconditions if not one.met] == ["in-flight"]


def test_a_sampler_that_stopped_after_the_cut_still_vouches_for_what_was_in_flight() -> None:
    def stopped(t: float, values: Values) -> None:
        if 6 < t < 28:
            values["A/blocksampler"] |= {"samples": 320, "in_flight_0": 4}

    found = verdict(RECOVERED.but(tweak=stopped))
    assert found.outcome == "recovered"
    told = {one.name: one.statement for one in found.preconditions}["in-flight"]
    assert re.fullmatch(
        r"4 swap requests were in flight when they were last counted, 1\d s before the heal\.", told
    )


@pytest.mark.parametrize(("last_work_s", "outcome"), [(12.5, "recovered"), (14.0, "inconclusive")])
def test_progress_must_have_stood_still(last_work_s: float, outcome: str) -> None:
    def works_on(t: float, values: Values) -> None:
        values["A/anonymous"]["work_units"] += int(min(t, last_work_s) * 4) if t > 2 else 0

    assert verdict(RECOVERED.but(tweak=works_on)).outcome == outcome


def test_a_load_that_never_worked_did_not_stand_still() -> None:
    def idle(t: float, values: Values) -> None:
        if t < 18:
            values["A/anonymous"]["work_units"] = values["A/blocksampler"]["reads_completed_0"] = 0

    assert verdict(RECOVERED.but(tweak=idle)).outcome == "inconclusive"


def test_only_what_the_playbook_requires_is_asked_for() -> None:
    rules = judging(requires=("still",))
    assert verdict(RECOVERED.but(rules=rules, least_free=900, in_flight=0)).outcome == "recovered"


# --- a stalled cell is not a pass by lack of preconditions, nor a failure
def test_a_stalled_cell_without_its_preconditions_is_no_verdict_either() -> None:
    assert verdict(STALLED.but(least_free=300)).outcome == "inconclusive"


# --- livelock


def test_busy_and_scanning_without_progress_is_a_livelock() -> None:
    found = verdict(STALLED.but(busy=0.9, scanning=True))
    assert (found.outcome, found.censored) == ("livelocked", True)


@pytest.mark.parametrize("changes", [{"busy": 0.45, "scanning": True}, {"busy": 0.9, "scanning": False}])
def test_busy_alone_or_scanning_alone_is_a_stall(changes: dict[str, Any]) -> None:
    assert verdict(STALLED.but(**changes)).outcome == "stalled"


@pytest.mark.parametrize(("vcpus", "outcome"), [(1, "livelocked"), (2, "stalled")])
def test_busy_is_what_each_vcpu_is_on_average(vcpus: int, outcome: str) -> None:
    def several(t: float, values: Values) -> None:
        values["A/vcpu"]["vcpus"] = vcpus

    assert verdict(STALLED.but(busy=0.9, scanning=True, tweak=several)).outcome == outcome


def test_scans_that_have_ceased_are_no_livelock() -> None:
    def ceases(t: float, values: Values) -> None:
        values["A/vmsampler"]["pgscan_kswapd"] = int(min(t, 30) * 100) + 1000

    assert verdict(STALLED.but(busy=0.9, tweak=ceases)).outcome == "stalled"


def test_scanning_with_progress_is_a_recovery() -> None:
    assert verdict(RECOVERED.but(busy=0.9, scanning=True)).outcome == "recovered"


# --- doubt


# --- what was to be done and was not


def deed(hit: int, *, state: int = 4, error: int = 0, started: bool = True, at_s: float = 0.1) -> Verdict:
    def shown(t: float, values: Values) -> None:
        values["A/pages"] = {"state": state, "error": error, "hit": hit if t > 1 else 0}

    events = ((at_s, "load.started", {"name": "pages"}),) if started else ()
    return verdict(RECOVERED.but(tweak=shown, events=events))


def test_a_deed_that_was_started_and_not_done_makes_no_verdict() -> None:
    assert deed(1).outcome == "recovered"
    assert deed(0, started=False).outcome == "recovered"
    failed = deed(0, state=5, error=22)
    assert failed.outcome == "inconclusive"
    assert failed.reason == "'pages' was started on A, and failed with error 22."
    assert deed(3, state=5, error=1).outcome == "inconclusive", "done in part"
    assert deed(0).reason == "'pages' was started on A, and nothing shows that it was done."


def test_a_word_at_the_end_of_the_timeline_that_is_not_done_is_what_is_judged() -> None:
    end_s = 17.5  # the judging begins at 18 s
    assert deed(0, at_s=end_s).outcome == "recovered"
    assert deed(0, at_s=end_s - 3).outcome == "inconclusive"
    assert deed(0, at_s=end_s, state=5, error=22).outcome == "inconclusive", "it was refused"


def test_a_deed_was_done_even_if_its_machine_was_reset_since() -> None:
    def reset(t: float, values: Values) -> None:
        values["C/stop"] = {"state": 4 if 1 < t < 9 else 2, "error": 0, "hit": int(1 < t < 9)}

    events = ((0.1, "load.started", {"name": "stop"}),)
    assert verdict(RECOVERED.but(tweak=reset, events=events)).outcome == "recovered"


def test_a_job_whose_command_is_not_there_makes_no_verdict() -> None:
    def outcome(status: int) -> tuple[str, str]:
        def tweak(t: float, values: Values) -> None:
            values["A/write"] = {"exit_status_plus_1": (status + 1) * int(t > 3)}

        found = verdict(Story(recover_s=None, tweak=tweak))
        return found.outcome, found.reason

    assert outcome(127) == ("inconclusive", "The command of 'write' could not be run on A.")
    assert outcome(1)[0] == "stalled"


@pytest.mark.parametrize("machine", ["A", "C"])
def test_a_machine_that_did_not_obey_its_settings_makes_no_verdict(machine: str) -> None:
    def refused(t: float, values: Values) -> None:
        values.setdefault(f"{machine}/machine", {"beats": int((t + 10) * 4)})["failed_lines"] = 2

    found = verdict(RECOVERED.but(tweak=refused))
    assert found.outcome == "inconclusive"
    assert found.reason == f"{machine} could not apply 2 settings that it was to start with."


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"missing": "memory", "lives": False, "console": True}, "did not fill its memory within 60 s"),
        ({"missing": "swap", "lives": True, "console": False}, "it goes on nevertheless."),
    ],
)
def test_a_machine_that_never_came_to_its_steady_state_is_told_so(fields: dict[str, Any], says: str) -> None:
    found = verdict(STALLED.but(events=((0.1, "unsteady", {**fields, "bound_s": 60}),)))
    assert found.outcome == "inconclusive" and says in found.reason, found.reason


def test_one_request_just_before_the_end_is_no_recovery() -> None:
    def one(t: float, values: Values) -> None:
        values["A/blocksampler"]["reads_completed_0"] += int(t > STALLED.end_s - 3)

    found = verdict(STALLED.but(tweak=one))
    assert found.outcome == "stalled"
    assert any("A first sign of life came" in finding.statement for finding in found.findings)


class ReadBack(Story):
    """A server that was told to serve again at 15 s, and was found to at 18 s."""

    def timeline(self) -> Iterator[tuple[float, str, dict[str, Any]]]:
        for t, what, fields in super().timeline():
            yield t, what, fields | ({"begun_ns": ns(15.0)} if what == "fault.reverted" else {})


def test_what_goes_on_while_the_heal_is_read_back_went_on_after_it() -> None:
    found = verdict(ReadBack(recover_s=-2.0))
    assert found.outcome == "recovered"
    assert all(each.met for each in found.preconditions)
    (still,) = (each for each in found.preconditions if each.name == "still")
    assert still.numbers["still_s"] == pytest.approx(12.5, abs=0.5)


def contended(story: Story, machine: str) -> Story:
    def tweak(t: float, values: Values) -> None:
        values[f"{machine}/vcpu"] = {"run_ns": 0, "delay_ns": int((t + 10) * 0.5e9)}

    return story.but(tweak=tweak)


@pytest.mark.parametrize(("share", "outcome"), [(0.19, "stalled"), (0.25, "inconclusive")])
def test_a_busy_host_makes_no_verdict_of_silence(share: float, outcome: str) -> None:
    assert verdict(STALLED.but(delayed=share)).outcome == outcome


def test_a_busy_host_cannot_fake_a_recovery_with_every_page_intact() -> None:
    found = verdict(RECOVERED.but(delayed=0.5))
    assert found.outcome == "recovered"
    assert any(finding.says == "contended" for finding in found.findings)


def test_a_busy_host_under_the_swap_server_makes_no_verdict_but_under_the_flooder_it_does() -> None:
    assert verdict(contended(STALLED, "C")).outcome == "inconclusive"
    assert verdict(contended(STALLED, "B")).outcome == "stalled"


def test_delays_that_were_not_recorded_make_no_verdict() -> None:
    assert verdict(RECOVERED.but(without=("A/vcpu",))).outcome == "inconclusive"


@pytest.mark.parametrize(
    ("pace", "outcome"), [(1.08, "recovered"), (1.15, "inconclusive"), (0.8, "inconclusive")]
)
def test_a_guest_clock_that_is_off_makes_no_verdict(pace: float, outcome: str) -> None:
    assert verdict(RECOVERED.but(guest_pace=pace)).outcome == outcome


def test_a_heartbeat_that_stops_alone_is_a_dead_witness() -> None:
    def stops(t: float, values: Values) -> None:
        if t > 20:
            values["A/machine"] = {"beats": 120, "beat_ns": 30 * 10**9}

    found = verdict(STALLED.but(tweak=stops))
    assert found.outcome == "inconclusive"
    assert "the witness died" in found.reason


def test_a_guest_in_which_nothing_runs_any_more_is_stalled() -> None:
    found = verdict(STALLED.but(dead_from_s=25.0))
    assert found.outcome == "stalled"
    assert any("nothing runs there" in note for note in says(found, "note"))


def test_a_heartbeat_that_pauses_shortly_is_no_matter() -> None:
    found = verdict(STALLED.but(dead_from_s=70.0))
    assert found.outcome == "stalled"
    assert not says(found, "note")


@pytest.mark.parametrize(
    ("state", "outcome"), [(1, "stalled"), (2, "inconclusive"), (5, "inconclusive"), (3, "crashed")]
)
def test_what_qemu_says_of_the_guest(state: int, outcome: str) -> None:
    def tell(t: float, values: Values) -> None:
        values["A/domain"] = {"state": state if t > 30 else 1}

    assert verdict(STALLED.but(tweak=tell)).outcome == outcome


@pytest.mark.parametrize("what", ["fault.applied", "fault.reverted"])
def test_a_fault_whose_effect_was_not_read_back_makes_no_verdict(what: str) -> None:
    for change in ({"read_back": False}, None):
        records = RECOVERED.records()
        if change is None:
            records = [r for r in records if r.get("what") != what]
        else:
            records = [{**r, **change} if r.get("what") == what else r for r in records]
        assert judge(store.Evidence(RECOVERED.rules, as_history(records), {})).outcome == "inconclusive"


def test_a_link_that_is_said_to_be_healed_but_passes_nothing_makes_no_verdict() -> None:
    def blocked(t: float, values: Values) -> None:
        if t > 2:
            values["wire/swap.requests"]["delivered_packets"] = 2000

    found = verdict(STALLED.but(tweak=blocked))
    assert found.outcome == "inconclusive"
    assert "not truly healed" in found.reason


# --- the run itself


def test_a_fault_of_the_testbed_is_never_a_verdict() -> None:
    found = verdict(STALLED.but(events=((40.0, "testbed.fault", {"message": "disk full"}),)))
    assert (found.outcome, found.testbed_fault) == ("inconclusive", "disk full")


def test_a_fault_of_the_testbed_after_the_judging_is_noted() -> None:
    late = RECOVERED.end_s + 1
    found = verdict(RECOVERED.but(events=((late, "testbed.fault", {"message": "revert failed"}),)))
    assert (found.outcome, found.testbed_fault) == ("recovered", None)
    assert any("revert failed" in note for note in says(found, "note"))


def test_an_interrupted_run_is_no_verdict_and_no_fault() -> None:
    found = verdict(STALLED.but(events=((40.0, "interrupted", {}),)))
    assert (found.outcome, found.testbed_fault) == ("inconclusive", None)


@pytest.mark.parametrize("what", ["judging.begin", "judging.end"])
def test_a_history_that_stops_early_is_no_verdict(what: str) -> None:
    records = [r for r in RECOVERED.records() if r.get("what") != what]
    assert judge(store.Evidence(RECOVERED.rules, as_history(records), {})).outcome == "inconclusive"


def test_an_empty_history_is_no_verdict() -> None:
    from testbed.history import History

    assert judge(store.Evidence(judging(), History(), {})).outcome == "inconclusive"


def test_damaged_lines_are_doubt() -> None:
    from dataclasses import replace

    evidence = RECOVERED.evidence()
    damaged = replace(evidence, history=replace(evidence.history, damaged_lines=1))
    assert judge(damaged).outcome == "inconclusive"


def test_a_detector_that_fails_is_unknown_and_never_a_recovery(monkeypatch: pytest.MonkeyPatch) -> None:
    from testbed.judge import rules

    def breaks(case: object) -> list[Any]:
        raise RuntimeError("oh")

    monkeypatch.setattr(rules, "detectors", lambda: (*_all(), ("broken-one", breaks)))
    found = verdict(RECOVERED)
    assert found.outcome == "inconclusive"
    assert "broken-one" in found.reason


def _all() -> tuple[Any, ...]:
    from testbed.judge.detectors import detectors

    return detectors()


def test_every_detector_is_found() -> None:
    assert {name for name, _ in _all()} >= {
        "progress",
        "console",
        "integrity",
        "precondition",
        "faults",
        "ending",
    }


# --- labels, folders


def judge_folder(folder: Path) -> Verdict:
    found = judge(store.read_evidence(folder))
    write_verdict(folder, found)
    return found


@pytest.mark.parametrize("story", [RECOVERED, STALLED], ids=["recovered", "stalled"])
def test_the_judge_never_sees_a_label(story: Story, tmp_path: Path) -> None:
    one = write_result(tmp_path / "one", story, kernel="complete-rx", expect="recovered")
    other = write_result(
        tmp_path / "other", story, kernel="vanilla-2007", expect="stalled", variant="x", playbook="y"
    )
    assert judge_folder(one) == judge_folder(other)
    assert (one / store.VERDICT).read_bytes() == (other / store.VERDICT).read_bytes()


def test_a_verdict_is_read_as_it_was_written(tmp_path: Path) -> None:
    folder = write_result(tmp_path / "r", RECOVERED)
    assert judge_folder(folder) == read_verdict(folder)


def test_a_folder_without_a_verdict_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not judged yet") as raised:
        read_verdict(tmp_path)
    assert "testbed judge" in raised.value.hint
    (tmp_path / store.VERDICT).write_text(json.dumps({"outcome": "splendid"}))
    with pytest.raises(UsageError, match="not a verdict"):
        read_verdict(tmp_path)


def test_the_plan_in_the_tests_is_a_plan() -> None:
    assert plan_of(judging(), kernel="x").labels.kernel == "x"


# --- a server that is the subject itself


def serving(read: int, written: int, requests: float = 1.0) -> Callable[[float, Values], None]:
    """The disk behind the daemon: so many bytes by the judging point, none of it before the timeline."""

    def tweak(t: float, values: Values) -> None:
        share = min(max(t, 0.0), 18.0) / 18.0
        values["A/disk.swap"] = {"read_bytes": int(read * share), "write_bytes": int(written * share)}
        for name in ("reads_completed_0", "writes_completed_0"):
            values["A/blocksampler"][name] = int(values["A/blocksampler"][name] * requests)

    return tweak


@pytest.mark.parametrize(
    ("tweak", "met", "kib"),
    [
        (serving(4096, 4096), True, 8),
        (serving(0, 0), True, 0),  # the server's page cache may hold all that it was given
        (serving(4096, 4096, requests=0.0), False, 8),
    ],
)
def test_who_serves_must_have_answered(tweak: Callable[[float, Values], None], met: bool, kib: int) -> None:
    rules = judging(server="A", backing="A/disk.swap", requires=("served",))
    found = verdict(Story(rules=rules, tweak=tweak))
    (one,) = found.preconditions
    assert (one.name, one.met) == ("served", met) and f"the host saw {kib} KiB" in one.statement
    assert found.outcome == ("recovered" if met else "inconclusive")
    blind = judging(server="A", progress=["A/anonymous.work_units"], requires=("served",))
    assert verdict(Story(rules=blind, tweak=tweak)).outcome == "inconclusive"


def test_without_a_wire_a_standstill_is_not_the_networks() -> None:
    rules = judging(server="A", backing="A/disk.swap", requires=("served",))
    story = Story(rules=rules, recover_s=None, tweak=serving(0, 1 << 20))
    found = verdict(story.but(without=("wire/swap.requests", "wire/swap.replies", "C/vcpu")))
    assert (found.outcome, found.censored) == ("stalled", True)


# --- queues


@pytest.mark.parametrize(("granted_mib", "told"), [(16, True), (512, False), (0, False), (None, False)])
def test_queues_that_can_not_hold_all_memory_are_told(granted_mib: int | None, told: bool) -> None:
    def service(t: float, values: Values) -> None:
        values["A/machine"]["mem_available_kib"] = 80 << 10 if t < -9 else 20 << 10
        if granted_mib is not None:
            values["A/service"] = {"rcvbuf_bytes": granted_mib << 20}

    found = verdict(RECOVERED.but(tweak=service))
    assert found.outcome == "recovered"
    notes = [each for each in found.findings if each.detector == "queues"]
    assert [each.says for each in notes] == ["note"] * told
    assert all("'service' may hold 16 MiB, and A had 80 MiB" in each.statement for each in notes)
