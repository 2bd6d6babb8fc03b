"""Owns the second client: another machine that reads from the swap's server, to show that it serves."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field

from testbed.errors import TestbedFault
from testbed.load import Seconds
from testbed.loads import LoadContext, Needed, agent
from testbed.model import PlannedMachine, Value
from testbed.transports import LENT_BYTES, LENT_PATH, Ends, Guest, transport_of


class Client(Value):
    """Reads a block of what the transport's server lends besides the swap, every so often, uncached."""

    kind: ClassVar[str] = "client"
    page_kind: ClassVar[str] = "client"
    finish: ClassVar[Literal["sweep", "exit"] | None] = None
    progress: ClassVar[tuple[str, ...]] = ("reads",)

    every: Seconds = Field(default=0.5, ge=0.05, le=60)

    def parts(self, *, prebuilt: bool) -> tuple[Self, ...]:
        return (self,)

    def needs(self) -> tuple[Needed, ...]:
        return ()

    def devices(self, machine: PlannedMachine) -> tuple[str, ...]:
        return ()

    def prepare(self, guest: Guest, context: LoadContext) -> None:
        if context.plan.transport is None:
            raise TestbedFault("a client needs a transport, whose server lends it something")
        ends = Ends.of(context.plan, context.cpu_scale)
        transport_of(context.plan.transport).borrow(guest, ends)

    def argv(self, slot: int, context: LoadContext) -> list[str]:
        options = {"path": LENT_PATH, "every-ms": round(self.every * 1000), "bytes": LENT_BYTES}
        return agent("client", slot, options)
