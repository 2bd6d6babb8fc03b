"""Owns the shattering of memory: so much of it is taken, and given back but for a page here and there."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from testbed.load import Bytes, Count
from testbed.loads import LoadContext, OneProcess, agent


class Shatter(OneProcess):
    """Of `memory` every `keep`th page stays, locked, until the end: what is free lies in pieces between."""

    kind: ClassVar[str] = "shatter"
    page_kind: ClassVar[str] = "deed"

    memory: Bytes = Field(ge=1 << 20, le=1 << 40)
    keep: Count = Field(default=4, ge=2, le=512)

    def argv(self, slot: int, context: LoadContext) -> list[str]:
        return agent("deed-shatter", slot, {"bytes": self.memory, "keep": self.keep})
