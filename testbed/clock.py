"""Owns time: monotonic nanoseconds, deadlines that are passed down, and the one way to poll."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from testbed.errors import TestbedFault

NS = 1_000_000_000


def now_ns() -> int:
    """CLOCK_MONOTONIC of the host: the only time that history and deadlines use."""
    return time.monotonic_ns()


def wall_clock() -> str:
    """UTC, for headers and file names only."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in monotonic time after which `what` is a fault of the testbed."""

    end_ns: int
    what: str

    @classmethod
    def after(cls, seconds: float, what: str) -> Deadline:
        return cls(now_ns() + round(seconds * NS), what)

    @property
    def left_s(self) -> float:
        return max(0.0, (self.end_ns - now_ns()) / NS)

    def check(self) -> None:
        if now_ns() >= self.end_ns:
            raise TestbedFault(f"took too long: {self.what}")


def poll(ready: Callable[[], bool], deadline: Deadline, *, every_s: float = 0.05) -> None:
    """Asks `ready` until it says yes; where an event or descriptor exists, wait for that instead.

    Raises TestbedFault, naming what was awaited, at the deadline.
    """
    while not ready():
        deadline.check()
        time.sleep(min(every_s, max(0.001, deadline.left_s)))
