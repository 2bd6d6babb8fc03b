"""Owns the asking for blocks of several pages: whether the kernel still has one, and how soon."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from testbed.load import Count, Seconds
from testbed.loads import LoadContext, OneProcess, agent


class Blocks(OneProcess):
    """Asks for a block of 2 to the power of `order` pages `every` so often, and gives it back.

    Locked in memory. Up to order 3 the kernel rather waits than refuses: late answers count as well.
    """

    kind: ClassVar[str] = "blocks"
    page_kind: ClassVar[str] = "blocks"

    order: Count = Field(default=3, ge=2, le=8)
    every: Seconds = Field(default=0.1, ge=0.04, le=60)

    def argv(self, slot: int, context: LoadContext) -> list[str]:
        return agent("blocks", slot, {"order": self.order, "every-ms": round(self.every * 1e3)})
