"""A server that is a process of the subject: no wire is asked; what the process waits for is the proof."""

from __future__ import annotations

from typing import Any

import pytest
from test_waitfor import FIRST_NS, KSWAPD, RULES, SECOND_NS, ZONE, seen

from testbed.snapshot import Request, Snapshot, Socket, Task, Wait
from testbed.waitfor import Examination, examine

LOCAL = RULES.model_copy(update={"server": "A"})
READER = Task(
    pid=131,
    comm="anonymous",
    state="D",
    waits=Wait(kind="folio", address=0xF0, frame="folio_wait_bit_common"),
    stack=("io_schedule", "folio_wait_bit_common", "do_swap_page"),
)
OWN_PAGE = Wait(kind="folio", address=0xF1, detail="locked", frame="folio_wait_bit_common")
IN_FAULT = ("io_schedule", "folio_wait_bit_common", "do_swap_page")
STUCK_DAEMON = Task(pid=70, comm="nbd-server", state="D", waits=OWN_PAGE, stack=IN_FAULT)
REQUESTS = (
    Request(address=1, device="nbd0", tag=1, operation="read", sector=8, socket=0x50, folios=(0xF0,)),
    Request(address=2, device="nbd0", tag=2, operation="read", sector=16, socket=0x50, folios=(0xF1,)),
)


def ends(protocol: str, holders: tuple[int, ...] = (70,), **client: Any) -> tuple[Socket, Socket]:
    local, remote = ("unnamed", "/run/s") if protocol == "unix" else ("127.0.0.1:9", "127.0.0.1:10809")
    return (
        Socket(address=0x50, protocol=protocol, local=local, remote=remote, peer=0x51, **client),
        Socket(address=0x51, protocol=protocol, local=remote, remote=local, peer=0x50, holders=holders),
    )


def examined(protocol: str = "unix", daemon: Task = STUCK_DAEMON, **ways: Any) -> Examination:
    """Two looks that are alike. The host saw no packet of a swap connection: there is none."""
    looks = [
        Snapshot(
            number=number,
            taken_ns=taken_ns,
            paused_ms=100,
            tasks=(READER, daemon),
            requests=REQUESTS,
            sockets=ends(protocol, **ways),
            zones=(ZONE,),
        )
        for number, taken_ns in ((1, FIRST_NS), (2, SECOND_NS))
    ]
    history = seen()
    del history.values["wire/swap.replies.delivered_packets"]  # type: ignore[attr-defined]
    return examine(*looks, history, LOCAL)


@pytest.mark.parametrize("protocol", ["unix", "tcp"])
def test_a_daemon_that_waits_for_its_own_swapped_page_is_deadlocked(protocol: str) -> None:
    found = examined(protocol)
    assert found.proves == "deadlocked"
    for word in ("request 2 of nbd0", "an answer of nbd-server", "nbd-server (pid 70)", "closed cycle"):
        assert word in found.sentence
    assert "NIC" not in found.sentence and not any(node.kind == "buffers" for node in found.graph.nodes)
    condition = next(one for one in found.conditions if one.name == "answers")
    assert condition.met and "process of the subject" in condition.statement


@pytest.mark.parametrize(
    "daemon",
    [
        STUCK_DAEMON.model_copy(update={"state": "R", "waits": None}),
        STUCK_DAEMON.model_copy(update={"state": "S", "waits": None}),
        STUCK_DAEMON.model_copy(update={"state": "S", "waits": Wait(kind="socket", address=0x51)}),
    ],
)
def test_a_daemon_that_may_go_on_proves_nothing(daemon: Task) -> None:
    assert examined(daemon=daemon).proves == "open"


@pytest.mark.parametrize(
    ("boost", "free", "proves"), [(1024, 590, "deadlocked"), (322, 590, "deadlocked"), (321, 590, "starved")]
)
def test_a_pool_is_not_filled_from_the_reserve(boost: int, free: int, proves: str) -> None:
    """As on a real guest: far above the floor of atomic allocations, and below min and its boost."""
    stack = ("mempool_alloc", "bio_alloc_bioset", "__swap_writepage", "pageout", "shrink_folio_list")
    daemon = STUCK_DAEMON.model_copy(
        update={"waits": Wait(kind="pool", frame="mempool_alloc"), "stack": stack, "pf_memalloc": True}
    )
    zone = ZONE.model_copy(update={"free": free, "boost": boost})

    def proved(*tasks: Task, vain_rounds: int = 0) -> str:
        pages = {"kswapd_failures": vain_rounds}
        first = Snapshot(number=1, taken_ns=FIRST_NS, paused_ms=100, tasks=(READER, *tasks), zones=(zone,),
                         requests=REQUESTS, sockets=ends("unix"), memory_pages=pages)  # fmt: skip
        second = first.model_copy(update={"number": 2, "taken_ns": SECOND_NS})
        return examine(first, second, seen(free=(free,)), LOCAL).proves

    assert proved(daemon, KSWAPD) == proves
    assert proved(daemon) == "starved", "kswapd sleeps, which a look does not list: it may be woken"
    assert proved(daemon, vain_rounds=15) == "starved"
    assert proved(daemon, vain_rounds=16) == proves, "it gave up, and does not wake any more"
    assert zone.process_floor == 268 + boost and zone.throttle_floor == (268 + boost) // 2


