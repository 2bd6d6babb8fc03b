"""Owns the storm: system calls that need a little memory, made over and over, and counted when they fail."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from testbed.load import Seconds
from testbed.loads import LoadContext, OneProcess, agent


class Storm(OneProcess):
    """fork, exec, mmap, socket and open, each by a thread of its own with a rest of `pause` between two.

    Locked in memory, so that what a call waits for is what the call itself needs. Its counts are no progress.
    """

    kind: ClassVar[str] = "storm"
    page_kind: ClassVar[str] = "storm"

    pause: Seconds = Field(default=0.02, ge=0, le=60)

    def argv(self, slot: int, context: LoadContext) -> list[str]:
        return agent("storm", slot, {"pause-ms": round(self.pause * 1e3)})
