"""Owns FUSE on A: a file server in userspace, and a loop device on a file of it."""

from __future__ import annotations

from typing import ClassVar

from testbed.load import Flag
from testbed.transports import Ends, Guest, make_file_system, size_of
from testbed.transports.local import LocalDaemon
from testbed.transports.nbd import SPARE_BYTES, STORE

MOUNT = "/run/fuse"


class LocalFuse(LocalDaemon):
    """A swaps (or, with `swap = false`, has a bare device) to a loop device, whose file is bindfs's, by FUSE.

    bindfs shows a folder of an ext4 on A's disk. What is written passes two page caches: that of the FUSE
    file, which writes through, and ext4's. With `direct` the loop device opens its file with O_DIRECT, and
    the first of the two is passed by.
    """

    kind: ClassVar[str] = "local-fuse"
    device: ClassVar[str] = "loop0"
    least_disk_bytes: ClassVar[int] = 2 * SPARE_BYTES
    client_options: ClassVar[tuple[str, ...]] = ("CONFIG_BLK_DEV_LOOP", "CONFIG_FUSE_FS")

    direct: Flag = False

    @property
    def spare_bytes(self) -> int:
        return SPARE_BYTES

    def serve(self, server: Guest, ends: Ends) -> None:
        make_file_system(server, self.disk, STORE, ends)
        size = str(size_of(self.disk, ends) - SPARE_BYTES)
        server.run(["fallocate", "-l", size, f"{STORE}/swap"], timeout_s=ends.command_s)
        server.run(["mkdir", "-p", MOUNT], timeout_s=ends.command_s)
        self.start(server, ["bindfs", STORE, MOUNT], ends)

    def attach(self, client: Guest, ends: Ends) -> None:
        direct = "on" if self.direct else "off"
        argv = ["losetup", f"--direct-io={direct}", f"/dev/{self.device}", f"{MOUNT}/swap"]
        client.run(argv, timeout_s=ends.command_s)
        self.read_back(client, "bindfs", ends)
        self.use(client, ends)
