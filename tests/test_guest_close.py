"""Hanging up on a guest: what goes on in another thread is broken off, and nothing is waited for."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from typing import Any, cast

import pytest

from testbed.machines import guest as guests
from testbed.machines.guest import Guest, GuestUnreachable


class Silent:
    """A connection on which a command goes on until it is cut. It is its own client and transport."""

    is_connected = True

    def __init__(self) -> None:
        self.running, self.cut = threading.Event(), threading.Event()

    @property
    def client(self) -> Silent:
        return self

    def get_transport(self) -> Silent:
        return self

    def close(self) -> None:
        self.cut.set()

    def run(self, _line: str, **_: object) -> Any:
        self.running.set()
        assert self.cut.wait(20)
        raise EOFError


@pytest.fixture
def guest() -> Guest:
    return Guest("C", cast(Any, None), cast(Any, None))


def test_a_command_of_another_thread_is_broken_off(guest: Guest) -> None:
    connection = Silent()
    guest._connection = connection
    failed = Future[None]()

    def run() -> None:
        try:
            guest.run(["sleep", "60"], timeout_s=60)
        except GuestUnreachable as error:
            failed.set_exception(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert connection.running.wait(5)
    guest.close()
    with pytest.raises(GuestUnreachable, match="broke off"):
        failed.result(5)
    guest.close()


def test_one_who_is_just_connecting_is_not_waited_for(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guests, "CLOSE_S", 0.05)
    begun_s = time.monotonic()
    with guest._lock:
        guest.close()
    assert time.monotonic() - begun_s < 5
