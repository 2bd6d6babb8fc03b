"""Owns the jumping wall clock: a machine's CLOCK_REALTIME is set ahead and back again, over and over."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from testbed.load import Seconds
from testbed.loads import LoadContext, OneProcess, agent


class Clock(OneProcess):
    """`step = "1h"`, there and back, a jump `every` second until it is stopped.

    CLOCK_MONOTONIC, by which the kernel's timers run, does not jump with it (clock_settime(2)).
    """

    kind: ClassVar[str] = "clock"
    page_kind: ClassVar[str] = "deed"

    step: Seconds = Field(default=3600.0, ge=1, le=86400 * 365)
    every: Seconds = Field(default=1.0, ge=0.05, le=3600)

    def argv(self, slot: int, context: LoadContext) -> list[str]:
        options = {"step-s": round(self.step), "every-ms": round(self.every * 1e3)}
        return agent("deed-clock", slot, options)
