"""Owns NBD: the real nbd-server on a disk of the server, the kernel's client on A."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import ClassVar, Literal

from pydantic import Field

from testbed.load import Count, Flag
from testbed.model import Value
from testbed.transports import (
    LENT_BYTES,
    LENT_PATH,
    Ends,
    Guest,
    SwapFlow,
    await_listener,
    make_file_system,
    mount,
    size_of,
)

DEVICE = "nbd0"
EXPORT = "swap"
LENT_EXPORT = "lent"
LENT_FILE = "/run/lent"
STORE = "/srv/store"
SPARE_BYTES = 16 << 20
"""Left for the store's own file system beside the file."""
CONFIG = "/run/nbd-server.conf"
NO_DH = "/usr/lib/testbed/no-dh.so"
"""Spares the server what it does for TLS, which nobody asks for (guest/preload/no-dh.c)."""


class Nbd(Value):
    """Swap (or, with `swap = false`, a bare block device) over one NBD connection.

    No `-timeout`: with 0, its default, drivers/block/nbd.c (6.1, nbd_xmit_timeout) only reports a
    stuck request and goes on waiting. `-swap` locks nbd-client in memory; today's client hands the
    socket over by netlink and ends, so that nothing of it is left to lock. It is the kernel that marks the
    socket (sk_set_memalloc, nbd.c). The server exports its disk, or with `backing = "file"` a file on it that
    takes its room only as it is written, so that the server can run out of it. Options as in nbd-client(8)
    and nbd-server(5), version 3.24.
    """

    kind: ClassVar[str] = "nbd"

    disk: str = "swap"
    backing: Literal["disk", "file"] = "disk"
    port: Count = Field(default=10809, ge=1, le=65535)
    block_size: Literal["512B", "1KiB", "2KiB", "4KiB"] = "4KiB"
    swap: Flag = True

    @property
    def swap_flow(self) -> SwapFlow:
        return SwapFlow("tcp", self.port)

    @property
    def block_devices(self) -> tuple[str, ...]:
        return (DEVICE,)

    @property
    def request_devices(self) -> tuple[str, ...]:
        return (DEVICE,)

    @property
    def in_flight_series(self) -> str:
        return "blocksampler.in_flight_0"

    @property
    def progress_series(self) -> tuple[str, ...]:
        return ("blocksampler.writes_completed_0", "blocksampler.reads_completed_0")

    @property
    def kernel_timers_s(self) -> Mapping[str, float]:
        # ip-sysctl: the default 15 of tcp_retries2 gives a hypothetical timeout of 924.6 s, a lower bound.
        return {"TCP gives the connection up (tcp_retries2), swap ends with I/O errors": 924.6}

    @property
    def server_disk(self) -> str:
        return self.disk

    @property
    def store(self) -> str | None:
        return STORE if self.backing == "file" else None

    def serve(self, server: Guest, ends: Ends) -> None:
        if self.backing == "file":
            make_file_system(server, self.disk, STORE, ends)
            size = str(size_of(self.disk, ends) - SPARE_BYTES)
            server.run(["truncate", "-s", size, f"{STORE}/swap"], timeout_s=ends.command_s)
        self.revive(server, ends)

    def revive(self, server: Guest, ends: Ends) -> None:
        if self.backing == "file":
            mount(server, self.disk, STORE, ends)
        server.put(CONFIG, self._config(ends).encode())
        server.put(LENT_FILE, bytes(LENT_BYTES))
        preloaded = f"LD_PRELOAD={NO_DH}"
        server.run(
            ["env", preloaded, "nbd-server", "-C", CONFIG, "-p", "/run/nbd-server.pid"],
            timeout_s=ends.command_s,
        )
        await_listener(server, self.port, ends)

    def kill(self, server: Guest, ends: Ends) -> None:
        # Every client has a process of its own, of the same name.
        server.run(["killall", "-KILL", "nbd-server"], timeout_s=ends.command_s)

    def attach(self, client: Guest, ends: Ends) -> None:
        client.run(self._connect(ends, EXPORT, swap=self.swap), timeout_s=ends.command_s)
        if self.swap:
            client.run(["mkswap", f"/dev/{DEVICE}"], timeout_s=ends.command_s)
            client.run(["swapon", f"/dev/{DEVICE}"], timeout_s=ends.command_s)

    def borrow(self, client: Guest, ends: Ends) -> None:
        client.run(self._connect(ends, LENT_EXPORT, swap=False), timeout_s=ends.command_s)
        client.run(["mkdir", "-p", str(PurePosixPath(LENT_PATH).parent)], timeout_s=ends.command_s)
        client.run(["ln", "-sf", f"/dev/{DEVICE}", LENT_PATH], timeout_s=ends.command_s)

    def _config(self, ends: Ends) -> str:
        export = f"{STORE}/swap" if self.backing == "file" else f"/dev/testbed/{self.disk}"
        return (
            f"[generic]\nport = {self.port}\nlistenaddr = {ends.server}\n"
            f"[{EXPORT}]\nexportname = {export}\n"
            f"[{LENT_EXPORT}]\nexportname = {LENT_FILE}\nreadonly = true\n"
        )

    def _connect(self, ends: Ends, export: str, *, swap: bool) -> list[str]:
        size = {"512B": "512", "1KiB": "1024", "2KiB": "2048", "4KiB": "4096"}[self.block_size]
        options = ["-N", export, "-b", size] + (["-swap"] if swap else [])
        return ["nbd-client", ends.server, str(self.port), f"/dev/{DEVICE}", *options]
