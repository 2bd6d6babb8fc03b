"""Owns NVMe over TCP: the kernel's target on a disk of the server, the kernel's host on A."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from pydantic import Field

from testbed.load import Count, Seconds
from testbed.transports import (
    LENT_FILE,
    TCP_GIVES_UP_S,
    Ends,
    Guest,
    await_device,
    lend_at,
    obeyed,
)
from testbed.transports.devices import KernelTarget

TARGET = "/sys/kernel/config/nvmet"
PORT = f"{TARGET}/ports/1"
SUBSYSTEM = "nqn.2026-11.testbed:swap"
LENT_SUBSYSTEM = "nqn.2026-11.testbed:lent"
DISKS = {
    SUBSYSTEM: "ce5b1b7e-3f0b-4a52-8d1e-7a1d3f5c0a01",
    LENT_SUBSYSTEM: "ce5b1b7e-3f0b-4a52-8d1e-7a1d3f5c0a02",
}
"""The disks' own ids: by itself a target that was made anew, as after a boot, says that they are others."""
FABRICS = "/dev/nvme-fabrics"
IO_TIMEOUT = "/sys/module/nvme_core/parameters/io_timeout"


class NvmeTcp(KernelTarget):
    """Swap over NVMe/TCP, without nvme-cli: the target by configfs, the host by its fabrics device.

    A request that is older than `io_timeout`, or a keep-alive command that has no answer after
    `keep_alive`, makes the host drop its connections (drivers/nvme/host/tcp.c 6.1, nvme_tcp_timeout,
    nvme_tcp_error_recovery) and connect anew each `reconnect_delay`; what was in flight is kept and sent
    again, five times at the most (host/core.c, nvme_decide_disposition, nvme_max_retries). The target drops
    a host that it has not heard for `keep_alive` (target/core.c, nvmet_keep_alive_timer). Its default
    of 5 s (host/nvme.h, NVME_DEFAULT_KATO) would end any outage worth the name. After `controller_loss` the
    host removes the device, and swap ends with I/O errors (host/fabrics.c, nvmf_should_reconnect).

    `queue_size` is the least that there may be. NBD's driver sends on behalf of who reclaims, and so slows
    it down; this one has a worker that sends, and only a full queue does: with the kernel's 128, of up to
    1280 KiB each, half of A's memory was under writeback while it was filled in one cell, and the OOM killer
    came.

    Every I/O queue is a TCP connection, one more is for administration; a host makes no more queues than it
    has CPUs.

    A target without subsystems shuts its hosts' sockets down, without a word, and listens no more
    (target/configfs.c, nvmet_port_subsys_drop_link; target/tcp.c, nvmet_tcp_delete_ctrl). A host that is
    back looks whether the disk is the one it knew, by its uuid, and removes it if not (host/core.c,
    nvme_validate_ns); by itself a target picks one at random (target/core.c, nvmet_ns_alloc).
    """

    kind: ClassVar[str] = "nvme-tcp"
    place: ClassVar[str] = PORT
    client_options: ClassVar[tuple[str, ...]] = ("CONFIG_NVME_TCP",)
    server_options: ClassVar[tuple[str, ...]] = ("CONFIG_NVME_TARGET_TCP",)
    device: ClassVar[str] = "nvme0n1"

    port: Count = Field(default=4420, ge=1, le=65535)
    queues: Count = Field(default=1, ge=1, le=8)
    queue_size: Count = Field(default=16, ge=16, le=1024)
    io_timeout: Seconds = Field(default=30.0, ge=1, le=3600, multiple_of=1)
    keep_alive: Seconds = Field(default=60.0, ge=1, le=3600, multiple_of=1)
    reconnect_delay: Seconds = Field(default=10.0, ge=1, le=600, multiple_of=1)
    controller_loss: Seconds = Field(default=3600.0, ge=1, le=86400, multiple_of=1)

    @property
    def device_ends_s(self) -> float:
        return self.controller_loss

    @property
    def kernel_timers_s(self) -> Mapping[str, float]:
        return {
            "the host drops its connections for a request without an answer (io_timeout)": self.io_timeout,
            "host and target drop the connections (keep_alive)": self.keep_alive,
            "TCP gives the connections up (tcp_retries2), and the host makes new ones": TCP_GIVES_UP_S,
        }

    def attach(self, client: Guest, ends: Ends) -> None:
        self._connect(client, ends, SUBSYSTEM)
        self.take(client, ends)

    def borrow(self, client: Guest, ends: Ends) -> None:
        self._connect(client, ends, LENT_SUBSYSTEM)
        await_device(client, self.device, ends)
        lend_at(client, f"/dev/{self.device}", ends)

    def target(self, ends: Ends) -> Iterator[str]:
        """One subsystem with one namespace for each client, both at one port."""
        yield from self._subsystem(SUBSYSTEM, f"/dev/testbed/{self.disk}", buffered=False)
        # The lent file lies in memory, which knows no direct I/O.
        yield from self._subsystem(LENT_SUBSYSTEM, LENT_FILE, buffered=True)
        yield f"folder {PORT}"
        yield f"word {PORT}/addr_trtype tcp"
        yield f"word {PORT}/addr_adrfam ipv4"
        yield f"word {PORT}/addr_traddr {ends.server}"
        yield f"word {PORT}/addr_trsvcid {self.port}"

    def opened(self, ends: Ends) -> Iterator[str]:
        for name in DISKS:
            yield f"link {PORT}/subsystems/{name} {TARGET}/subsystems/{name}"

    def closed(self, ends: Ends) -> Iterator[str]:
        for name in DISKS:
            yield f"remove {PORT}/subsystems/{name}"

    def _subsystem(self, name: str, backing: str, *, buffered: bool) -> Iterator[str]:
        subsystem = f"{TARGET}/subsystems/{name}"
        yield f"folder {subsystem}"
        yield f"word {subsystem}/attr_allow_any_host 1"
        namespace = f"{subsystem}/namespaces/1"
        yield f"folder {namespace}"
        yield f"word {namespace}/device_path {backing}"
        yield f"word {namespace}/device_uuid {DISKS[name]}"
        if buffered:
            yield f"word {namespace}/buffered_io 1"
        yield f"word {namespace}/enable 1"

    def _connect(self, client: Guest, ends: Ends, subsystem: str) -> None:
        options = {
            "transport": "tcp",
            "traddr": ends.server,
            "trsvcid": self.port,
            "nqn": subsystem,
            "nr_io_queues": self.queues,
            "queue_size": self.queue_size,
            "keep_alive_tmo": round(self.keep_alive),
            "reconnect_delay": round(self.reconnect_delay),
            "ctrl_loss_tmo": round(self.controller_loss),
        }
        words = ",".join(f"{name}={value}" for name, value in options.items())
        lines = (f"word {IO_TIMEOUT} {round(self.io_timeout)}", f"word {FABRICS} {words}")
        obeyed(client, lines, ends)
