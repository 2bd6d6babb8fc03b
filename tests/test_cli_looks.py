"""A look into a guest as it is shown on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from testbed.cli import looks
from testbed.cli.look_names import MOST_ROWS
from testbed.snapshot import Lock, Snapshot, Task
from tests.test_waitfor import FIRST_NS, FLOODED, KSWAPD, READER, REQUEST, SWAP_SOCKET, ZONE, look, task

CORPUS = Path(__file__).parent.parent / "results" / "summaries" / "corpus"
KEPT = {path.parent.name: path for path in sorted(CORPUS.glob("*/snapshot-*.json"))}
"""The last look of each kept cell."""


def page(one: Snapshot, width: int = 200) -> str:
    console = Console(width=width)
    with console.capture() as told:
        console.print(looks.snapshot(one), soft_wrap=True)
    return told.get()


def shown(**changes: Any) -> str:
    return page(look(1, FIRST_NS, **changes))


def line_with(word: str, text: str) -> str:
    """The first line that has this word, with one space between words."""
    return next(" ".join(words) for line in text.splitlines() if word in (words := line.split()))


@pytest.mark.parametrize(
    ("slots", "spans"),
    [
        ((), "of 0 swap slots"),
        ((40, 12, 13, 14), "12-14, 40"),
        (tuple(range(0, 40, 2)), "0, 2, 4, 6, 8, 10, ..."),
    ],
)
def test_the_slots_of_a_request_are_told_by_spans(slots: Sequence[int], spans: str) -> None:
    assert spans in shown(requests=(REQUEST.model_copy(update={"swap_slots": tuple(slots)}),))


def test_who_waits_for_whom_is_told() -> None:
    told = shown()
    assert "closed cycle" in " ".join(told.split())
    assert "One look proves nothing" in told


def test_a_zone_is_told_with_its_floors_and_swap_with_its_use() -> None:
    zone = ZONE.model_copy(
        update={"boost": 1024, "on_cpu_lists": 9, "kept_for_lower": 12, "kept_for_high_order": 8}
    )
    pages = {"writeback": 183, "swap_used": 29_568, "swap_total": 131_071, "kswapd_failures": 16}
    told = shown(zones=(zone,), memory_pages=pages)
    assert line_with("DMA32", told) == "DMA32 101 101 646 1292 268 1024 335 402 19000 9 12 8 0"
    aside = shown(zones=(zone.model_copy(update={"set_aside": 1280}),))
    assert line_with("DMA32", aside) == "DMA32 101 1381 646 2572 268 1024 335 402 19000 9 12 8 1280"
    assert "swap: 29568 of 131071 pages used; kswapd_failures 16" in told
    assert "pages: writeback 183\n" in told


def test_locks_are_told_with_their_owners_by_name() -> None:
    locks = (
        Lock(address=0xA0, kind="mutex", name="left", owner=28, waiters=(131, 132, 133, 7)),
        Lock(address=0xB0, kind="rwsem", name="right"),
    )
    waiting = [READER, *(Task(pid=pid, comm="task131", state="D") for pid in (132, 133))]
    blocked = task(140, "mutex", address=0xA0)
    told = shown(tasks=(KSWAPD, *waiting, blocked), locks=locks)
    assert line_with("a0", told) == "a0 mutex left kswapd0 28 task131 131-133, 7"
    assert line_with("b0", told) == "b0 rwsem right not known"
    assert line_with("task140", told).endswith("mutex left")
    assert "locks that somebody waits for: none" in shown()


def test_a_task_is_told_with_the_request_it_waits_for_and_the_sockets_it_holds() -> None:
    told = shown(tasks=(READER.model_copy(update={"holds_sockets": (0x99, FLOODED.address)}),))
    assert line_with("task131", told) == "131 task131 D 1 folio locked of request 7 of nbd0 #2, 99"


def test_orphaned_requests_are_marked_and_come_first() -> None:
    orphan = REQUEST.model_copy(update={"tag": 9, "state": "in flight", "orphaned": True})
    told = shown(requests=(REQUEST, orphan))
    assert told.index("in flight, orphaned") < told.index(" 7  read")


def test_the_sockets_that_matter_come_first_and_what_is_left_out_is_told() -> None:
    full = [FLOODED.model_copy(update={"address": 0x100 + at, "local": f"full:{at}"}) for at in range(30)]
    slept_on = FLOODED.model_copy(update={"address": 0x61, "local": "slept-on", "readers": (28,)})
    empty = slept_on.model_copy(update={"address": 0x62, "local": "empty", "receive_bytes": 0, "readers": ()})
    told = shown(sockets=(empty, *full, slept_on, SWAP_SOCKET))
    assert line_with(SWAP_SOCKET.local, told).startswith("1 tcp")
    assert line_with("slept-on", told).startswith("2 udp")
    assert "empty" not in told and f"sockets (33): whose they are; the first {MOST_ROWS}, all" in told


def test_what_a_socket_sends_again_is_told_and_what_was_not_read_is_marked() -> None:
    head = {"retransmits": 7, "retransmit_timeout_ms": 26_100, "head_bytes": 2896, "head_at_driver": False}
    told = shown(sockets=(SWAP_SOCKET.model_copy(update=head), FLOODED))
    assert line_with("26.1", told) == "1 400 10.0 s 26.1 s 7 ? 2896 ? no"


def test_the_ends_that_requests_hang_on_are_told() -> None:
    assert "A chance: memory above the floor" in shown(zones=(ZONE.model_copy(update={"free": 102}),))
    with_room = shown(nics=(look(1, FIRST_NS).nics[0].model_copy(update={"usable": 16}),))
    assert "Waits for: data, whose receive ring has 16 of 64 usable has room" in with_room


@pytest.mark.parametrize("name", KEPT)
def test_a_kept_look_can_be_read_in_100_columns(name: str) -> None:
    """Also where the terminal is narrower, or there is none: no number and no address is cut in two."""
    one = Snapshot.model_validate_json(KEPT[name].read_text())
    told = page(one, width=80)
    assert told == page(one, width=100)
    words = told.split()
    for sock in sorted(one.sockets, key=lambda each: -each.receive_bytes)[: MOST_ROWS // 2]:
        assert {f"{sock.address:x}", str(sock.receive_bytes), sock.local, sock.remote} <= set(words)
    tables = [line for line in told.splitlines() if "  " in line]
    assert max(map(len, tables)) <= looks.LEAST_WIDTH
