"""Owns NBD: a real server on a disk of the server, the kernel's client on A."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from testbed.errors import TestbedFault, UsageError
from testbed.load import Count, Flag
from testbed.transports import (
    LENT_BYTES,
    LENT_FILE,
    TCP_GIVES_UP_S,
    Ends,
    Guest,
    await_listener,
    lend_at,
    make_file_system,
    mount,
    size_of,
)
from testbed.transports.devices import OneDevice

EXPORT = "swap"
LENT_EXPORT = "lent"
STORE = "/srv/store"
SPARE_BYTES = 16 << 20
"""Left for the store's own file system beside the file."""
CONFIG = "/run/nbd-server.conf"
PID_FILE = "/run/qemu-nbd-{}.pid"
O_DIRECT = 0o40000
"""include/uapi/asm-generic/fcntl.h, as /proc/PID/fdinfo tells flags: in octal."""
NO_DH = "/usr/lib/testbed/no-dh.so"
"""Spares the server what it does for TLS, which nobody asks for (guest/preload/no-dh.c)."""


def check_direct(program: str, *, direct: bool) -> None:
    """Raises ValueError where O_DIRECT is asked of a server that has none."""
    if direct and program != "qemu-nbd":
        raise ValueError(f'{program} has no O_DIRECT: set program = "qemu-nbd" beside direct = true')


def exports(address: str, port: int, path: str) -> str:
    """What nbd-server is told: `path` is served, and beside it what is lent."""
    return (
        f"[generic]\nport = {port}\nlistenaddr = {address}\n"
        f"[{EXPORT}]\nexportname = {path}\n"
        f"[{LENT_EXPORT}]\nexportname = {LENT_FILE}\nreadonly = true\n"
    )


def ports_of(program: str, port: int) -> tuple[int, ...]:
    """That of what is swapped to first, that of what is lent last: nbd-server has one for both."""
    return (port,) if program == "nbd-server" else (port, port + 1)


def qemu_nbds(
    address: str, ports: tuple[int, ...], path: str, *, direct: bool, shared: int = 1
) -> Iterator[list[str]]:
    """The processes that serve `path` at an address and the first of the ports, and at the last what is lent.

    That lies in memory, which knows no O_DIRECT.
    """
    for export, at, what, how in (
        (EXPORT, ports[0], path, "none" if direct else "writeback"),
        (LENT_EXPORT, ports[-1], LENT_FILE, "writeback"),
    ):
        yield [
            *("qemu-nbd", "--fork", "--persistent", f"--shared={shared}", "--format=raw"),
            *(f"--cache={how}", f"--pid-file={PID_FILE.format(export)}"),
            *(f"--bind={address}", f"--port={at}", f"--export-name={export}", what),
        ]


def check_opened_directly(server: Guest, ends: Ends) -> None:
    """Raises TestbedFault unless qemu-nbd has something open with O_DIRECT; only what it exports is."""
    pid = server.run(["cat", PID_FILE.format(EXPORT)], timeout_s=ends.command_s).stdout.strip()
    opened = server.run(["grep", "-rhs", "^flags:", f"/proc/{pid}/fdinfo"], timeout_s=ends.command_s)
    flags = (int(word, 8) for word in opened.stdout.split() if word.isdigit())
    if not any(each & O_DIRECT for each in flags):
        raise TestbedFault(f"qemu-nbd ({pid}) has nothing open with O_DIRECT")


