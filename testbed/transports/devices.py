"""Owns what transports have in common that bring a block device, or are served by a target in the kernel."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Self

from pydantic import Field, model_validator

from testbed.errors import TestbedFault
from testbed.load import Bytes, Count, Flag
from testbed.model import Value
from testbed.transports import (
    LENT_BYTES,
    LENT_FILE,
    Ends,
    Guest,
    SwapFlow,
    await_device,
    await_listener,
    obeyed,
    swap_to,
)
from testbed.transports.stacks import Layer, stacked, swap_file


class OneDevice(Value):
    """What transports have in common that bring the client one block device; a transport need not be one.

    With `swap = false` it is left bare, for a load to use. `stack` are layers between it and the swap, the
    lowest first: `"dm"` (a linear volume, as LVM's), `"loop"`, `"raid1"` with the client's disk `mirror`, and
    last `"ext4"`, with the swap in a file; without swap that is a file system for a load, at stacks.FOLDER.

    `max_request` is the most that one request has, whole KiB; None for what the driver takes.
    """

    device: ClassVar[str]
    least_disk_bytes: ClassVar[int] = 1 << 20
    client_options: ClassVar[tuple[str, ...]] = ()
    server_options: ClassVar[tuple[str, ...]] = ()

    disk: str = "swap"
    port: Count
    swap: Flag = True
    stack: tuple[Layer, ...] = ()
    mirror: str | None = None
    max_request: Bytes | None = Field(default=None, ge=4096, le=64 << 20, multiple_of=1024)

    @model_validator(mode="after")
    def _can_be_stacked(self) -> Self:
        if len(set(self.stack)) != len(self.stack):
            raise ValueError("no layer of 'stack' may be there twice")
        if "ext4" in self.stack[:-1]:
            raise ValueError("nothing of 'stack' lies on \"ext4\": it must be the last")
        if (self.mirror is not None) != ("raid1" in self.stack):
            raise ValueError("'mirror' names the client's disk for \"raid1\" in 'stack': one needs the other")
        if self.stack and not self.swap and self.stack[-1] != "ext4":
            raise ValueError(
                "a bare device is a load's, which puts its own on it: 'stack' is for swap or ext4"
            )
        return self

    @property
    def swap_flow(self) -> SwapFlow | None:
        return SwapFlow("tcp", self.port)

    @property
    def ports(self) -> tuple[int, ...]:
        return (self.port,)

    @property
    def spare_bytes(self) -> int:
        return 0

    @property
    def block_devices(self) -> tuple[str, ...]:
        return (self.device,)

    @property
    def request_devices(self) -> tuple[str, ...]:
        return (self.device,)

    @property
    def in_flight_series(self) -> str:
        return "blocksampler.in_flight_0"

    @property
    def progress_series(self) -> tuple[str, ...]:
        return ("blocksampler.writes_completed_0", "blocksampler.reads_completed_0")

    @property
    def server_disk(self) -> str:
        return self.disk

    @property
    def store(self) -> str | None:
        return None

    def take(self, client: Guest, ends: Ends) -> None:
        """Waits for the device, whose driver may look for it in its own time, and uses it."""
        await_device(client, self.device, ends)
        self.use(client, ends)

    def use(self, client: Guest, ends: Ends) -> None:
        """Puts the stack on the device, and swaps to it."""
        if self.max_request is not None:
            _bound_requests(client, self.device, self.max_request, ends)
        top = stacked(client, self.device, self.stack, self.mirror, ends)
        if self.swap:
            swap_to(client, swap_file(client, top, ends), ends)


def _bound_requests(client: Guest, device: str, most_bytes: int, ends: Ends) -> None:
    """Raises TestbedFault where the driver takes less: its own bound holds then, and nothing is refused
    (6.12, block/blk-settings.c, blk_validate_limits)."""
    path = f"/sys/block/{device}/queue/max_sectors_kb"
    obeyed(client, (f"word {path} {most_bytes >> 10}",), ends)
    found = client.run(["cat", path], timeout_s=ends.command_s).stdout.strip()
    if found != str(most_bytes >> 10):
        asked = most_bytes >> 10
        raise TestbedFault(
            f"{device} takes requests of {found} KiB at most, not of {asked}: give less as max_request"
        )


class KernelTarget(OneDevice):
    """What transports have in common whose server is a target in the kernel, set up by configfs.

    It is ended by closing its port, which takes the connections with it; what is behind the port outlasts
    that, but no boot.
    """

    place: ClassVar[str]
    """The folder of configfs that is there as long as the target is."""

    def serve(self, server: Guest, ends: Ends) -> None:
        server.put(LENT_FILE, bytes(LENT_BYTES))
        obeyed(server, (*self.target(ends), *self.opened(ends)), ends)
        await_listener(server, self.port, ends)

    def kill(self, server: Guest, ends: Ends) -> None:
        obeyed(server, tuple(self.closed(ends)), ends)

    def revive(self, server: Guest, ends: Ends) -> None:
        if server.run(["test", "-d", self.place], timeout_s=ends.command_s, check=False).status != 0:
            self.serve(server, ends)
            return
        obeyed(server, tuple(self.opened(ends)), ends)
        await_listener(server, self.port, ends)

    @abstractmethod
    def target(self, ends: Ends) -> Iterator[str]:
        """The lines for guest/kernel-conf that make it: the swap's disk, and LENT_FILE for a second one."""

    @abstractmethod
    def opened(self, ends: Ends) -> Iterator[str]:
        """The lines that let clients in."""

    @abstractmethod
    def closed(self, ends: Ends) -> Iterator[str]:
        """The lines that throw them out, and keep them out."""
