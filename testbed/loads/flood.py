"""Owns the flood: packets to a service, at a stated rate and mix of sizes."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from testbed.errors import TestbedFault
from testbed.load import Bytes, Count, Flag, Pps
from testbed.loads import LoadContext, Needed, OneProcess, agent
from testbed.loads.service import Service
from testbed.model import Value

LONGEST_FRAGMENT = 1480
"""Of a frame of 1500 bytes, less the IPv4 header."""


class Size(Value):
    """A payload, and how often it comes in the mix."""

    size: Bytes = Field(ge=1, le=65507)
    weight: Count = Field(default=1, ge=1, le=100)


ONE_SIZE = Size.model_validate({"size": "1400B"})


class Flood(OneProcess):
    """UDP to every port of `service` on machine `to`, in turn, and `tcp_connections` that never pause.

    `rate` is of datagrams; 0pps is as fast as the sender can. The fragments that a payload beyond
    the link's MTU makes count as one. With `lone_fragments` each is the first fragment of a datagram whose
    rest never comes: the receiver keeps it for net.ipv4.ipfrag_time, up to net.ipv4.ipfrag_high_thresh.
    """

    kind: ClassVar[str] = "flood"
    page_kind: ClassVar[str] = "flood"

    to: str
    service: str
    link: str = "data"
    rate: Pps
    sizes: tuple[Size, ...] = Field(default=(ONE_SIZE,), min_length=1, max_length=16)
    tcp_connections: Count = Field(default=0, ge=0, le=256)
    lone_fragments: Flag = False

    @model_validator(mode="after")
    def _fragments_fit(self) -> Self:
        if self.lone_fragments and any(each.size > LONGEST_FRAGMENT for each in self.sizes):
            raise ValueError(f"a lone fragment is one frame: its size is at most {LONGEST_FRAGMENT}B")
        return self

    def needs(self) -> tuple[Needed, ...]:
        always: tuple[Needed, ...] = (("to", "machine", self.to), ("service", "load", self.service))
        return (*always, ("tcp_connections", "tcp", self.service)) if self.tcp_connections else always

    def argv(self, slot: int, context: LoadContext) -> list[str]:
        service = context.other(self.service)
        if not isinstance(service, Service):
            raise TestbedFault(f"load '{self.service}' is no service that could be flooded")
        mix = ",".join(f"{each.size}:{each.weight}" for each in self.sizes)
        options: dict[str, object] = {"to": context.address(self.to, self.link)}
        options |= {"port": service.port, "ports": service.sockets, "rate": self.rate, "sizes": mix}
        if self.tcp_connections:
            options |= {"tcp-port": service.tcp_port, "tcp-connections": self.tcp_connections}
        if self.lone_fragments:
            options["lone"] = 1
        return agent("flood", slot, options)
