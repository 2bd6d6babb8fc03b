"""What a look leaves out, or can not read, is told, and the rest of it stands."""

from __future__ import annotations

import pytest

from testbed.introspection import blocks, counters, network, reader, rpc, sockets, tasks
from testbed.introspection.reading import MOST, Reading
from testbed.introspection.tasks import Seen
from testbed.snapshot import Request, Socket, Task, Wait


def ask(n: int) -> Request:
    return Request(address=n, device="nbd0", tag=n, operation="read")


def test_a_number_that_a_guest_has_wrong_is_noted() -> None:
    reading = Reading(None)  # type: ignore[arg-type]
    assert reading.get("a ring", -1, lambda size: 7 % size, 0) == -1
    assert reading.notes() == ("a ring: ZeroDivisionError: integer modulo by zero",)


def test_a_look_with_more_than_it_can_hold_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = (Wait(kind="tag", address=0xA), Wait(kind="queue", address=0xB), Wait(kind="queue"))
    found = tuple(Task(pid=n, comm="reader", state="D", waits=wait) for n, wait in enumerate(waits))
    monkeypatch.setattr(tasks, "read_tasks", lambda _: Seen(found, (), 0, {}))
    monkeypatch.setattr(blocks, "read_requests", lambda *_: tuple(ask(n) for n in range(MOST)))
    monkeypatch.setattr(blocks, "queues", lambda _: {0: "none", 0xA: "nbd0"})
    monkeypatch.setattr(rpc, "read_calls", lambda _: tuple(ask(n) for n in range(MOST)))
    many = tuple(Socket(address=n, protocol="tcp", state="ESTABLISHED") for n in range(MOST + 1))
    monkeypatch.setattr(sockets, "read_sockets", lambda *_: many)
    for module, name, nothing in (
        (sockets, "fragments", (0, 0)),
        (sockets, "read_limits", ()),
        (network, "read_nics", ()),
        (counters, "read_counters", {}),
        (reader, "read_zones", ()),
        (reader, "read_pages", {}),
    ):
        monkeypatch.setattr(module, name, lambda _, nothing=nothing: nothing)
    seen = reader.snapshot(Reading(None))  # type: ignore[arg-type]
    assert len(seen.requests) == len(seen.sockets) == MOST
    assert [note.partition(":")[0] for note in seen.missing] == [
        "requests of all devices",
        "release",
        "sockets of all protocols",
    ]
    assert [task.waits.detail for task in seen.tasks if task.waits] == ["nbd0", "", ""]
