"""Owns the reader: work that hangs on nothing but what the reading of one file hangs on."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field

from testbed.load import Seconds
from testbed.loads import LoadContext, Needed, agent
from testbed.model import PlannedMachine, Value
from testbed.transports import Guest


class Reader(Value):
    """Reads `file` again and again, a rest of `pause` between; locked in memory, so swap is not in it."""

    kind: ClassVar[str] = "reader"
    page_kind: ClassVar[str] = "reader"
    finish: ClassVar[Literal["sweep", "exit"] | None] = None
    progress: ClassVar[tuple[str, ...]] = ("reads",)

    file: str = Field(pattern=r"^/[ -~]{1,200}$")
    pause: Seconds = Field(default=0.02, ge=0, le=60)

    def parts(self, *, prebuilt: bool) -> tuple[Self, ...]:
        return (self,)

    def needs(self) -> tuple[Needed, ...]:
        return ()

    def devices(self, machine: PlannedMachine) -> tuple[str, ...]:
        return ()

    def prepare(self, guest: Guest, context: LoadContext) -> None:
        pass

    def argv(self, slot: int, context: LoadContext) -> list[str]:
        return agent("reader", slot, {"file": self.file, "pause-ms": round(self.pause * 1e3)})
