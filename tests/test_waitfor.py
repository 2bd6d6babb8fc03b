"""Who waits for whom: what two looks prove, and what they do not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.clock import NS
from testbed.history import History
from testbed.model import Judging
from testbed.snapshot import Limit, Lock, Nic, Request, Snapshot, Socket, Task, Wait, Zone
from testbed.waitfor import examine, next_retransmission_ns, single_cycle, wait_for_graph
from testbed.waitfor.graph import Edge, Graph, Node, common, cycle, stuck

FIRST_NS, SECOND_NS = 100 * NS, 130 * NS
RULES = Judging(
    subject="A",
    progress=("A/load.work",),
    in_flight=None,
    devices=("nbd0",),
    second_client=("B/client.reads",),
    free_pages=("A/memory.free_pages",),
    heals=("cut",),
    requires=(),
    finish="sweep",
    finish_loads=("load",),
)
MINIMUM = 268  # its atomic floor is 101


def task(pid: int, kind: str | None = None, **more: Any) -> Task:
    wait = Wait.model_validate({"kind": kind, **more}) if kind else None
    state = "D" if kind else "S"
    stack = ("schedule_timeout", wait.frame) if wait else ("schedule_timeout",)
    return Task(pid=pid, comm=f"task{pid}", state=state, waits=wait, stack=stack)


KSWAPD = Task(
    pid=28,
    comm="kswapd0",
    state="D",
    waits=Wait(kind="pool", frame="mempool_alloc"),
    stack=("io_schedule_timeout", "mempool_alloc", "shrink_folio_list"),
)
READER = task(131, "folio", address=0xF0, detail="locked", frame="folio_wait_bit_common")
REQUEST = Request(address=1, device="nbd0", tag=7, operation="read", sector=8, socket=0x50, folios=(0xF0,))
SWAP_SOCKET = Socket(
    address=0x50,
    protocol="tcp",
    local="10.0.0.1:40000",
    remote="10.0.0.3:10809",
    unacknowledged_bytes=400,
    retransmit_in_ms=10_000,
)
FLOODED = Socket(
    address=0x60,
    protocol="udp",
    local="0.0.0.0:7000",
    remote="0.0.0.0:0",
    receive_bytes=900_000,
    receive_packets=600,
    holders=(131,),
)
RING = Nic(
    name="data", driver="e1000e", ring=64, filled=5, usable=0, counters={"received": 10, "refills_failed": 70}
)
ZONE = Zone(name="DMA32", free=101, minimum=MINIMUM, low=335, high=402, managed=19_000)


def look(number: int, taken_ns: int, **changes: Any) -> Snapshot:
    """The wedge of a kernel without reserve, as it was seen on real guests, in small."""
    whole: dict[str, Any] = {
        "tasks": (KSWAPD, READER),
        "requests": (REQUEST,),
        "sockets": (SWAP_SOCKET, FLOODED),
        "nics": (RING,),
        "zones": (ZONE,),
    }
    whole |= changes
    whole["nics"] = tuple(_later(nic, number) for nic in whole["nics"])
    return Snapshot(number=number, taken_ns=taken_ns, paused_ms=100, **whole)


def _later(nic: Nic, number: int) -> Nic:
    """Every look finds ten more refills of the ring that were refused."""
    refused = nic.counters.get("refills_failed")
    counters = nic.counters if refused is None else {**nic.counters, "refills_failed": refused + 10 * number}
    return nic.model_copy(update={"counters": counters})


def seen(
    *, answers: int = 2, free: tuple[int, ...] = (101,), work: tuple[int, ...] = (5,), quiet_s: float = 0
) -> History:
    """What the host saw: frames of C between the looks, free pages, progress, how long C sent nothing."""

    def series(values: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
        return tuple((FIRST_NS - NS + number * 2 * NS, value) for number, value in enumerate(values))

    replies = ((FIRST_NS - NS, 100), (FIRST_NS + 12 * NS, 100 + answers))
    return History(
        values={
            "wire/swap.replies.delivered_packets": replies,
            "wire/swap.replies.offered_packets": ((SECOND_NS - round(quiet_s * NS), 100),),
            "A/memory.free_pages": series(free),
            "A/load.work": series(work),
            "B/client.reads": series((1, 2)),
        },
        last_ns=SECOND_NS,
    )


def pair(history: History | None = None, **changes: Any) -> Any:
    return examine(look(1, FIRST_NS, **changes), look(2, SECOND_NS, **changes), history or seen(), RULES)


def test_a_closed_cycle_seen_twice_is_a_deadlock_and_is_told() -> None:
    found = pair()
    assert found.proves == "deadlocked"
    for word in (
        "request 7 of nbd0",
        "10.0.0.3:10809",
        "receive ring has 0 of 64",
        "101 free, floor 101",
        "closed cycle",
    ):
        assert word in found.sentence.lower() or word in found.sentence
    assert found.cycle[0].startswith("request:") and len(found.cycle) >= 5
    assert {edge.how for edge in found.graph.edges} == {"observed", "inferred"}
    assert not found.chances and not found.awaited


@pytest.mark.parametrize(
    ("again_in_ms", "proves", "says"),
    [
        (None, "open", "is not known"),
        (29_000, "deadlocked", "has passed"),
        (31_000, "open", "has not come yet"),
    ],
)
def test_over_udp_it_is_the_request_that_is_sent_again(
    again_in_ms: int | None, proves: str, says: str
) -> None:
    datagrams = SWAP_SOCKET.model_copy(update={"protocol": "udp", "retransmit_in_ms": None})
    request = REQUEST.model_copy(update={"again_in_ms": again_in_ms})
    found = pair(sockets=(datagrams, FLOODED), requests=(request,))
    assert found.proves == proves
    (when,) = [condition for condition in found.conditions if condition.name == "retransmission"]
    assert says in when.statement and when.met == (proves == "deadlocked")


@pytest.mark.parametrize(
    ("device", "by"), [("nfs", "sunrpc"), ("nvme0n1", "the NVMe host"), ("sda", "iscsid")]
)
def test_a_connection_that_its_user_makes_anew_is_a_chance(device: str, by: str) -> None:
    """Over NFS one page came 132 s after the heal, when a connection that was never made was given up."""
    rules = RULES.model_copy(update={"devices": (device,)})
    changes: dict[str, Any] = {"requests": (REQUEST.model_copy(update={"device": device}),)}
    looks = look(1, FIRST_NS, **changes), look(2, SECOND_NS, **changes)
    found = examine(*looks, seen(), rules)
    assert found.proves == "starved"
    assert f"connection of {device} may be given up and made anew by {by}" in found.sentence
    assert found.cycle[0].startswith("request:"), "what it hangs on is told all the same"
    udp = (SWAP_SOCKET.model_copy(update={"protocol": "udp", "retransmit_in_ms": 9_000}), FLOODED)
    again = {"requests": (changes["requests"][0].model_copy(update={"again_in_ms": 9_000}),), "sockets": udp}
    assert examine(look(1, FIRST_NS, **again), look(2, SECOND_NS, **again), seen(), rules).proves == (
        "deadlocked"
    )


def test_the_floor_is_that_of_the_kernel() -> None:
    assert (ZONE.atomic_floor, ZONE.packet_floor) == (101, 134)
    assert ZONE.model_copy(update={"minimum": 256}).atomic_floor == 96


def test_a_request_whose_connection_is_gone_waits_for_the_one_that_is_made() -> None:
    """As over iSCSI on 6.1: given up after the heal, and no answer comes to who makes another."""
    rules = RULES.model_copy(update={"devices": ("sda",)})
    daemon = Task(pid=118, comm="iscsid", state="S", stack=("schedule_hrtimeout_range_clock", "do_sys_poll"))
    made = SWAP_SOCKET.model_copy(update={"state": "SYN_SENT", "holders": (118,)})
    changes: dict[str, Any] = {
        "requests": (REQUEST.model_copy(update={"device": "sda", "socket": 0, "state": "idle"}),),
        "tasks": (KSWAPD, READER, daemon),
        "sockets": (made, FLOODED),
    }
    found = examine(look(1, FIRST_NS, **changes), look(2, SECOND_NS, **changes), seen(), rules)
    assert found.proves == "starved"
    assert "another connection of sda may be made by iscsid" in found.sentence.lower()
    verbs = {edge.verb: edge for edge in found.graph.edges}
    assert "its state is idle" in verbs["waits to be sent anew on"].evidence
    (being_made,) = (edge for verb, edge in verbs.items() if verb.startswith("is being made"))
    assert being_made.target == "buffers:data" and "SYN_SENT" in being_made.evidence
    throttled = daemon.model_copy(
        update={
            "stack": ("schedule_timeout", "throttle_direct_reclaim", "try_to_free_pages"),
            "waits": Wait(kind="memory", frame="throttle_direct_reclaim"),
        }
    )
    waits = changes | {"tasks": (KSWAPD, READER, throttled), "sockets": (FLOODED,)}
    proof = examine(look(1, FIRST_NS, **waits), look(2, SECOND_NS, **waits), seen(), rules)
    assert proof.proves == "deadlocked" and not proof.chances
    assert "is to be made by iscsid" in proof.sentence
    strange = changes | {"requests": (REQUEST.model_copy(update={"device": "nbd0", "socket": 0}),)}
    assert (
        examine(look(1, FIRST_NS, **strange), look(2, SECOND_NS, **strange), seen(), RULES).proves == "open"
    )


@pytest.mark.parametrize("answers", [0, 1])
def test_a_server_that_does_not_answer_gives_no_proof(answers: int) -> None:
    found = pair(seen(answers=answers))
    assert found.proves == "open"
    assert f"{answers} frames" in found.sentence


def test_a_retransmission_that_is_still_to_come_is_no_deadlock() -> None:
    later = SWAP_SOCKET.model_copy(update={"retransmit_in_ms": 53_000})
    found = pair(sockets=(later, FLOODED))
    assert found.proves == "open"
    assert "has not come yet" in found.sentence


SENDING_KSWAPD = Task(
    pid=28,
    comm="kswapd0",
    state="D",
    waits=Wait(kind="socket", address=0x50, frame="sk_stream_wait_memory"),
    stack=("sk_stream_wait_memory", "nbd_queue_rq", "shrink_lruvec"),
)
FULL_RING = RING.model_copy(update={"filled": 62, "usable": 61})


def mute(
    *,
    history: History | None = None,
    fired: int = 2,
    resent: int | None = 0,
    **changes: Any,
) -> Any:
    """Two looks as on 7.3: kswapd waits for room in the socket, whose head must be split to be sent again."""
    head: dict[str, Any] = {"resent_segments": 1490, "head_segments": 4, "head_at_driver": False}
    before = SWAP_SOCKET.model_copy(update=head | {"retransmits": 7} | changes)
    again = None if resent is None else 1490 + resent
    after = before.model_copy(update={"retransmits": 7 + fired, "resent_segments": again})
    inside: dict[str, Any] = {"tasks": (SENDING_KSWAPD, READER), "nics": (FULL_RING,)}
    first = look(1, FIRST_NS, sockets=(before, FLOODED), **inside)
    second = look(2, SECOND_NS, sockets=(after, FLOODED), **inside)
    return examine(first, second, history or seen(answers=0, quiet_s=121), RULES)


@pytest.mark.parametrize(
    ("history", "proves"),
    [
        (seen(answers=0, quiet_s=119), "starved"),  # its timer may still run: TCP_RTO_MAX is 120 s
        (seen(answers=1, quiet_s=20), "open"),
        (seen(answers=50, quiet_s=20), "open"),
    ],
)
def test_who_can_not_ask_may_still_be_told_by_a_server_that_sends_again(
    history: History, proves: str
) -> None:
    found = mute(history=history)
    assert found.proves == proves
    assert "by itself" in found.sentence


def test_what_must_be_sent_again_and_finds_no_memory_is_a_deadlock_without_an_answer() -> None:
    found = mute()
    assert found.proves == "deadlocked"
    assert found.sentence == (
        "The TCP connection 10.0.0.1:40000 to 10.0.0.3:10809 waits for a word of the server, which is asked"
        " for again only with memory above the floor of the data of new packets (101 free, floor 134), which"
        " would come from reclaim, which is done by kswapd0 (pid 28), which waits for the TCP connection"
        " 10.0.0.1:40000 to 10.0.0.3:10809 again: a closed cycle."
    )
    assert any(
        "was not asked, since the subject tried 2 times" in each.statement for each in found.conditions
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"fired": 1},
        {"resent": 1},
        {"resent": None},
        {"head_segments": 1},
        {"head_segments": None},
        {"head_at_driver": True},
        {"head_at_driver": None},
    ],
)
def test_a_retransmission_that_may_have_failed_for_something_else_proves_nothing(
    changes: dict[str, Any],
) -> None:
    assert mute(**changes).proves == "open"


@pytest.mark.parametrize(("most", "proves"), [(134, "deadlocked"), (135, "starved")])
def test_a_retransmission_that_finds_memory_now_and_then_hangs_on_a_chance(most: int, proves: str) -> None:
    """Of 101 to 134 pages other atomic allocations could have some, and the data of a packet not."""
    found = mute(history=seen(answers=0, free=(101, most, 101), quiet_s=121))
    assert found.proves == proves
    assert ("free pages" in found.sentence) is (proves == "starved")


@pytest.mark.parametrize(
    ("inner", "proves"),
    [
        ("schedule_timeout_killable", "deadlocked"),
        ("wait_for_completion", "open"),  # drain_all_pages(): for work on other processors
        ("log_wait_commit", "open"),  # a shrinker of a file system
    ],
)
def test_who_sleeps_further_in_does_not_wait_for_memory(inner: str, proves: str) -> None:
    wait = Wait(kind="memory", frame="__alloc_pages_slowpath")
    stack = ("schedule_timeout", inner, "__alloc_pages_slowpath", "try_to_free_pages")
    reclaimer = Task(pid=200, comm="reclaimer", state="D", waits=wait, stack=stack)
    assert pair(tasks=(KSWAPD, READER, reclaimer)).proves == proves


def test_a_look_that_leaves_something_out_is_no_proof() -> None:
    found = pair(missing=("requests of all devices: ValueError: more than 4000, the rest is left out",))
    assert found.proves == "open"
    assert "more than 4000, the rest is left out" in found.sentence


def test_as_many_requests_as_memory_holds_are_no_hindrance() -> None:
    """As swap over NFS has them, which sends as much as there is."""
    requests = tuple(REQUEST.model_copy(update={"tag": n, "sector": n}) for n in range(1100))
    found = pair(requests=requests)
    assert found.proves == "deadlocked"


def test_what_is_waited_for_is_told_though_a_condition_is_not_met() -> None:
    found = pair(history=seen(answers=0))
    assert found.proves == "open"
    assert "What is waited for: " in found.sentence and "an answer of the server" in found.sentence


UNREAD = Socket(
    address=0x70,
    protocol="tcp",
    local="10.0.0.1:6900",
    remote="10.0.0.2:50000",
    receive_bytes=1 << 20,
    receive_packets=60,
    holders=(131,),
)


def at_tcp_limit(
    *, pages: tuple[int, int] = (137, 137), dropped: int = 3, unread: Socket = UNREAD, **changes: Any
) -> Any:
    """Two looks with memory plentiful, a receive ring in order, and TCP at its limit of 128 pages."""
    before = SWAP_SOCKET.model_copy(update={"dropped": 5} | changes)
    after = before.model_copy(update={"dropped": 5 + dropped})
    plentiful = ZONE.model_copy(update={"free": 1473})
    inside: dict[str, Any] = {"tasks": (READER, task(140)), "nics": (FULL_RING,), "zones": (plentiful,)}

    def one(number: int, at_ns: int, sock: Socket, held: int) -> Snapshot:
        limit = Limit(protocol="tcp", pages=held, limits=(64, 96, 128))
        return look(number, at_ns, sockets=(sock, unread), limits=(limit,), **inside)

    first, second = one(1, FIRST_NS, before, pages[0]), one(2, SECOND_NS, after, pages[1])
    return examine(first, second, seen(free=(1473,)), RULES)


def test_tcp_at_its_limit_is_a_deadlock_where_the_readers_wait_for_swap() -> None:
    found = at_tcp_limit()
    assert found.proves == "deadlocked"
    for words in (
        "can take no reply in without room within TCP's limit (137 pages are charged, the limit is 128)",
        "1024 KiB of segments that wait in 1 sockets of task131",
        "a closed cycle",
    ):
        assert words in found.sentence


def test_tcp_at_its_limit_waits_for_a_reader_who_can_read() -> None:
    found = at_tcp_limit(unread=UNREAD.model_copy(update={"holders": (140,)}))
    assert found.proves == "open"
    assert "task140 (pid 140) sleeps for something else" in found.sentence


def test_an_acknowledgment_that_frees_what_was_sent_is_a_chance() -> None:
    found = at_tcp_limit(unread=UNREAD.model_copy(update={"send_bytes": 4096}))
    assert found.proves == "starved"
    assert "acknowledgment of 10.0.0.2:50000" in found.sentence


@pytest.mark.parametrize(
    "changes",
    [
        {"pages": (127, 137)},
        {"pages": (137, 127)},
        {"dropped": 1},
        {"dropped": 0},
        {"receive_packets": 1},
    ],
)
def test_replies_that_may_have_been_dropped_for_something_else_prove_nothing(changes: dict[str, Any]) -> None:
    assert at_tcp_limit(**changes).proves == "open"


def test_progress_between_the_looks_is_no_deadlock() -> None:
    assert pair(seen(work=(5, 6, 7))).proves == "open"


def test_other_requests_than_before_are_no_deadlock() -> None:
    other = REQUEST.model_copy(update={"sector": 16})
    found = examine(look(1, FIRST_NS), look(2, SECOND_NS, requests=(other,)), seen(), RULES)
    assert found.proves == "open"
    assert "0 requests" in found.sentence


@pytest.mark.parametrize(
    ("changes", "chance"),
    [
        ({"zones": (ZONE.model_copy(update={"free": 102}),)}, "free pages"),
        ({"memory_pages": {"inactive_file": 400}}, "clean pages"),
        ({"memory_pages": {"swap_cache_clean": 65}}, "65 of the swap cache"),
        ({"fragment_bytes": 5000}, "fragment reassembly"),
    ],
)
def test_what_may_free_memory_makes_it_starved_and_is_named(changes: dict[str, Any], chance: str) -> None:
    found = pair(**changes)
    assert found.proves == "starved"
    assert chance in found.sentence


def test_where_frames_can_come_in_it_is_the_sender_that_is_waited_for() -> None:
    found = pair(nics=(RING.model_copy(update={"usable": 16}),))
    assert found.proves == "open"
    assert "has room" in found.sentence


def test_a_ring_full_of_buffers_is_no_room_where_a_frame_is_taken_only_against_another() -> None:
    full = RING.model_copy(update={"filled": 64, "usable": 64, "exchanges": True})
    found = pair(nics=(full,))
    assert found.proves == "deadlocked"
    assert (
        "whose driver takes a frame only against a new one, which to have one needs memory" in found.sentence
    )
    took_one = full.model_copy(update={"counters": {**full.counters, "received": 11}})
    looks = look(1, FIRST_NS, nics=(full,)), look(2, SECOND_NS, nics=(took_one,))
    assert examine(*looks, seen(), RULES).proves == "starved"
    uncounted = full.model_copy(update={"counters": {"received": 10}})
    assert pair(nics=(uncounted,)).proves == "starved"


def test_free_pages_above_the_floor_between_the_looks_are_a_chance() -> None:
    assert pair(seen(free=(101, 140, 101))).proves == "starved"
    assert pair(seen(free=(101, 99, 101))).proves == "deadlocked"


def test_pages_that_are_set_aside_below_all_marks_are_no_chance() -> None:
    aside = ZONE.model_copy(update={"free": 1345, "set_aside": 1280})
    found = pair(seen(free=(1345, 1379, 1345)), zones=(aside,))
    assert found.proves == "deadlocked"
    assert "1345 free, floor 1381" in found.sentence
    assert pair(seen(free=(1345, 1382, 1345)), zones=(aside,)).proves == "starved"


@pytest.mark.parametrize("once", [0, 1])
def test_a_way_out_that_one_look_alone_saw_is_a_way_out(once: int) -> None:
    above, below = ZONE.model_copy(update={"free": 140}), ZONE
    zones = [(above,), (below,)] if once == 0 else [(below,), (above,)]
    pair_of = (look(1, FIRST_NS, zones=zones[0]), look(2, SECOND_NS, zones=zones[1]))
    assert examine(*pair_of, seen(), RULES).proves == "starved"
    room = RING.model_copy(update={"usable": 16})
    nics = [(room,), (RING,)] if once == 0 else [(RING,), (room,)]
    pair_of = (look(1, FIRST_NS, nics=nics[0]), look(2, SECOND_NS, nics=nics[1]))
    assert examine(*pair_of, seen(), RULES).proves == "open"


STOPPED = RING.model_copy(update={"driver": "virtio_net", "filled": 60, "counters": {}, "stopped": True})
"""Sixty frames have come in, and the NAPI that would take them is disabled."""
REFILL = KSWAPD.model_copy(
    update={"pid": 13, "comm": "kworker/0:1", "stack": (*KSWAPD.stack, "try_fill_recv", "refill_work")}
)


def test_a_nic_whose_napi_is_disabled_waits_for_who_fills_its_ring_and_for_no_memory() -> None:
    free = ZONE.model_copy(update={"free": 200})
    found = pair(seen(free=(200,)), nics=(STOPPED,), tasks=(KSWAPD, READER, REFILL), zones=(free,))
    assert found.proves == "deadlocked"
    assert "is polled again by kworker/0:1 (pid 13)" in found.sentence
    assert "buffers:data" in found.cycle and "task:13" in found.cycle
    working = REFILL.model_copy(update={"waits": None, "state": "R"})
    assert pair(nics=(STOPPED,), tasks=(KSWAPD, READER, working)).proves == "open"
    assert pair(nics=(STOPPED,)).proves == "open"  # who disabled it was not found


def test_frames_that_came_in_between_the_looks_are_a_chance() -> None:
    more = RING.model_copy(update={"counters": {"received": 14, "refills_failed": 80}})
    found = examine(look(1, FIRST_NS), look(2, SECOND_NS, nics=(more,)), seen(), RULES)
    assert found.proves == "starved"
    assert "refill" in found.sentence


def test_the_refusals_of_another_nic_are_not_those_of_the_one_that_is_waited_for() -> None:
    own = RING.model_copy(update={"counters": {}, "addresses": ("10.0.0.1",)})
    other = RING.model_copy(update={"name": "flooded", "addresses": ("10.0.9.1",)})
    found = pair(nics=(own, other))
    assert found.proves == "starved" and "not counted by its driver" in found.sentence


def test_a_ring_that_is_filled_bit_by_bit_is_a_chance() -> None:
    fuller = RING.model_copy(update={"filled": 9})
    found = examine(look(1, FIRST_NS), look(2, SECOND_NS, nics=(fuller,)), seen(), RULES)
    assert found.proves == "starved"
    assert "+4" in found.sentence


@pytest.mark.parametrize(
    ("counters", "told"), [({"received": 10}, "not counted"), ({"received": 10, "refills_failed": 0}, "none")]
)
def test_a_refill_that_was_not_seen_to_fail_is_a_chance(counters: dict[str, int], told: str) -> None:
    ring = RING.model_copy(update={"counters": counters})
    first, second = look(1, FIRST_NS, nics=(ring,)), look(2, SECOND_NS, nics=(ring,))
    second = second.model_copy(update={"nics": first.nics})
    found = examine(first, second, seen(), RULES)
    assert found.proves == "starved"
    assert f"refills that failed between the looks: {told}" in found.sentence


def test_another_nic_that_is_starved_has_no_part_in_it() -> None:
    own = RING.model_copy(update={"filled": 62, "usable": 60, "addresses": ("10.0.0.1",)})
    other = RING.model_copy(update={"name": "other", "addresses": ("10.9.0.1",)})
    found = pair(nics=(own, other))
    assert found.proves == "open"
    assert "data, whose receive ring has 60 of 64 usable" in found.sentence


@pytest.mark.parametrize("moving", [0, 1])
def test_a_way_out_through_a_request_that_moves_is_one_in_whichever_look_it_was(moving: int) -> None:
    root = REQUEST.model_copy(update={"device": "vda", "socket": 0, "tag": 3, "sector": 77, "folios": ()})
    requests = [(REQUEST,), (REQUEST,)]
    requests[moving] = (REQUEST, root)
    first, second = look(1, FIRST_NS, requests=requests[0]), look(2, SECOND_NS, requests=requests[1])
    assert examine(first, second, seen(), RULES).proves == "open"


def test_without_a_timer_what_is_unacknowledged_may_still_be_sent() -> None:
    timerless = SWAP_SOCKET.model_copy(update={"retransmit_in_ms": None})
    found = pair(sockets=(timerless, FLOODED))
    assert found.proves == "open"
    assert "is not known" in found.sentence
    acknowledged = timerless.model_copy(update={"unacknowledged_bytes": 0})
    assert pair(sockets=(acknowledged, FLOODED)).proves == "deadlocked"


def test_a_server_that_serves_nobody_else_between_the_looks_gives_no_proof() -> None:
    values = dict(seen().values) | {"B/client.reads": ((FIRST_NS - NS, 1),)}
    found = pair(History(values=values, last_ns=SECOND_NS))
    assert found.proves == "open"
    assert "nothing for the second client" in found.sentence
    without = RULES.model_copy(update={"second_client": ()})
    found = examine(look(1, FIRST_NS), look(2, SECOND_NS), seen(), without)
    assert found.proves == "open"
    assert "no second client" in found.sentence


def test_a_look_of_which_something_is_missing_proves_nothing() -> None:
    found = examine(look(1, FIRST_NS), look(2, SECOND_NS, missing=("fragments: no symbol",)), seen(), RULES)
    assert found.proves == "open"
    assert "this could not be read: fragments: no symbol" in found.sentence


def test_a_request_that_ended_between_the_looks_breaks_the_knot() -> None:
    other = REQUEST.model_copy(update={"tag": 8, "sector": 16})
    both, one = {"requests": (REQUEST, other)}, {"requests": (REQUEST,)}
    assert pair(**both).proves == "deadlocked"
    assert examine(look(1, FIRST_NS, **one), look(2, SECOND_NS, **both), seen(), RULES).proves == "deadlocked"
    found = examine(look(1, FIRST_NS, **both), look(2, SECOND_NS, **one), seen(), RULES)
    assert found.proves == "open" and "1 of the first look had ended" in found.sentence


@pytest.mark.parametrize(("later_ms", "proves"), [(31_000, "deadlocked"), (900, "open")])
def test_a_tag_and_a_sector_that_were_given_out_again_are_another_request(later_ms: int, proves: str) -> None:
    first, second = (
        look(number, taken_ns, requests=(REQUEST.model_copy(update={"age_ms": age_ms}),))
        for number, taken_ns, age_ms in ((1, FIRST_NS, 1000), (2, SECOND_NS, later_ms))
    )
    assert examine(first, second, seen(), RULES).proves == proves


def test_replies_that_have_arrived_wait_for_their_reader_and_for_no_buffer() -> None:
    arrived = SWAP_SOCKET.model_copy(update={"receive_bytes": 1448, "receive_packets": 1})
    found = pair(sockets=(arrived, FLOODED))
    assert found.proves == "open"
    assert "its reader" in found.sentence


@pytest.mark.parametrize(
    ("pages", "proves"),
    [
        ({"inactive_file": 400}, "starved"),
        ({"inactive_file": 400, "dirty": 380}, "deadlocked"),
        ({"inactive_file": 400, "writeback": 390, "swap_cache": 395}, "starved"),
        ({"inactive_file": 400, "writeback": 390, "swap_cache": 5}, "deadlocked"),
        ({"inactive_file": 400, "writeback": 390}, "starved"),
    ],
)
def test_pages_of_swap_that_are_written_out_are_no_pages_of_files(pages: dict[str, int], proves: str) -> None:
    assert pair(memory_pages=pages).proves == proves


def test_who_waits_for_fewer_dirty_pages_may_wait_for_a_flusher_that_is_not_seen() -> None:
    writer = task(131, "writeback", frame="balance_dirty_pages")
    write = REQUEST.model_copy(update={"operation": "write"})
    tag = Wait(kind="tag", detail="nbd0", frame="blk_mq_get_tag")
    flusher = task(60).model_copy(
        update={"stack": ("io_schedule", "blk_mq_get_tag", "wb_workfn"), "state": "D", "waits": tag}
    )
    assert pair(tasks=(KSWAPD, flusher, writer), requests=(write,)).proves == "deadlocked"
    found = pair(tasks=(KSWAPD, writer), requests=(write,))
    assert found.proves == "starved"
    assert "the flusher" in found.sentence


@pytest.mark.parametrize(
    ("device", "proves"), [("nbd0", "deadlocked"), ("vda", "open"), ("md0", "open"), ("", "open")]
)
def test_who_waits_for_room_on_its_way_to_a_device_waits_for_its_requests_alone(
    device: str, proves: str
) -> None:
    room = Wait(kind="queue", detail=device, frame="bio_throttle_wait")
    reclaimer = KSWAPD.model_copy(
        update={"stack": ("io_schedule", "bio_throttle_wait", "shrink_node"), "state": "D", "waits": room}
    )
    moving = REQUEST.model_copy(update={"device": "vda", "socket": 0, "tag": 3, "sector": 77, "folios": ()})
    first = look(1, FIRST_NS, tasks=(reclaimer, READER), requests=(REQUEST, moving))
    second = look(2, SECOND_NS, tasks=(reclaimer, READER), requests=(REQUEST, moving))
    assert examine(first, second, seen(), RULES).proves == proves


def test_one_reader_that_can_read_breaks_the_knot() -> None:
    awake = task(200)
    sockets = (SWAP_SOCKET, FLOODED.model_copy(update={"holders": (131, 200)}))
    found = pair(tasks=(KSWAPD, READER, awake), sockets=sockets)
    assert found.proves == "open"
    assert "task200" in found.sentence


def test_a_reclaimer_that_runs_breaks_the_knot() -> None:
    busy = KSWAPD.model_copy(update={"state": "R", "waits": None})
    assert pair(tasks=(busy, READER)).proves == "open"


def test_a_lock_cycle_is_named_as_what_it_is_and_proves_nothing_of_memory() -> None:
    locks = (
        Lock(address=0x10, kind="mutex", name="one", owner=301, waiters=(302,)),
        Lock(address=0x20, kind="mutex", name="two", owner=302, waiters=(301,)),
    )
    tasks = (task(301, "mutex", address=0x20), task(302, "mutex", address=0x10))
    found = examine(
        Snapshot(number=1, taken_ns=FIRST_NS, paused_ms=1, tasks=tasks, locks=locks),
        Snapshot(number=2, taken_ns=SECOND_NS, paused_ms=1, tasks=tasks, locks=locks),
        seen(),
        RULES,
    )
    assert found.proves == "open"
    assert len(found.lock_cycle) == 4
    assert {name.partition(":")[0] for name in found.lock_cycle} == {"task", "lock"}
    assert _with_worker(tasks, locks, pid=300, waits=0x10).proves == "deadlocked"
    assert _with_worker(tasks, locks, pid=300, waits=0x99).proves == "open"
    assert _with_worker(tasks, locks, pid=300, waits=0x10, work=(5, 6)).proves == "open"
    counted = ("A/load.work", "A/blocksampler.reads_completed_0", "A/vmsampler.rpc_data_done")
    sampled = RULES.model_copy(update={"progress": counted})
    assert _with_worker(tasks, locks, pid=300, waits=0x10, rules=sampled).proves == "deadlocked"
    asleep = RULES.model_copy(update={"progress": ("A/load.work", "A/other.work")})
    assert _with_worker(tasks, locks, pid=300, waits=0x10, rules=asleep).proves == "open"


def _with_worker(
    tasks: tuple[Task, ...],
    locks: tuple[Lock, ...],
    *,
    pid: int,
    waits: int,
    work: tuple[int, ...] = (5,),
    rules: Judging = RULES,
) -> Any:
    """The same with the load whose work counts: it waits for a lock too."""
    all_tasks = (*tasks, task(pid, "mutex", address=waits))
    values = dict(seen(work=work).values) | {"A/load.pid": ((FIRST_NS - NS, pid),)}
    first, second = (
        Snapshot(number=number, taken_ns=taken_ns, paused_ms=1, tasks=all_tasks, locks=locks)
        for number, taken_ns in ((1, FIRST_NS), (2, SECOND_NS))
    )
    return examine(first, second, History(values=values, last_ns=SECOND_NS), rules)


def test_the_last_retransmission_of_those_that_carry_requests_counts() -> None:
    assert next_retransmission_ns(look(1, FIRST_NS), frozenset({"nbd0"})) == FIRST_NS + 10_100 * 1_000_000
    assert next_retransmission_ns(look(1, FIRST_NS), frozenset({"sda"})) is None


@pytest.mark.parametrize(
    ("device", "path"),
    [
        ("nbd0", "nbd_config.socks[].sock.sk"),
        ("nvme0n1", "nvme_tcp_queue.sock.sk"),
        ("sda", "iscsi_sw_tcp_conn.sock.sk"),
        ("nfs", "sock_xprt.inet"),
    ],
)
def test_a_request_names_its_connection_by_the_fields_of_its_driver(device: str, path: str) -> None:
    requests = (REQUEST.model_copy(update={"device": device}),)
    edges = wait_for_graph(look(1, FIRST_NS, requests=requests)).edges
    carried = next(edge for edge in edges if edge.verb == "waits for its reply on")
    assert carried.target.endswith("10.0.0.1:40000-10.0.0.3:10809")
    assert carried.evidence.endswith(f"{path} = 0x50")


def test_one_look_alone_shows_its_cycle() -> None:
    assert "closed cycle" in single_cycle(wait_for_graph(look(1, FIRST_NS)))
    assert single_cycle(wait_for_graph(look(1, FIRST_NS, requests=()))) == ""


# --- the graph


def graph(edges: dict[str, str], **ends: str) -> Graph:
    """`{"a": "bc"}`: a waits for b and c. An upper-case node needs any of what it waits for."""
    names = sorted({*edges, *"".join(edges.values()), *ends})
    nodes = [
        Node(id=name, kind="task", words=name, needs="any" if name.isupper() else "all", ends=ends.get(name))  # type: ignore[arg-type]
        for name in names
    ]
    return Graph(
        nodes=tuple(nodes),
        edges=tuple(
            Edge(source=source, target=target, verb="waits for", how="observed", evidence="")
            for source, targets in edges.items()
            for target in targets
        ),
    )


def test_who_needs_all_stands_while_one_stands() -> None:
    assert stuck(graph({"a": "bc", "b": "a"}, c="sure")) == {"a", "b"}


def test_who_needs_any_moves_as_soon_as_one_moves() -> None:
    assert stuck(graph({"A": "bc", "b": "A"}, c="sure")) == frozenset()
    assert stuck(graph({"A": "bc", "b": "A", "c": "A"})) == {"A", "b", "c"}


def test_a_chance_decides_between_starved_and_deadlocked() -> None:
    hangs = graph({"A": "bc", "b": "A"}, c="chance")
    assert stuck(hangs) == frozenset()
    assert stuck(hangs, chance_moves=False) == {"A", "b", "c"}


def test_who_waits_for_nothing_known_is_not_said_to_stand() -> None:
    assert stuck(graph({"a": "b"})) == frozenset()
    assert stuck(graph({"a": "b"}, b="never")) == {"a", "b"}


def test_the_shortest_cycle_is_found() -> None:
    one = graph({"a": "bd", "b": "c", "c": "a", "d": "a"})
    assert cycle(one, stuck(one), ["a"]) == ("a", "d")
    assert cycle(one, frozenset(), ["a"]) == ()


def test_only_what_both_looks_hold_is_common() -> None:
    both = common(graph({"a": "b", "b": "a"}), graph({"a": "b", "b": "c"}, c="sure"))
    assert [(edge.source, edge.target) for edge in both.edges] == [("a", "b")]
    assert {node.id for node in both.nodes} == {"a", "b"}


@given(st.dictionaries(st.sampled_from("abcDEF"), st.text("abcDEF", max_size=4), max_size=6))
def test_every_node_of_the_stuck_set_really_stands(edges: dict[str, str]) -> None:
    one = graph(edges)
    found, waits, nodes = stuck(one), one.successors(), one.by_id
    for name in found:
        standing = [target in found for target in waits[name]]
        assert standing and (any(standing) if nodes[name].needs == "all" else all(standing))
    for name in set(nodes) - found:
        standing = [target in found for target in waits[name]]
        assert not standing or not (any(standing) if nodes[name].needs == "all" else all(standing))
    path = cycle(one, found, sorted(found))
    for source, target in zip(path, (*path[1:], *path[:1]), strict=True):
        assert target in waits[source]
