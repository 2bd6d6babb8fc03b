"""Owns NBD from A to A: a server in userspace on a disk of A's own, the kernel's client beside it."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from testbed.load import Count, Flag
from testbed.transports import Ends, Guest, await_listener, await_socket, make_file_system, obeyed, size_of
from testbed.transports.local import LocalDaemon
from testbed.transports.nbd import CONFIG, EXPORT, NO_DH, SPARE_BYTES, STORE, check_direct

SOCKET = "/run/local-nbd.sock"
OVERCOMMIT = "/proc/sys/vm/overcommit_memory"


class LocalNbd(LocalDaemon):
    """A swaps (or, with `swap = false`, has a bare device) through a server on itself.

    Over a `"unix"` socket, or over TCP on the loopback. The server writes through its page cache to the disk,
    or with `backing = "file"` to a file of an ext4 on it; qemu-nbd may open it `direct`, and then needs no
    page cache. nbd-server forks for its client; nbdkit has `threads`. Of nbdkit's own `--swap` only the
    purpose is used: it would fill all its threads' stacks at once, 8 MiB each. Nor can it be locked in memory
    `"filled"`: 192 MiB of it (1.32) are zeroes that it mostly never touches.
    """

    kind: ClassVar[str] = "local-nbd"
    device: ClassVar[str] = "nbd0"
    least_disk_bytes: ClassVar[int] = 2 * SPARE_BYTES
    client_options: ClassVar[tuple[str, ...]] = ("CONFIG_BLK_DEV_NBD",)

    program: Literal["nbd-server", "nbdkit", "qemu-nbd"] = "nbd-server"
    direct: Flag = False
    socket: Literal["unix", "tcp"] = "unix"
    backing: Literal["disk", "file"] = "disk"
    threads: Count = Field(default=4, ge=1, le=16)

    @model_validator(mode="after")
    def _can_be_direct(self) -> Self:
        check_direct(self.program, direct=self.direct)
        if self.program == "nbdkit" and self.mlockall == "filled":
            raise ValueError(
                'nbdkit has 192 MiB that it never touches: set mlockall = "on-fault", or another program'
            )
        return self

    @property
    def ports(self) -> tuple[int, ...]:
        return (self.port,) if self.socket == "tcp" else ()

    @property
    def spare_bytes(self) -> int:
        return SPARE_BYTES if self.backing == "file" else 0

    def serve(self, server: Guest, ends: Ends) -> None:
        if self.backing == "file":
            make_file_system(server, self.disk, STORE, ends)
            size = str(size_of(self.disk, ends) - SPARE_BYTES)
            server.run(["fallocate", "-l", size, self._path], timeout_s=ends.command_s)
        if self.program == "nbd-server":
            server.put(CONFIG, self._config(ends).encode())
            argv = ["nbd-server", "-C", CONFIG, "-p", "/run/nbd-server.pid"]
            self.start(server, argv, ends, preload=NO_DH)
        elif self.program == "qemu-nbd":
            self.start(server, self._qemu_nbd(ends), ends)
        else:
            # More than the machine has, which 6.1 mm/util.c __vm_enough_memory() refuses by default. Whatever
            # the topology set is so again after that, for all that the cell is about.
            before = server.run(["cat", OVERCOMMIT], timeout_s=ends.command_s).stdout.strip()
            obeyed(server, (f"word {OVERCOMMIT} 1",), ends)
            self.start(server, self._nbdkit(ends), ends)
            obeyed(server, (f"word {OVERCOMMIT} {before}",), ends)
        if self.socket == "tcp":
            await_listener(server, self.port, ends)
        else:
            await_socket(server, SOCKET, ends)

    def attach(self, client: Guest, ends: Ends) -> None:
        where = ["-unix", SOCKET] if self.socket == "unix" else [ends.server, str(self.port)]
        words = ["-N", EXPORT, "-b", "4096", *(["-swap"] if self.swap else [])]
        client.run(["nbd-client", *where, f"/dev/{self.device}", *words], timeout_s=ends.command_s)
        self.read_back(client, self.program, ends)
        self.use(client, ends)

    @property
    def _path(self) -> str:
        return f"{STORE}/swap" if self.backing == "file" else f"/dev/testbed/{self.disk}"

    def _nbdkit(self, ends: Ends) -> list[str]:
        where = (
            [f"--unix={SOCKET}"]
            if self.socket == "unix"
            else [f"--ipaddr={ends.server}", f"--port={self.port}"]
        )
        own = ["nbdkit", "--pidfile=/run/nbdkit.pid", f"--threads={self.threads}"]
        return [*own, *where, "file", self._path]

    def _qemu_nbd(self, ends: Ends) -> list[str]:
        where = (
            [f"--socket={SOCKET}"]
            if self.socket == "unix"
            else [f"--bind={ends.server}", f"--port={self.port}"]
        )
        own = ["qemu-nbd", "--fork", "--persistent", "--format=raw", f"--export-name={EXPORT}"]
        return [*own, f"--cache={'none' if self.direct else 'writeback'}", *where, self._path]

    def _config(self, ends: Ends) -> str:
        where = f"unixsock = {SOCKET}\n" if self.socket == "unix" else f"listenaddr = {ends.server}\n"
        return f"[generic]\nport = {self.port}\n{where}[{EXPORT}]\nexportname = {self._path}\n"
