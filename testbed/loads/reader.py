"""Owns the reader: work that hangs on nothing but what the reading of one file hangs on."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from testbed.load import Seconds
from testbed.loads import LoadContext, OneProcess, agent


class Reader(OneProcess):
    """Reads `file` again and again, a rest of `pause` between; locked in memory, so swap is not in it."""

    kind: ClassVar[str] = "reader"
    page_kind: ClassVar[str] = "reader"
    progress: ClassVar[tuple[str, ...]] = ("reads",)

    file: str = Field(pattern=r"^/[ -~]{1,200}$")
    pause: Seconds = Field(default=0.02, ge=0, le=60)

    def argv(self, slot: int, context: LoadContext) -> list[str]:
        return agent("reader", slot, {"file": self.file, "pause-ms": round(self.pause * 1e3)})
