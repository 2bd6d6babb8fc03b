"""Owns what is said of frames on a link: a flow between two taps, what was counted, what holds them up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

USUAL_MTU = 1500
SHORT_QUEUE_FRAMES = 32
"""Of a tap. Its default of 1000 frames would hold what a guest does not read, and replay it after a heal."""
USUAL_QUEUE_FRAMES = 256
"""What a NIC's own ring holds (e1000e's default, 6.1)."""
INTERFACE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,14}")
LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")


@dataclass(frozen=True, slots=True)
class Flow:
    """Frames that enter the bridge at tap `source` and leave it at tap `destination`.

    With `protocol` ("tcp" or "udp") only those over IPv4, with a port only that port's; a port of
    0 means any. Raises ValueError on a name or number that can not be one.
    """

    source: str
    destination: str
    protocol: str = ""
    source_port: int = 0
    destination_port: int = 0

    def __post_init__(self) -> None:
        for tap in (self.source, self.destination):
            if not INTERFACE.fullmatch(tap):
                raise ValueError(f"'{tap}' is no interface name")
        if self.protocol not in ("", "tcp", "udp"):
            raise ValueError(f"'{self.protocol}' is neither tcp nor udp")
        for port in (self.source_port, self.destination_port):
            if not 0 <= port < 1 << 16:
                raise ValueError(f"{port} is no port")
            if port and not self.protocol:
                raise ValueError("a port without a protocol")

    @property
    def back(self) -> Flow:
        """The same conversation in the other direction."""
        return Flow(self.destination, self.source, self.protocol, self.destination_port, self.source_port)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Flow:
        return cls(**value)


@dataclass(frozen=True, slots=True)
class Count:
    """Frames and their bytes (as nftables counts them: from the IP header on)."""

    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Queue:
    """What holds up all that goes to a machine; 0 is what does not."""

    bits_per_s: int = 0
    delay_s: float = 0.0
