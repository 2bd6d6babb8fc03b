"""Owns the flood: datagrams and TCP messages to a service, each at a stated rate and mix of sizes."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from testbed.errors import TestbedFault
from testbed.load import Bytes, Count, Flag, Pps
from testbed.loads import LoadContext, Needed, OneProcess, agent
from testbed.loads.service import Service
from testbed.model import Value

LONGEST_FRAGMENT = 1480
"""Of a frame of 1500 bytes, less the IPv4 header."""
LONGEST_TURN = 256
"""Sends of one turn of a mix: SIZES_MAX of testbed/guest/agent.h."""


class Size(Value):
    """A payload, and how often it comes in the mix."""

    size: Bytes = Field(ge=1, le=65507)
    weight: Count = Field(default=1, ge=1, le=100)


def _whole_turn(sizes: tuple[Size, ...]) -> tuple[Size, ...]:
    if (weights := sum(each.weight for each in sizes)) > LONGEST_TURN:
        raise ValueError(f"the weights sum up to {weights}, of at most {LONGEST_TURN}: take smaller ones")
    return sizes


Mix = Annotated[tuple[Size, ...], Field(min_length=1, max_length=16), AfterValidator(_whole_turn)]
ONE_SIZE = (Size.model_validate({"size": "1400B"}),)


class Flood(OneProcess):
    """UDP to every port of `service` on machine `to`, in turn, and messages over `tcp_connections`, in turn.

    `rate` and `sizes` are of datagrams; without a rate there are none, and 0pps is as fast as the sender
    can. The fragments that a payload beyond the link's MTU makes count as one. With `lone_fragments` each
    is the first fragment of a datagram whose rest never comes: the receiver keeps it for
    net.ipv4.ipfrag_time, up to net.ipv4.ipfrag_high_thresh.

    `tcp_rate` and `tcp_sizes` are of messages. At 0pps the connections never pause. A message of a stated
    size is one segment, if it fits into one: nothing is added to it. Without sizes TCP cuts the stream as
    it likes. A connection that takes no more is passed over: the rate is kept as far as the others take it.
    """

    kind: ClassVar[str] = "flood"
    page_kind: ClassVar[str] = "flood"

    to: str
    service: str
    link: str = "data"
    rate: Pps | None = None
    sizes: Mix | None = None
    lone_fragments: Flag = False
    tcp_connections: Count = Field(default=0, ge=0, le=256)
    tcp_rate: Pps = 0
    tcp_sizes: Mix | None = None

    @field_validator("sizes", "lone_fragments")
    @classmethod
    def _of_datagrams(cls, given: object, others: ValidationInfo) -> object:
        if given and others.data.get("rate", 0) is None:
            raise ValueError("without a rate there are no datagrams: give 'rate', or leave this out")
        return given

    @field_validator("tcp_rate", "tcp_sizes")
    @classmethod
    def _of_connections(cls, given: object, others: ValidationInfo) -> object:
        if given and not others.data.get("tcp_connections", 1):
            raise ValueError("there is no connection to send over: give 'tcp_connections', or leave this out")
        return given

    @field_validator("lone_fragments")
    @classmethod
    def _of_one_frame(cls, given: bool, others: ValidationInfo) -> bool:
        if given and any(each.size > LONGEST_FRAGMENT for each in others.data.get("sizes") or ONE_SIZE):
            raise ValueError(f"a lone fragment is one frame: its size is at most {LONGEST_FRAGMENT}B")
        return given

    @model_validator(mode="after")
    def _sends(self) -> Self:
        if self.rate is None and not self.tcp_connections:
            raise ValueError("it would send nothing: give it a 'rate', 'tcp_connections' or both")
        return self

    def needs(self) -> tuple[Needed, ...]:
        always: tuple[Needed, ...] = (("to", "machine", self.to), ("service", "load", self.service))
        return (*always, ("tcp_connections", "tcp", self.service)) if self.tcp_connections else always

    def argv(self, slot: int, context: LoadContext) -> list[str]:
        service = context.other(self.service)
        if not isinstance(service, Service):
            raise TestbedFault(f"load '{self.service}' is no service that could be flooded")
        options: dict[str, object] = {"to": context.address(self.to, self.link), "port": service.port}
        if self.rate is None:
            options["ports"] = 0
        else:
            options |= {"ports": service.sockets, "rate": self.rate, "sizes": _spelt(self.sizes or ONE_SIZE)}
        if self.tcp_connections:
            options |= {"tcp-port": service.tcp_port, "tcp-connections": self.tcp_connections}
        if self.tcp_rate:
            options["tcp-rate"] = self.tcp_rate
        if self.tcp_sizes:
            options["tcp-sizes"] = _spelt(self.tcp_sizes)
        if self.lone_fragments:
            options["lone"] = 1
        return agent("flood", slot, options)


def _spelt(sizes: tuple[Size, ...]) -> str:
    return ",".join(f"{each.size}:{each.weight}" for each in sizes)
