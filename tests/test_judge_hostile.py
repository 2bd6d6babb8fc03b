"""Whatever a history or a console holds, the judge gives a verdict, and never an undeserved pass."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from histories import Story, as_history, judging
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testbed import history, store
from testbed.judge import OUTCOMES, judge

ANY_PACE = settings(suppress_health_check=list(HealthCheck))
PLAIN = Story().evidence()
BASES = [Story(watch_s=60).records(), Story(recover_s=None).records()]

numbers = st.one_of(st.integers(-5, 5), st.integers(), st.sampled_from([2**63, -(2**63), 10**400]))
names = st.sampled_from(sorted({f"{r['of']}" for r in BASES[0] if r["kind"] == "sample"}))
fields = st.sampled_from(
    ["work_units", "sweep_pages", "pages_total", "samples", "min_pages", "beat_ns", "run_ns", "state"]
)


def mutate(records: list[dict[str, Any]], rng: random.Random, strange: list[int]) -> list[dict[str, Any]]:
    mutated = []
    for record in records:
        luck = rng.random()
        if luck < 0.03:
            continue
        if luck < 0.06 and record["kind"] == "sample" and strange:
            record = {**record, "v": {key: rng.choice(strange) for key in record["v"]}}
        elif luck < 0.5 and record["kind"] == "event" and rng.random() < 0.2:
            record = {
                **record,
                "name": rng.choice([None, [], "cut", 7]),
                "flows": rng.choice([None, {}, "x", [3]]),
            }
        mutated.append(record)
    return mutated


@ANY_PACE
@given(st.sampled_from(BASES), st.integers(0, 10**6), st.lists(numbers, max_size=6))
def test_mutated_histories_get_a_verdict(base: list[dict[str, Any]], seed: int, strange: list[int]) -> None:
    verdict = judge(store.Evidence(judging(), as_history(mutate(base, random.Random(seed), strange)), {}))
    assert verdict.outcome in OUTCOMES
    verdict.model_dump_json()


@ANY_PACE
@given(
    st.lists(
        st.one_of(
            st.tuples(
                st.just("event"),
                st.sampled_from(["judging.begin", "judging.end", "sweep.asked", "fault.applied"]),
            ),
            st.tuples(st.just("sample"), names, fields, numbers),
        ),
        max_size=30,
    )
)
def test_random_histories_get_a_verdict_that_is_no_pass(told: list[tuple[Any, ...]]) -> None:
    records: list[dict[str, Any]] = []
    for t, one in enumerate(told):
        if one[0] == "event":
            records.append({"t": t * 10**9, "kind": "event", "what": one[1], "name": "cut"})
        else:
            records.append({"t": t * 10**9, "kind": "sample", "of": one[1], "v": {one[2]: one[3]}})
    verdict = judge(store.Evidence(judging(), as_history(records), {}))
    assert verdict.outcome in OUTCOMES
    assert verdict.outcome != "recovered"


@ANY_PACE
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=60), st.sampled_from([b"[   31.250000] Oops: 0000 [#1]\r\n", b"\x1b[2J"])
        )
    )
)
def test_any_console_gets_a_verdict(pieces: list[bytes]) -> None:
    console = b"".join(pieces)
    verdict = judge(store.Evidence(PLAIN.judging, PLAIN.history, {"A": console, "": console}))
    assert verdict.outcome in OUTCOMES
    verdict.model_dump_json()


@ANY_PACE
@given(st.binary(max_size=300), st.integers(0, 2000))
def test_any_history_file_is_read(tmp_path_factory: Any, noise: bytes, at: int) -> None:
    text = "\n".join(json.dumps(record) for record in BASES[0][:20]).encode()
    path: Path = tmp_path_factory.mktemp("h") / "history.jsonl"
    path.write_bytes(text[:at] + noise + text[at:])
    read = history.read(path)
    assert judge(store.Evidence(judging(), read, {})).outcome != "recovered"


@ANY_PACE
@given(st.sampled_from(range(len(BASES[0]))), st.integers(0, 30))
def test_a_recovery_that_loses_its_end_is_no_recovery(cut: int, _: int) -> None:
    verdict = judge(store.Evidence(judging(), as_history(BASES[0][:cut]), {}))
    ended = any(record.get("what") == "judging.end" for record in BASES[0][:cut])
    assert verdict.outcome != "recovered" or ended
