"""Owns the second client: another machine that reads from the swap's server, to show that it serves."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from testbed.errors import TestbedFault
from testbed.load import Seconds
from testbed.loads import LoadContext, Needed, OneProcess, agent
from testbed.transports import LENT_BYTES, LENT_PATH, Ends, Guest, Lender, transport_of


class Client(OneProcess):
    """Reads a block of what the transport's server lends besides the swap, every so often, uncached."""

    kind: ClassVar[str] = "client"
    page_kind: ClassVar[str] = "client"
    progress: ClassVar[tuple[str, ...]] = ("reads",)

    every: Seconds = Field(default=0.5, ge=0.05, le=60)

    def needs(self) -> tuple[Needed, ...]:
        return (("kind", "lender", ""),)

    def prepare(self, guest: Guest, context: LoadContext) -> None:
        if context.plan.transport is None:
            raise TestbedFault("a client needs a transport, whose server lends it something")
        transport = transport_of(context.plan.transport)
        if not isinstance(transport, Lender):
            raise TestbedFault(f"{transport.kind} lends nothing to other machines")
        transport.borrow(guest, Ends.of(context.plan, context.cpu_scale))

    def argv(self, slot: int, context: LoadContext) -> list[str]:
        options = {"path": LENT_PATH, "every-ms": round(self.every * 1000), "bytes": LENT_BYTES}
        return agent("client", slot, options)
