"""Silence that is no standstill of the kernel's, and going on that is none: each with what nearly is one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from histories import NS, Story, Values, judging

from testbed.judge import Verdict, judge

TWO = judging(
    progress=["A/anonymous-1.work_units", "A/anonymous-2.work_units", "A/blocksampler.reads_completed_0"],
    finish_loads=["anonymous-1", "anonymous-2"],
    second_client=("B/second-client.blocks",),
)
CROSSED = judging(
    progress=["A/blocksampler.reads_completed_0"],
    finish="exit",
    finish_loads=["job"],
    requires=(),
    slow_share=0,
)


def verdict(story: Story) -> Verdict:
    return judge(story.evidence())


@dataclass(frozen=True)
class Late(Story):
    """It goes on 5 s after the heal, and the sweep is given up two minutes after it was asked for."""

    recover_s: float | None = 5.0
    sweep_ends: bool = False

    @property
    def end_s(self) -> float:  # type: ignore[override]
        return 153.0

    def timeline(self) -> Iterator[tuple[float, str, dict[str, Any]]]:
        for t, what, fields in super().timeline():
            yield (152.9, "sweep.late", fields) if what == "sweep.done" else (t, what, fields)


def worked(values: Values, *units: int) -> None:
    anonymous = values.pop("A/anonymous")
    for number, each in enumerate(units, 1):
        values[f"A/anonymous-{number}"] = anonymous | {"work_units": each, "sweeps_done": 0, "sweep_pages": 0}


# --- who goes on


@pytest.mark.parametrize(("again_s", "outcome"), [(None, "stalled"), (100.0, "slow")])
def test_a_load_that_is_left_behind_did_not_go_on_whoever_else_does(
    again_s: float | None, outcome: str
) -> None:
    def tweak(t: float, values: Values) -> None:
        stood = int((min(t, 2.5) + 10) * 400)
        gone_on = stood + max(0, int((t - 23) * 400))
        worked(values, gone_on, stood + int(again_s is not None and t > again_s))

    found = verdict(Late(rules=TWO, tweak=tweak))
    assert found.outcome == outcome
    assert ("anonymous-2 did nothing for the last 60 s" in found.reason) is (outcome == "stalled")


def test_swap_that_goes_in_and_out_is_no_work() -> None:
    def tweak(t: float, values: Values) -> None:
        stood = int((min(t, 2.5) + 10) * 400)
        worked(values, stood, stood)

    found = verdict(Late(rules=TWO, tweak=tweak))
    assert found.outcome == "stalled" and "anonymous-1 and anonymous-2 did nothing" in found.reason


@pytest.mark.parametrize(("answered", "outcome"), [(True, "recovered"), (False, "inconclusive")])
def test_what_was_in_flight_must_come_to_something(answered: bool, outcome: str) -> None:
    def tweak(t: float, values: Values) -> None:
        if not answered:
            values["A/blocksampler"]["reads_completed_0"] = int((min(t, 2.5) + 10) * 90)

    found = verdict(Story(tweak=tweak))
    assert found.outcome == outcome
    assert answered or "no request of the swap's device was answered" in found.reason


# --- who does not, or is not seen to


def job(t: float, values: Values, *, ends_s: float | None = None) -> None:
    values.pop("A/anonymous")
    values["A/job"] = {"state": 3, "exit_status_plus_1": int(ends_s is not None and t >= ends_s)}


@pytest.mark.parametrize(("dies_s", "outcome"), [(20.0, "inconclusive"), (None, "stalled")])
def test_where_only_the_sampler_counts_it_must_live_for_silence_to_count(
    dies_s: float | None, outcome: str
) -> None:
    def tweak(t: float, values: Values) -> None:
        job(t, values)
        if dies_s is not None:
            values["A/blocksampler"]["samples"] = int((min(t, dies_s) + 10) * 20)

    found = verdict(Story(rules=CROSSED, recover_s=None, tweak=tweak))
    assert found.outcome == outcome
    assert dies_s is None or "What counts the progress of A stopped" in found.reason


def test_a_job_that_ended_well_went_on_whoever_counted_its_requests() -> None:
    def tweak(t: float, values: Values) -> None:
        job(t, values, ends_s=60.0)
        values["A/blocksampler"]["samples"] = int((min(t, 12.0) + 10) * 20)

    assert verdict(Story(rules=CROSSED, recover_s=None, tweak=tweak)).outcome == "recovered"


@pytest.mark.parametrize("state", [2, 3, 4, 5])
@pytest.mark.parametrize("machine", ["C", "B"])
def test_a_server_or_second_client_whose_machine_is_off_is_doubt(machine: str, state: int) -> None:
    rules = judging(second_client=("B/second-client.blocks",))

    def tweak(t: float, values: Values) -> None:
        values[f"{machine}/domain"] = {"state": state if t > 25 else 1}

    found = verdict(Story(rules=rules, recover_s=None, tweak=tweak))
    assert found.outcome == "inconclusive" and f"The guest {machine} was " in found.reason


@pytest.mark.parametrize("healed", [True, False])
def test_a_server_that_was_frozen_and_left_so_is_no_accident(healed: bool) -> None:
    told = {"name": "frozen", "fault": "freeze", "machines": ["C"], "read_back": True}
    events = [(1.0, "fault.applied", told), (17.0, "fault.reverted", told)]

    def tweak(t: float, values: Values) -> None:
        values["C/domain"] = {"state": 2 if t > 1 else 1}

    story = Story(recover_s=None, events=tuple(events if healed else events[:1]), tweak=tweak)
    assert any("The guest C" in one.statement for one in verdict(story).findings) is healed


@pytest.mark.parametrize(("state", "outcome"), [(3, "server-down"), (5, "stalled")])
def test_a_second_client_that_ended_by_itself_is_no_witness_of_the_server(state: int, outcome: str) -> None:
    rules = judging(second_client=("B/second-client.blocks",))

    def tweak(t: float, values: Values) -> None:
        values["B/machine"] = {"beats": int((t + 20) * 4)}
        values["B/second-client"] = {"blocks": int((min(t, 1.5) + 10) * 4), "state": state if t > 3 else 3}

    assert verdict(Story(rules=rules, recover_s=None, tweak=tweak)).outcome == outcome


@pytest.mark.parametrize(("runs", "outcome"), [(True, "stalled"), (False, "inconclusive")])
def test_a_guest_that_the_host_stopped_is_not_one_that_died(runs: bool, outcome: str) -> None:
    def tweak(t: float, values: Values) -> None:
        if not runs:
            values["A/vcpu"] = {"run_ns": int((min(t, 19.0) + 10) * NS), "delay_ns": 0}

    assert verdict(Story(recover_s=None, dead_from_s=19.0, tweak=tweak)).outcome == outcome


@pytest.mark.parametrize(("hole_s", "outcome"), [(4.0, "stalled"), (6.0, "inconclusive")])
def test_a_testbed_that_did_not_run_can_not_tell_a_standstill(hole_s: float, outcome: str) -> None:
    @dataclass(frozen=True)
    class Stopped(Story):
        def samples(self) -> Iterator[tuple[float, Values]]:
            return ((t, values) for t, values in super().samples() if not 40 < t < 40 + hole_s)

    found = verdict(Stopped(recover_s=None))
    assert found.outcome == outcome
    assert outcome == "stalled" or "the testbed did not run" in found.reason
    looked = (40 + hole_s - 0.01, "look", {"number": 1, "paused_ms": round(hole_s * 1000)})
    paused = Stopped(recover_s=None, events=(looked,)) if hole_s > 5 else None
    assert paused is None or verdict(paused).outcome == "stalled"
