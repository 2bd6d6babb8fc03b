"""Owns the network service: sockets whose consumers need their own, swapped memory before they read."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from testbed.load import Bytes, Count, Flag
from testbed.loads import LoadContext, OneProcess, agent


class Service(OneProcess):
    """UDP on `sockets` ports from `port` on, TCP on `tcp_port` (0: none); `consumers` threads read.

    The receive buffers together must hold more than all memory: a full socket drops, the packet is
    freed, and receive lives on. Each consumer touches its share of `memory` before it reads, so
    with swap gone the queues fill. With `reads = false` nobody ever reads: what has come stays.
    """

    kind: ClassVar[str] = "service"
    page_kind: ClassVar[str] = "service"

    port: Count = Field(default=7000, ge=1, le=65535)
    sockets: Count = Field(default=64, ge=1, le=1024)
    rcvbuf: Bytes = Field(default=8 << 20, le=1 << 30)
    memory: Bytes = 8 << 20
    consumers: Count = Field(default=4, ge=1, le=64)
    tcp_port: Count = Field(default=0, ge=0, le=65535)
    reads: Flag = True

    def argv(self, slot: int, context: LoadContext) -> list[str]:
        options: dict[str, object] = {"port": self.port, "sockets": self.sockets, "rcvbuf": self.rcvbuf}
        options |= {"memory": self.memory, "consumers": self.consumers}
        if self.tcp_port:
            options["tcp-port"] = self.tcp_port
        if not self.reads:
            options["unread"] = 1
        return agent("service", slot, options)
