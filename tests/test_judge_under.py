"""The first of two judgements: how it went under a flood that went on through the heal."""

from __future__ import annotations

from functools import cached_property

import pytest
from histories import Story, Values, judging

from testbed.judge import Verdict, judge

HEAL_S = 18.0
ON_S = 40.0
"""From the heal to the end of the flood."""


class Kept(Story):
    """The sweep is asked for only when the flood has stopped, as a run does."""

    @cached_property
    def sweep_s(self) -> float | None:
        return None if self.resumes_s is None else max(self.resumes_s, HEAL_S + ON_S) + 7.5


ON = Kept(
    rules=judging(through=("flood",), begin_at_s=HEAL_S + ON_S),
    flood_s=(5.0, HEAL_S + ON_S),
)


def verdict(story: Story) -> Verdict:
    return judge(story.evidence())


def remark(found: Verdict) -> str:
    (one,) = [finding.statement for finding in found.findings if finding.detector == "under"]
    return one


def test_work_that_goes_on_under_the_flood_is_told_with_its_time_and_rate() -> None:
    found = verdict(ON.but(recover_s=10.0))
    under = found.under
    assert under is not None
    assert (under.loads, under.outcome) == (("flood",), "went on")
    assert under.time_to_recover_s == pytest.approx(10, abs=0.5)
    assert under.observed_s == pytest.approx(ON_S, abs=0.1)
    assert found.outcome == "recovered"
    assert "Under 'flood', which went on until 40 s after the heal, A went on working 10." in remark(found)


def test_work_that_goes_on_only_when_the_flood_has_stopped_stood_still_under_it() -> None:
    found = verdict(ON.but(recover_s=ON_S + 5))
    assert found.under is not None
    assert (found.under.outcome, found.under.time_to_recover_s, found.under.rate) == (
        "stood still",
        None,
        None,
    )
    assert found.outcome == "recovered"
    assert found.time_to_recover_s == pytest.approx(ON_S + 5, abs=0.5)  # from the heal, not from the stop
    assert "made no lasting progress" in remark(found)


def test_one_request_under_the_flood_is_no_going_on() -> None:
    def one_request(t: float, values: Values) -> None:
        values["A/blocksampler"]["reads_completed_0"] += int(t > HEAL_S + 20)

    found = verdict(ON.but(recover_s=None, watch_s=ON_S + 60, tweak=one_request))
    assert found.under is not None and found.under.outcome == "stood still"
    assert found.outcome == "stalled"


def test_a_busy_host_leaves_silence_under_the_flood_in_doubt_but_no_work() -> None:
    def busy(t: float, values: Values) -> None:
        values["C/vcpu"] = {"run_ns": 0, "delay_ns": int(max(0.0, t - HEAL_S) * 0.3e9)}

    silent = verdict(ON.but(recover_s=ON_S + 5, tweak=busy))
    assert silent.outcome == "recovered"
    assert silent.under is not None and silent.under.outcome == "in doubt"
    assert "too busy" in remark(silent)
    assert verdict(ON.but(recover_s=10.0, tweak=busy)).under.outcome == "went on"  # type: ignore[union-attr]


@pytest.mark.parametrize(("before_s", "outcome"), [(4.0, "stood still"), (6.0, "went on")])
def test_what_goes_on_just_before_the_stop_must_last(before_s: float, outcome: str) -> None:
    found = verdict(ON.but(recover_s=ON_S - before_s)).under
    assert found is not None and found.outcome == outcome


def test_work_that_stands_still_again_before_the_flood_stops_did_not_go_on() -> None:
    def falters(t: float, values: Values) -> None:
        if 30 < t < HEAL_S + ON_S + 1:
            values["A/anonymous"]["work_units"] = 12_345
            values["A/blocksampler"]["reads_completed_0"] = 1_234

    assert verdict(ON.but(tweak=falters)).under.outcome == "stood still"  # type: ignore[union-attr]


@pytest.mark.parametrize(("rate", "outcome"), [(230.0, "went on"), (220.0, "slow")])
def test_under_a_quarter_of_the_rate_before_is_slow(rate: float, outcome: str) -> None:
    found = verdict(ON.but(rate_after=rate)).under
    assert found is not None and found.outcome == outcome


def test_nothing_is_said_where_nothing_was_kept_up() -> None:
    found = verdict(Story())
    assert found.under is None
    assert not [finding for finding in found.findings if finding.detector == "under"]


def test_a_flood_that_was_never_stopped_is_not_judged_under() -> None:
    cut_short = ON.but(flood_s=(5.0, 500.0))
    assert verdict(cut_short).under is None