class Nbd(OneDevice):
    """Swap (or, with `swap = false`, a bare block device) over NBD.

    No `-timeout`: with 0, its default, drivers/block/nbd.c (6.1, nbd_xmit_timeout) only reports a
    stuck request and goes on waiting. `-swap` locks nbd-client in memory; today's client hands the
    socket over by netlink and ends, so that nothing of it is left to lock. It is the kernel that marks the
    socket (sk_set_memalloc, nbd.c). The server exports its disk, or with `backing = "file"` a file on it that
    takes its room only as it is written, so that the server can run out of it. Options as in nbd-client(8)
    and nbd-server(5), version 3.24.

    `program` is what serves: nbd-server forks for each client, qemu-nbd and nbdkit are one process with
    threads, and take a second one for what is lent. `direct` opens the disk with O_DIRECT, so that a
    write needs no memory of the server's page cache; only qemu-nbd can. With more `connections` requests
    go by the CPU that makes them (nbd.c, nbd_start_device: one hardware queue for each).
    """

    kind: ClassVar[str] = "nbd"
    device: ClassVar[str] = "nbd0"
    client_options: ClassVar[tuple[str, ...]] = ("CONFIG_BLK_DEV_NBD",)

    program: Literal["nbd-server", "qemu-nbd", "nbdkit"] = "nbd-server"
    direct: Flag = False
    connections: Count = Field(default=1, ge=1, le=8)
    backing: Literal["disk", "file"] = "disk"
    port: Count = Field(default=10809, ge=1, le=65534)
    block_size: Literal["512B", "1KiB", "2KiB", "4KiB"] = "4KiB"

    @model_validator(mode="after")
    def _can_be_direct(self) -> Self:
        check_direct(self.program, direct=self.direct)
        return self

    @property
    def device_ends_s(self) -> float:
        return TCP_GIVES_UP_S

    @property
    def kernel_timers_s(self) -> Mapping[str, float]:
        return {"TCP gives the connection up (tcp_retries2), swap ends with I/O errors": TCP_GIVES_UP_S}

    @property
    def ports(self) -> tuple[int, ...]:
        return ports_of(self.program, self.port)

    @property
    def spare_bytes(self) -> int:
        return SPARE_BYTES if self.backing == "file" else 0

    @property
    def store(self) -> str | None:
        return STORE if self.backing == "file" else None

    def serve(self, server: Guest, ends: Ends) -> None:
        if self.backing == "file":
            make_file_system(server, self.disk, STORE, ends)
            size = str(size_of(self.disk, ends) - SPARE_BYTES)
            server.run(["truncate", "-s", size, self._path], timeout_s=ends.command_s)
        self.revive(server, ends)

    def revive(self, server: Guest, ends: Ends) -> None:
        if self.backing == "file":
            mount(server, self.disk, STORE, ends)
        server.put(LENT_FILE, bytes(LENT_BYTES))
        if self.program == "nbd-server":
            server.put(CONFIG, exports(ends.server, self.port, self._path).encode())
        for argv in self._servers(ends):
            server.run(argv, timeout_s=ends.command_s)
        for port in self.ports:
            await_listener(server, port, ends)
        if self.direct:
            check_opened_directly(server, ends)

    def kill(self, server: Guest, ends: Ends) -> None:
        # Every client of nbd-server has a process of its own, of the same name.
        server.run(["killall", "-KILL", self.program], timeout_s=ends.command_s)

    def attach(self, client: Guest, ends: Ends) -> None:
        options = ["-C", str(self.connections)] if self.connections > 1 else []
        options += ["-swap"] if self.swap else []
        client.run(self._connect(ends, self.port, EXPORT, *options), timeout_s=ends.command_s)
        if self.connections > 1:
            self._check_connections(client, ends)
        self.use(client, ends)

    def borrow(self, client: Guest, ends: Ends) -> None:
        client.run(self._connect(ends, self.ports[-1], LENT_EXPORT), timeout_s=ends.command_s)
        lend_at(client, f"/dev/{self.device}", ends)

    def _check_connections(self, client: Guest, ends: Ends) -> None:
        """Raises UsageError unless the device has a hardware queue for each (nbd.c, nbd_start_device).

        It has no more of them than there are CPUs (block/blk-mq.c, __blk_mq_update_nr_hw_queues).
        """
        queues = client.run(["ls", f"/sys/block/{self.device}/mq"], timeout_s=ends.command_s).stdout.split()
        if len(queues) != self.connections:
            raise UsageError(
                f"{self.device} has {len(queues)} queues for {self.connections} connections",
                hint="a connection without a queue is idle: give the client as many 'vcpus'",
            )

    def _servers(self, ends: Ends) -> Iterator[list[str]]:
        """What is to be started on the server."""
        if self.program == "nbd-server":
            preloaded = f"LD_PRELOAD={NO_DH}"
            yield ["env", preloaded, "nbd-server", "-C", CONFIG, "-p", "/run/nbd-server.pid"]
            return
        if self.program == "qemu-nbd":
            shared = self.connections
            yield from qemu_nbds(ends.server, self.ports, self._path, direct=self.direct, shared=shared)
            return
        yield self._nbdkit(ends, self.port, EXPORT, self._path)
        yield self._nbdkit(ends, self.ports[-1], LENT_EXPORT, LENT_FILE)

    def _nbdkit(self, ends: Ends, port: int, export: str, path: str) -> list[str]:
        """It serves its file by whatever name it is asked for."""
        return [
            *("nbdkit", f"--pidfile=/run/nbdkit-{export}.pid", f"--ipaddr={ends.server}", f"--port={port}"),
            *("file", path),
        ]

    @property
    def _path(self) -> str:
        return f"{STORE}/swap" if self.backing == "file" else f"/dev/testbed/{self.disk}"

    def _connect(self, ends: Ends, port: int, export: str, *options: str) -> list[str]:
        size = {"512B": "512", "1KiB": "1024", "2KiB": "2048", "4KiB": "4096"}[self.block_size]
        device = f"/dev/{self.device}"
        return ["nbd-client", ends.server, str(port), device, "-N", export, "-b", size, *options]
