"""Whether free memory fell to pieces, and what the storm and the asking for blocks counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from histories import Story, Values, judging

from testbed.judge import Verdict, judge
from testbed.judge.measures import CALLS

RULES = judging(blocks={"order": 3, "least": 0.5})
ENDED_S = 42.0
"""The story's sweep is over by then."""
WHOLE = {0: 100, 3: 50, 10: 9}
PIECES = {0: 9000, 1: 200, 3: 10}


def story(
    last: dict[int, int],
    *,
    ended_s: float | None = ENDED_S,
    first: dict[int, int] | None = None,
    samples_s: float = 1000.0,
) -> Story:
    def tweak(t: float, values: Values) -> None:
        now = last if t > ENDED_S else (first or WHOLE) if t < 0 else {0: 300}
        blocks = {f"free_blocks_{order}": now.get(order, 0) for order in range(11)}
        values["A/vmsampler"] |= blocks | {"samples": int((min(t, samples_s) + 10) * 4)}

    events = () if ended_s is None else ((ended_s, "loads.ended", {}),)
    return Story(rules=RULES, tweak=tweak, events=events, sweep_ends=True).but(sweep_takes_s=3.0)


def verdict(told: Story) -> Verdict:
    return judge(told.evidence())


def at_the_end(told: Story) -> Story:
    """The judging ends 5 s after the loads."""
    object.__setattr__(told, "end_s", ENDED_S + 5)
    return told


def share(blocks: dict[int, int]) -> float:
    pages = {order: number << order for order, number in blocks.items()}
    return sum(pages[order] for order in pages if order >= 3) / sum(pages.values())


def test_memory_that_is_as_whole_as_before_is_a_recovery_with_its_numbers() -> None:
    found = verdict(at_the_end(story(WHOLE)))
    assert found.outcome == "recovered"
    assert found.measures["whole_before"] == found.measures["whole_after"] == pytest.approx(share(WHOLE))
    assert any(f.detector == "blocks" and f.says == "note" for f in found.findings)


def test_memory_in_pieces_is_fragmented() -> None:
    found = verdict(at_the_end(story(PIECES)))
    assert found.outcome == "fragmented"
    assert found.measures["whole_after"] == pytest.approx(share(PIECES))
    assert "of order 3 and above" in found.reason


@pytest.mark.parametrize(("single", "outcome"), [(99, "recovered"), (101, "fragmented")])
def test_the_share_that_is_the_least(single: int, outcome: str) -> None:
    """Before all of it lay in such blocks, so that a half of that is a half of all."""
    before, after = {3: 100}, {0: single * 8, 3: 100}
    assert verdict(at_the_end(story(after, first=before))).outcome == outcome


def test_without_a_sample_after_the_loads_have_ended_nothing_is_said() -> None:
    assert verdict(at_the_end(story(WHOLE, ended_s=None))).outcome == "inconclusive"
    assert verdict(at_the_end(story(WHOLE, ended_s=ENDED_S + 5.1))).outcome == "inconclusive"
    assert verdict(at_the_end(story(WHOLE, samples_s=ENDED_S - 1))).outcome == "inconclusive"


def test_who_never_recovers_is_not_asked_for_blocks() -> None:
    found = verdict(story(PIECES).but(recover_s=None))
    assert found.outcome == "stalled"


def test_a_playbook_that_does_not_ask_gets_no_answer() -> None:
    told = story(PIECES)
    found = verdict(at_the_end(told.but(rules=judging())))
    assert found.outcome == "recovered" and "whole_after" not in found.measures


# --- what is counted besides


def counted(counts: Callable[[float], dict[str, int]], **changes: Any) -> Verdict:
    def tweak(t: float, values: Values) -> None:
        values["A/storm"] = {f"{call}_{field}": 0 for call in CALLS for field in ("tried", "no_memory")}
        values["A/storm"] |= {"waiting": 0} | counts(t)

    return verdict(Story(tweak=tweak, **changes))


