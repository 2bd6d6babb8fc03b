"""Owns ublk on A: a block device whose requests a process of A's own answers, over io_uring (since 6.0)."""

from __future__ import annotations

from typing import ClassVar, Literal

from testbed.load import Flag
from testbed.transports import Ends, Guest, make_file_system, size_of
from testbed.transports.local import LocalDaemon
from testbed.transports.nbd import SPARE_BYTES, STORE

AGENT = "/usr/lib/testbed/agent"
PROGRAM = "ublk"
CALLED = f"/run/{PROGRAM}"
"""By this the agent knows which of its programs is meant, and the process is known by it."""


class LocalUblk(LocalDaemon):
    """A swaps (or, with `swap = false`, has a bare device) through a server of ublk (testbed/guest/ublk.c).

    It has one queue of 16 requests of up to 64 KiB, and answers one at a time. It writes through its page
    cache to the disk, or with `backing = "file"` to a file of an ext4 on it; with `direct` past that. For a
    write the kernel copies the pages into the server's memory, in the server's own context, and tries again
    every 3 ms where it can get none of that (6.1, drivers/block/ublk_drv.c, __ublk_rq_task_work).
    """

    kind: ClassVar[str] = "local-ublk"
    device: ClassVar[str] = "ublkb0"
    library: ClassVar[str] = ""
    least_disk_bytes: ClassVar[int] = 2 * SPARE_BYTES
    client_options: ClassVar[tuple[str, ...]] = ("CONFIG_BLK_DEV_UBLK",)

    direct: Flag = False
    backing: Literal["disk", "file"] = "disk"

    @property
    def spare_bytes(self) -> int:
        return SPARE_BYTES if self.backing == "file" else 0

    def serve(self, server: Guest, ends: Ends) -> None:
        path = f"/dev/testbed/{self.disk}"
        if self.backing == "file":
            make_file_system(server, self.disk, STORE, ends)
            path, size = f"{STORE}/swap", str(size_of(self.disk, ends) - SPARE_BYTES)
            server.run(["fallocate", "-l", size, path], timeout_s=ends.command_s)
        server.run(["ln", "-sf", AGENT, CALLED], timeout_s=ends.command_s)
        self.start(server, [CALLED, "--file", path, *(["--direct"] if self.direct else [])], ends)

    def attach(self, client: Guest, ends: Ends) -> None:
        self.read_back(client, PROGRAM, ends)
        self.take(client, ends)
