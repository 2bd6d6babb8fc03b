"""Owns NBD: the real nbd-server on a disk of the server, the kernel's client on A."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from testbed.load import Count
from testbed.transports import (
    LENT_BYTES,
    TCP_GIVES_UP_S,
    Ends,
    Guest,
    OneDevice,
    SwapFlow,
    await_listener,
    lend_at,
    swap_to,
)

EXPORT = "swap"
LENT_EXPORT = "lent"
LENT_FILE = "/run/lent"
CONFIG = "/run/nbd-server.conf"
NO_DH = "/usr/lib/testbed/no-dh.so"
"""Spares the server what it does for TLS, which nobody asks for (guest/preload/no-dh.c)."""


class Nbd(OneDevice):
    """Swap (or, with `swap = false`, a bare block device) over one NBD connection.

    No `-timeout`: with 0, its default, drivers/block/nbd.c (6.1, nbd_xmit_timeout) only reports a
    stuck request and goes on waiting. `-swap` locks nbd-client in memory; today's client hands the
    socket over by netlink and ends, so that nothing of it is left to lock. It is the kernel that marks the
    socket (sk_set_memalloc, nbd.c). Options as in nbd-client(8) and nbd-server(5), version 3.24.
    """

    kind: ClassVar[str] = "nbd"
    device: ClassVar[str] = "nbd0"

    port: Count = Field(default=10809, ge=1, le=65535)
    block_size: Literal["512B", "1KiB", "2KiB", "4KiB"] = "4KiB"

    @property
    def swap_flow(self) -> SwapFlow:
        return SwapFlow("tcp", self.port)

    @property
    def kernel_timers_s(self) -> Mapping[str, float]:
        return {"TCP gives the connection up (tcp_retries2), swap ends with I/O errors": TCP_GIVES_UP_S}

    def serve(self, server: Guest, ends: Ends) -> None:
        server.put(CONFIG, self._config(ends).encode())
        server.put(LENT_FILE, bytes(LENT_BYTES))
        preloaded = f"LD_PRELOAD={NO_DH}"
        server.run(
            ["env", preloaded, "nbd-server", "-C", CONFIG, "-p", "/run/nbd-server.pid"],
            timeout_s=ends.command_s,
        )
        await_listener(server, self.port, ends)

    def attach(self, client: Guest, ends: Ends) -> None:
        client.run(self._connect(ends, EXPORT, swap=self.swap), timeout_s=ends.command_s)
        if self.swap:
            swap_to(client, f"/dev/{self.device}", ends)

    def borrow(self, client: Guest, ends: Ends) -> None:
        client.run(self._connect(ends, LENT_EXPORT, swap=False), timeout_s=ends.command_s)
        lend_at(client, f"/dev/{self.device}", ends)

    def _config(self, ends: Ends) -> str:
        return (
            f"[generic]\nport = {self.port}\nlistenaddr = {ends.server}\n"
            f"[{EXPORT}]\nexportname = /dev/testbed/{self.disk}\n"
            f"[{LENT_EXPORT}]\nexportname = {LENT_FILE}\nreadonly = true\n"
        )

    def _connect(self, ends: Ends, export: str, *, swap: bool) -> list[str]:
        size = {"512B": "512", "1KiB": "1024", "2KiB": "2048", "4KiB": "4096"}[self.block_size]
        options = ["-N", export, "-b", size] + (["-swap"] if swap else [])
        return ["nbd-client", ends.server, str(self.port), f"/dev/{self.device}", *options]