def test_failed_calls_are_counted_from_the_first_deed_on() -> None:
    def counts(t: float) -> dict[str, int]:
        failed = 3 if t <= 2 else 5
        return {"fork_tried": int(t + 10), "fork_no_memory": failed, "waiting": 2 * int(5 < t < 9)}

    found = counted(counts)
    assert found.measures["calls_fork_no_memory"] == found.measures["calls_failed"] == 2
    assert found.measures["calls"] == found.measures["calls_fork"] > 10
    assert found.measures["calls_waiting_most"] == 2
    (note,) = [finding.statement for finding in found.findings if finding.detector == "counts"]
    assert "failed: 2 of fork for want of memory; 2 waited for over a second" in note
    assert found.outcome == "recovered"


def test_where_no_call_fails_that_is_said_too() -> None:
    found = counted(lambda t: {"open_tried": int(t + 10)})
    assert found.measures["calls_failed"] == 0
    assert any("none failed" in finding.statement for finding in found.findings)


def test_the_outage_is_the_same_for_who_gets_out_and_who_does_not() -> None:
    """Cut at 2 s, heal at 18 s: what failed before or after it was not for want of a server."""

    def counts(t: float) -> dict[str, int]:
        failed = int(t > 1) + 2 * int(t > 5) + 40 * int(t > 19)
        return {"fork_tried": int(t + 10), "fork_again": failed, "exec_tried": 0, "exec_other": failed}

    went, stood = (counted(counts, recover_s=recover_s) for recover_s in (10.0, None))
    for found in (went, stood):
        assert found.measures["outage_calls"] == 16
        assert found.measures["outage_calls_failed"] == 2, "no child that was killed, nothing after the heal"
    assert (went.outcome, stood.outcome) == ("recovered", "stalled")
    assert "outage_calls" not in counted(counts, cut_s=None).measures


def test_what_a_flood_sent_and_what_was_read_of_it_is_of_the_time_that_it_was_at_work() -> None:
    """From 5 s to 14 s."""

    def tweak(t: float, values: Values) -> None:
        values["B/flood"] = {"packets_sent": int(100 * max(0.0, min(t, 14.0) - 5.0))}
        values["A/service"] = {"touches": 1, "packets": int(10 * (t + 10))}

    found = verdict(Story(tweak=tweak)).measures
    assert (found["flood_sent"], found["flood_read"]) == (900, 90)
    assert "flood_sent" not in verdict(Story(tweak=tweak, flood_s=None)).measures


def test_blocks_that_came_late_are_told() -> None:
    def tweak(t: float, values: Values) -> None:
        late = int(t > 5)
        values["A/blocks"] = {"tried": int(t + 10), "got": int(t + 10), "refused": 0, "late": late}
        values["A/blocks"]["longest_ms"] = 250 * late

    found = verdict(Story(tweak=tweak))
    assert found.measures["blocks_late"] == 1 and found.measures["blocks_longest_ms"] == 250
    assert any("1 of them late; the longest took 250 ms" in finding.statement for finding in found.findings)


def test_writes_that_were_held_up_are_told() -> None:
    def tweak(t: float, values: Values) -> None:
        wrote = max(0, int(t))
        values["A/writer"] = {"bytes": wrote << 20, "held": wrote // 2, "longest_ms": 190 * int(t > 5)}

    found = verdict(Story(tweak=tweak))
    assert found.measures["writes_held"] == pytest.approx(found.measures["writes_kib"] / 2048, abs=1)
    assert any("once for 190 ms" in finding.statement for finding in found.findings)


def test_where_nobody_counts_there_are_no_numbers() -> None:
    assert verdict(Story()).measures == {}


def test_of_a_job_that_went_well_it_is_told_what_it_wrote_and_how_long_it_took() -> None:
    def measured(status: int) -> dict[str, float]:
        def tweak(t: float, values: Values) -> None:
            values["A/write"] = {
                "exit_status_plus_1": (status + 1) * int(t > 7),
                "run_ms": min(max(int(1000 * t), 0), 7000),
            }
            values["A/blocksampler"] = {"sectors_written_0": 50 + 200 * min(max(int(t), 0), 7)}

        return dict(verdict(Story(tweak=tweak)).measures)

    told = measured(0)
    assert told["job_ms"] == 7000 and told["job_kib"] == pytest.approx(700, abs=200)
    assert "job_ms" not in measured(1)
    assert "job_ms" not in verdict(Story()).measures
