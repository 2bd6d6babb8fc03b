"""Whatever a history, a console or a look holds, every detector has its say, and none an undeserved pass."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path
from typing import Any, get_args

from histories import Story, as_history, judging, ns
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testbed import history, store
from testbed.judge import OUTCOMES, Verdict, judge
from testbed.snapshot import Limit, Lock, Nic, Request, Snapshot, Socket, Task, Wait, WaitKind, Zone
from testbed.waitfor import single_cycle, wait_for_graph
from tests.test_judge_looks import story
from tests.test_waitfor import look

ANY_PACE = settings(suppress_health_check=list(HealthCheck))
PLAIN = Story().evidence()
BASES = [Story(watch_s=60).records(), Story(recover_s=None).records()]

LOOKED_INTO = story(watch_s=18.0).evidence()

numbers = st.one_of(
    st.integers(-5, 5),
    st.integers(history.LEAST, history.MOST),
    st.sampled_from([2**63, history.LEAST, history.MOST]),
)
names = st.sampled_from(sorted({f"{r['of']}" for r in BASES[0] if r["kind"] == "sample"}))
fields = st.sampled_from(
    ["work_units", "sweep_pages", "pages_total", "samples", "min_pages", "beat_ns", "run_ns", "state"]
)


def sound(verdict: Verdict) -> Verdict:
    """The judge goes on after a detector that failed: it says `unknown` then."""
    assert [finding.statement for finding in verdict.findings if finding.says == "unknown"] == []
    assert verdict.outcome in OUTCOMES
    verdict.model_dump_json()
    return verdict


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
    sound(judge(store.Evidence(judging(), as_history(mutate(base, random.Random(seed), strange)), {})))


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
    verdict = sound(judge(store.Evidence(judging(), as_history(records), {})))
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
    sound(judge(store.Evidence(PLAIN.judging, PLAIN.history, {"A": console, "": console})))


@ANY_PACE
@given(st.binary(max_size=300), st.integers(0, 2000))
def test_any_history_file_is_read(tmp_path_factory: Any, noise: bytes, at: int) -> None:
    text = "\n".join(json.dumps(record) for record in BASES[0][:20]).encode()
    path: Path = tmp_path_factory.mktemp("h") / "history.jsonl"
    path.write_bytes(text[:at] + noise + text[at:])
    read = history.read(path)
    assert sound(judge(store.Evidence(judging(), read, {}))).outcome != "recovered"


@ANY_PACE
@given(st.sampled_from(range(len(BASES[0]))), st.integers(0, 30))
def test_a_recovery_that_loses_its_end_is_no_recovery(cut: int, _: int) -> None:
    verdict = sound(judge(store.Evidence(judging(), as_history(BASES[0][:cut]), {})))
    ended = any(record.get("what") == "judging.end" for record in BASES[0][:cut])
    assert verdict.outcome != "recovered" or ended


# Few names for few things: what one refers to is often there, often of another kind, and often itself.
pids = st.sampled_from([1, 2, 1, 2, 0, -1, 2**63])
addresses = st.sampled_from([1, 2, 1, 2, 0, 2**64 - 1])
rarely = st.sampled_from([False, False, False, True])
ends = st.sampled_from(["", ":", "10.0.0.1:1", "10.0.0.3:10809", "x" * 256])
devices = st.sampled_from(["nbd0", "nbd0", "loop0", "", "x" * 256])
counts = st.one_of(st.integers(0, 3), st.sampled_from([-1, 2**31, 2**64 - 1]))
counts_or_none = st.none() | counts
functions = st.sampled_from(
    ["submit_bio", "balance_pgdat", "loop_process_work", "wb_workfn", "throttle_direct_reclaim", "x" * 256]
)
waits = st.builds(
    Wait, kind=st.sampled_from(get_args(WaitKind)), address=addresses, detail=devices, frame=functions
)


def few(of: st.SearchStrategy[Any], least: int = 0) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(of, min_size=least, max_size=4).map(tuple)


tasks = st.builds(
    Task,
    pid=pids,
    comm=st.sampled_from(["kswapd0", "reader", ""]),
    state=st.sampled_from("RSD"),
    stack=few(functions),
    waits=st.none() | waits,
    holds_sockets=few(addresses),
    serves_fuse=st.booleans(),
    serves_ublk=st.booleans(),
)
locks = st.builds(
    Lock,
    address=addresses,
    kind=st.sampled_from(["mutex", "rwsem"]),
    owner=st.none() | pids,
    waiters=few(pids),
)
requests = st.builds(
    Request,
    address=addresses,
    device=devices,
    tag=counts,
    operation=st.sampled_from(["read", "write"]),
    sector=counts,
    age_ms=counts_or_none,
    socket=addresses,
    folios=few(addresses),
    waiters=few(pids),
    orphaned=rarely,
    again_in_ms=counts_or_none,
)
sockets = st.builds(
    Socket,
    address=addresses,
    protocol=st.sampled_from(["tcp", "udp", "unix"]),
    local=ends,
    remote=ends,
    receive_bytes=counts,
    receive_packets=st.just(0) | counts,
    dropped=counts,
    send_bytes=counts,
    unacknowledged_bytes=counts,
    retransmit_in_ms=counts_or_none,
    retransmits=counts,
    resent_segments=counts_or_none,
    head_segments=counts_or_none,
    head_at_driver=st.none() | st.booleans(),
    peer=addresses,
    readers=few(pids),
    holders=few(pids),
)
nics = st.builds(
    Nic,
    name=st.sampled_from(["data", "", "x" * 256]),
    addresses=few(st.just("10.0.0.1")),
    ring=counts_or_none,
    filled=counts_or_none,
    usable=counts_or_none,
    counters=st.dictionaries(st.sampled_from(["received", "refills_failed"]), counts),
)
zones = st.builds(Zone, name=ends, free=counts, minimum=counts, low=counts, high=counts, boost=counts)
limits = st.builds(Limit, protocol=st.just("tcp"), pages=counts, limits=st.tuples(counts, counts, counts))
any_looks = st.builds(
    Snapshot,
    number=st.just(1),
    taken_ns=st.just(ns(21)),
    paused_ms=counts,
    tasks=few(tasks, 1),
    locks=few(locks),
    requests=few(requests, 1),
    sockets=few(sockets, 1),
    nics=few(nics),
    zones=few(zones),
    memory_pages=st.dictionaries(st.sampled_from(["inactive_file", "dirty", "kswapd_failures"]), counts),
    limits=few(limits),
    fragment_bytes=counts_or_none,
)


@ANY_PACE
@given(any_looks, st.none() | any_looks)
def test_any_looks_get_a_verdict(first: Snapshot, other: Snapshot | None) -> None:
    """Without another, the second look finds what the first one did, so that all of the graph stays."""
    second = (other or first).model_copy(update={"number": 2, "taken_ns": ns(31)})
    verdict = sound(judge(dataclasses.replace(LOOKED_INTO, snapshots=(first, second))))
    assert verdict.examination is not None and verdict.outcome != "recovered"
    single_cycle(wait_for_graph(first))


def test_a_look_with_a_number_that_no_guest_holds_is_damaged(tmp_path: Path) -> None:
    store.write_snapshot(tmp_path, look(1, ns(21)))
    store.write_snapshot(tmp_path, look(2, ns(31)).model_copy(update={"paused_ms": 10**400}))
    found, damaged = store.read_snapshots(tmp_path)
    assert ([one.number for one in found], damaged) == ([1], 1)
