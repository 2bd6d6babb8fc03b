"""Owns NBD both ways: each of two machines serves a disk to the other, and is a client of the other's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from testbed.load import Count, Flag
from testbed.transports import (
    LENT_BYTES,
    LENT_FILE,
    TCP_GIVES_UP_S,
    Ends,
    Guest,
    await_listener,
    lend_at,
)
from testbed.transports.daemons import Daemon
from testbed.transports.nbd import (
    CONFIG,
    EXPORT,
    LENT_EXPORT,
    NO_DH,
    check_direct,
    check_opened_directly,
    exports,
    ports_of,
    qemu_nbds,
)


class NbdCrossed(Daemon):
    """The client has a device on the server's `disk`, and the server one on the client's disk `back`.

    M. Snitzer's two servers (linux-mm, 2007-09-14): each mirrors a disk of its own to one of the other's.
    Both devices have one name and are bare, each for a load on its machine; requests and flow that are
    counted are the client's. What is set for the daemon is set on both machines, as are `program` and
    `direct`: qemu-nbd may open its disk with O_DIRECT, and then dirties no page cache of its machine.
    """

    kind: ClassVar[str] = "nbd-crossed"
    device: ClassVar[str] = "nbd0"
    client_options: ClassVar[tuple[str, ...]] = ("CONFIG_BLK_DEV_NBD",)
    server_options: ClassVar[tuple[str, ...]] = ("CONFIG_BLK_DEV_NBD",)

    program: Literal["nbd-server", "qemu-nbd"] = "nbd-server"
    direct: Flag = False
    back: str = "served"
    port: Count = Field(default=10809, ge=1, le=65534)
    swap: Flag = False

    @model_validator(mode="after")
    def _can_be_direct(self) -> Self:
        check_direct(self.program, direct=self.direct)
        return self

    @property
    def device_ends_s(self) -> float:
        return TCP_GIVES_UP_S

    @property
    def kernel_timers_s(self) -> Mapping[str, float]:
        return {"TCP gives the connection up (tcp_retries2), requests end with I/O errors": TCP_GIVES_UP_S}

    @property
    def ports(self) -> tuple[int, ...]:
        return ports_of(self.program, self.port)

    @property
    def client_disk(self) -> str:
        return self.back

    def serve(self, server: Guest, ends: Ends) -> None:
        self._serve(server, ends.server, self.disk, ends)

    def attach(self, client: Guest, ends: Ends) -> None:
        client.run(self._connect(ends.server, EXPORT, self.port), timeout_s=ends.command_s)
        self.use(client, ends)

    def serve_back(self, client: Guest, ends: Ends) -> None:
        self._serve(client, ends.client, self.back, ends)

    def attach_back(self, server: Guest, client: Guest, ends: Ends) -> None:
        server.run(self._connect(ends.client, EXPORT, self.port), timeout_s=ends.command_s)
        # nbd-server forks for its client, and a child inherits no locks (6.1, kernel/fork.c, dup_mmap).
        for machine in (server, client):
            self.read_back(machine, self.program, ends)

    def borrow(self, client: Guest, ends: Ends) -> None:
        client.run(self._connect(ends.server, LENT_EXPORT, self.ports[-1]), timeout_s=ends.command_s)
        lend_at(client, f"/dev/{self.device}", ends)

    def _serve(self, machine: Guest, address: str, disk: str, ends: Ends) -> None:
        machine.put(LENT_FILE, bytes(LENT_BYTES))
        path = f"/dev/testbed/{disk}"
        if self.program == "qemu-nbd":
            for argv in qemu_nbds(address, self.ports, path, direct=self.direct):
                self.start(machine, argv, ends)
        else:
            machine.put(CONFIG, exports(address, self.port, path).encode())
            argv = ["nbd-server", "-C", CONFIG, "-p", "/run/nbd-server.pid"]
            self.start(machine, argv, ends, preload=NO_DH)
        for port in self.ports:
            await_listener(machine, port, ends)
        if self.direct:
            check_opened_directly(machine, ends)

    def _connect(self, address: str, export: str, port: int) -> list[str]:
        return ["nbd-client", address, str(port), f"/dev/{self.device}", "-N", export, "-b", "4096"]
