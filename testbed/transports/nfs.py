"""Owns NFSv3: a swap file on an export of the server, over TCP."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import ClassVar

from pydantic import Field

from testbed.load import Count, Seconds
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

EXPORT = "/srv/swap"
MOUNT = "/run/swap"
LENT_MOUNT = "/run/lent"
PORT = 2049
SPARE_BYTES = 16 << 20
"""Left for the export's own file system beside the swap file."""


class Nfs3(Value):
    """Swap to a file over NFSv3, mounted hard: it never gives up (nfs(5), swap since Linux 3.6).

    `timeo` is how long a request waits for its answer, `retrans` how often it is sent again before
    the kernel says that the server does not respond. The file is allocated on the server: one with
    holes is refused (fs/nfs/file.c, nfs_swap_activate).
    """

    kind: ClassVar[str] = "nfs3"

    disk: str = "swap"
    timeo: Seconds = Field(default=60.0, ge=0.1, le=600)
    retrans: Count = Field(default=2, ge=0, le=100)

    @property
    def swap_flow(self) -> SwapFlow:
        return SwapFlow("tcp", PORT)

    @property
    def block_devices(self) -> tuple[str, ...]:
        return ()

    @property
    def request_devices(self) -> tuple[str, ...]:
        return ("nfs",)

    @property
    def in_flight_series(self) -> str:
        return "vmsampler.rpc_in_flight"

    @property
    def progress_series(self) -> tuple[str, ...]:
        return ("vmsampler.rpc_receives",)

    @property
    def kernel_timers_s(self) -> Mapping[str, float]:
        # net/sunrpc/xprtsock.c (6.1): user timeout of the socket is timeo * (retrans + 1).
        replaced = "sunrpc's TCP user timeout replaces the connection"
        return {replaced: self.timeo * (self.retrans + 1)}

    @property
    def server_disk(self) -> str:
        return self.disk

    @property
    def store(self) -> str | None:
        return None

    def serve(self, server: Guest, ends: Ends) -> None:
        size = size_of(self.disk, ends) - SPARE_BYTES
        make_file_system(server, self.disk, EXPORT, ends)
        for argv in (
            ["fallocate", "-l", str(size), f"{EXPORT}/file"],
            ["chmod", "600", f"{EXPORT}/file"],
            ["fallocate", "-l", str(LENT_BYTES), f"{EXPORT}/lent"],
        ):
            server.run(argv, timeout_s=ends.command_s)
        self._export(server, ends)

    def kill(self, server: Guest, ends: Ends) -> None:
        # No process serves that could be killed: the kernel's threads are told to end, and do so at once.
        server.run(["rpc.nfsd", "0"], timeout_s=ends.command_s)

    def revive(self, server: Guest, ends: Ends) -> None:
        mount(server, self.disk, EXPORT, ends)
        self._export(server, ends)

    def _export(self, server: Guest, ends: Ends) -> None:
        server.run(["/usr/lib/testbed/nfs-serve", EXPORT, ends.clients], timeout_s=ends.command_s)
        await_listener(server, PORT, ends)

    def attach(self, client: Guest, ends: Ends) -> None:
        self._mount(client, ends, MOUNT)
        for argv in (
            ["mkswap", f"{MOUNT}/file"],
            ["swapon", f"{MOUNT}/file"],
        ):
            client.run(argv, timeout_s=ends.command_s)

    def borrow(self, client: Guest, ends: Ends) -> None:
        self._mount(client, ends, LENT_MOUNT)
        client.run(["mkdir", "-p", str(PurePosixPath(LENT_PATH).parent)], timeout_s=ends.command_s)
        client.run(["ln", "-sf", f"{LENT_MOUNT}/lent", LENT_PATH], timeout_s=ends.command_s)

    def _mount(self, client: Guest, ends: Ends, where: str) -> None:
        decisecond = str(round(self.timeo * 10))
        options = f"vers=3,proto=tcp,mountproto=tcp,nolock,hard,timeo={decisecond},retrans={self.retrans}"
        client.run(["mkdir", "-p", where], timeout_s=ends.command_s)
        argv = ["mount", "-t", "nfs", "-o", options, f"{ends.server}:{EXPORT}", where]
        client.run(argv, timeout_s=ends.command_s)