def test_who_is_throttled_in_reclaim_waits_for_kswapd_however_much_is_free() -> None:
    """As on a real guest, where 1041 pages were free and half of min with its boost is 646."""
    wait = Wait(kind="memory", frame="throttle_direct_reclaim")
    daemon = STUCK_DAEMON.model_copy(update={"waits": wait, "stack": ("throttle_direct_reclaim",)})
    zone = ZONE.model_copy(update={"free": 1041, "boost": 1024})
    stack = ("mempool_alloc", "shrink_folio_list", "balance_pgdat")
    kswapd = Task(
        pid=28, comm="kswapd0", state="D", waits=Wait(kind="pool", frame="mempool_alloc"), stack=stack
    )

    def proves(*tasks: Task) -> str:
        first = Snapshot(number=1, taken_ns=FIRST_NS, paused_ms=100, tasks=(READER, *tasks),
                         requests=REQUESTS, sockets=ends("unix"), zones=(zone,))  # fmt: skip
        second = first.model_copy(update={"number": 2, "taken_ns": SECOND_NS})
        return examine(first, second, seen(free=(1041,)), LOCAL).proves

    assert proves(daemon, kswapd) == "deadlocked"
    assert proves(daemon, kswapd.model_copy(update={"state": "R", "waits": None})) == "open"
    assert proves(daemon.model_copy(update={"state": "S"}), kswapd) == "starved"


WORKER = Task(
    pid=50, comm="kworker/u2:1", state="D", kthread=True,
    waits=Wait(kind="fuse", frame="request_wait_answer"),
    stack=("request_wait_answer", "fuse_perform_write", "lo_write_simple", "loop_process_work"),
)  # fmt: skip
FUSE_DAEMON = STUCK_DAEMON.model_copy(update={"comm": "bindfs", "serves_fuse": True})


def looped(daemon: Task, *more: Task, worker: Task = WORKER) -> Examination:
    requests = tuple(one.model_copy(update={"device": "loop0", "socket": 0}) for one in REQUESTS)
    first = Snapshot(number=1, taken_ns=FIRST_NS, paused_ms=100, tasks=(READER, worker, daemon, *more),
                     requests=requests, zones=(ZONE,))  # fmt: skip
    second = first.model_copy(update={"number": 2, "taken_ns": SECOND_NS})
    return examine(first, second, seen(), LOCAL.model_copy(update={"devices": ("loop0",)}))


def test_a_loop_device_waits_for_its_worker_and_that_for_who_serves_by_fuse() -> None:
    found = looped(FUSE_DAEMON)
    for word in ("request 2 of loop0", "kworker/u2:1", "an answer of bindfs by FUSE", "closed cycle"):
        assert word in found.sentence
    idle = Task(pid=71, comm="bindfs", state="S", serves_fuse=True)
    assert looped(FUSE_DAEMON, idle).proves == "open"
    assert looped(FUSE_DAEMON.model_copy(update={"serves_fuse": False})).proves == "open"
    assert looped(FUSE_DAEMON, worker=WORKER.model_copy(update={"stack": ("elsewhere",)})).proves == "open"


def test_a_request_of_ublk_waits_for_its_daemon() -> None:
    def served(*daemons: Task) -> Examination:
        requests = tuple(one.model_copy(update={"device": "ublkb0", "socket": 0}) for one in REQUESTS)
        first = Snapshot(number=1, taken_ns=FIRST_NS, paused_ms=100, tasks=(READER, *daemons),
                         requests=requests, zones=(ZONE,))  # fmt: skip
        second = first.model_copy(update={"number": 2, "taken_ns": SECOND_NS})
        return examine(first, second, seen(), LOCAL.model_copy(update={"devices": ("ublkb0",)}))

    stuck = STUCK_DAEMON.model_copy(update={"comm": "agent", "serves_ublk": True})
    found = served(stuck)
    for word in ("request 2 of ublkb0", "an answer of agent by ublk", "closed cycle"):
        assert word in found.sentence, found.sentence
    assert served(stuck, Task(pid=71, comm="agent", state="S", serves_ublk=True)).proves == "open"
    assert served(stuck.model_copy(update={"serves_ublk": False})).proves == "open"


def test_any_process_that_has_the_other_end_open_may_answer() -> None:
    free = Task(pid=71, comm="nbd-server", state="R")
    both = ends("unix", (70, 71))
    assert both[1].holders == (70, 71)
    look = Snapshot(number=1, taken_ns=FIRST_NS, paused_ms=100, tasks=(READER, STUCK_DAEMON, free),
                    requests=REQUESTS, sockets=both, zones=(ZONE,))  # fmt: skip
    later = look.model_copy(update={"number": 2, "taken_ns": SECOND_NS})
    assert examine(look, later, seen(), LOCAL).proves == "open"


def test_nobody_at_the_other_end_is_no_proof() -> None:
    found = examined(holders=())
    assert found.proves == "open" and "a process that was not found" in found.sentence


def test_a_connection_that_will_send_again_proves_nothing_before_it_has() -> None:
    found = examined("tcp", unacknowledged_bytes=400, retransmit_in_ms=60_000)
    assert found.proves == "open" and "has not come yet" in found.sentence


def test_for_another_machine_the_wire_is_still_asked() -> None:
    sockets = tuple(one.model_copy(update={"peer": 0}) for one in ends("tcp"))
    look = Snapshot(number=1, taken_ns=FIRST_NS, paused_ms=100, tasks=(READER, STUCK_DAEMON),
                    requests=REQUESTS, sockets=sockets, zones=(ZONE,))  # fmt: skip
    found = examine(
        look, look.model_copy(update={"number": 2, "taken_ns": SECOND_NS}), seen(answers=0), RULES
    )
    assert found.proves == "open" and "The host saw 0 frames" in found.sentence
