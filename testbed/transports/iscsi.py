"""Owns iSCSI: the kernel's target on a disk of the server, the kernel's initiator and its daemon on A."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from pydantic import Field

from testbed.clock import Deadline, poll
from testbed.load import Count, Seconds
from testbed.transports import (
    LENT_BYTES,
    LENT_FILE,
    TCP_GIVES_UP_S,
    Ends,
    Guest,
    await_device,
    lend_at,
    obeyed,
)
from testbed.transports.devices import KernelTarget

TARGET = "/sys/kernel/config/target"
NAME = "iqn.2026-11.testbed:swap"
LENT_NAME = "iqn.2026-11.testbed:lent"
INITIATOR_SUFFIX = "-client"
SETTINGS = "/etc/iscsi/iscsid.conf"
INITIATOR = "/etc/iscsi/initiatorname.iscsi"


class Iscsi(KernelTarget):
    """Swap over one iSCSI session.

    The kernel carries requests alone, but only iscsid can connect anew. It locks itself in memory with
    all libraries that it links to, and A has so much less. A connection that was silent for
    `noop_interval` is asked for a sign of life; `noop_timeout` later it is given up (drivers/scsi/libiscsi.c
    6.1, iscsi_check_transport_timeouts). Debian's 5 s and 5 s would end any outage worth the name. From then
    on requests wait, for `replacement_timeout`; then swap ends with I/O errors. A command that is older
    than `command_timeout` goes to SCSI's error handling, once the connection was found silent
    (iscsi_eh_cmd_timed_out). `queue_depth` bounds how much memory can be under writeback.

    The target closes the connection when the data of a write, or the answer to a sign of life, does not
    come for `target_timeout`, at most 60 s (drivers/target/iscsi/iscsi_target_erl1.c,
    iscsit_handle_dataout_timeout; iscsi_target_util.c, iscsit_handle_nopin_response_timeout). By itself
    it waits 3 s for data (include/target/iscsi/iscsi_target_core.h, NA_DATAOUT_TIMEOUT); another time can
    be given to an initiator only that it knows by name.

    A portal group that is disabled drops its sessions (iscsi_target_tpg.c,
    iscsit_tpg_disable_portal_group), and would answer who logs in that it is not there; without portals
    nobody listens (iscsi_target.c, iscsit_del_np).
    """

    kind: ClassVar[str] = "iscsi"
    place: ClassVar[str] = f"{TARGET}/iscsi/{NAME}"
    client_options: ClassVar[tuple[str, ...]] = ("CONFIG_ISCSI_TCP", "CONFIG_BLK_DEV_SD")
    server_options: ClassVar[tuple[str, ...]] = (
        "CONFIG_ISCSI_TARGET",
        "CONFIG_TCM_IBLOCK",
        "CONFIG_TCM_FILEIO",
    )
    device: ClassVar[str] = "sda"

    port: Count = Field(default=3260, ge=1, le=65535)
    queue_depth: Count = Field(default=32, ge=1, le=128)
    noop_interval: Seconds = Field(default=15.0, ge=1, le=3600, multiple_of=1)
    noop_timeout: Seconds = Field(default=30.0, ge=1, le=3600, multiple_of=1)
    command_timeout: Seconds = Field(default=30.0, ge=1, le=3600, multiple_of=1)
    target_timeout: Seconds = Field(default=60.0, ge=3, le=60, multiple_of=1)
    replacement_timeout: Seconds = Field(default=3600.0, ge=1, le=86400, multiple_of=1)

    @property
    def device_ends_s(self) -> float:
        return self.replacement_timeout

    @property
    def kernel_timers_s(self) -> Mapping[str, float]:
        return {
            "the initiator gives the connection up (noop_timeout)": self.noop_interval + self.noop_timeout,
            "SCSI's error handling begins (command_timeout)": self.command_timeout,
            "the target gives the connection up (target_timeout)": self.target_timeout,
            "TCP gives the connection up (tcp_retries2), and iscsid makes a new one": TCP_GIVES_UP_S,
        }

    def attach(self, client: Guest, ends: Ends) -> None:
        self._log_in(client, ends, NAME)
        self.take(client, ends)
        limit = f"word /sys/block/{self.device}/device/timeout {round(self.command_timeout)}"
        obeyed(client, (limit,), ends)

    def borrow(self, client: Guest, ends: Ends) -> None:
        self._log_in(client, ends, LENT_NAME)
        await_device(client, self.device, ends)
        lend_at(client, f"/dev/{self.device}", ends)

    def target(self, ends: Ends) -> Iterator[str]:
        """One target with one unit for each client, both at one port."""
        disk, lent = f"{TARGET}/core/iblock_0/swap", f"{TARGET}/core/fileio_0/lent"
        yield from self._backing(disk, f"udev_path=/dev/testbed/{self.disk}")
        yield from self._backing(lent, f"fd_dev_name={LENT_FILE},fd_dev_size={LENT_BYTES}")
        for name, backing in ((NAME, disk), (LENT_NAME, lent)):
            group = self._group(name)
            yield f"folder {group}"
            yield f"folder {group}/lun/lun_0"
            yield f"link {group}/lun/lun_0/backing {backing}"
            yield f"word {group}/attrib/authentication 0"
            known = f"{group}/acls/{name}{INITIATOR_SUFFIX}"
            yield f"folder {known}/lun_0"
            yield f"link {known}/lun_0/unit {group}/lun/lun_0"
            for limit in ("dataout_timeout", "nopin_response_timeout"):
                yield f"word {known}/attrib/{limit} {round(self.target_timeout)}"

    def opened(self, ends: Ends) -> Iterator[str]:
        for name in (NAME, LENT_NAME):
            yield f"folder {self._group(name)}/np/{ends.server}:{self.port}"
            yield f"word {self._group(name)}/enable 1"

    def closed(self, ends: Ends) -> Iterator[str]:
        for name in (NAME, LENT_NAME):
            yield f"word {self._group(name)}/enable 0"
            yield f"remove {self._group(name)}/np/{ends.server}:{self.port}"

    def _group(self, name: str) -> str:
        return f"{TARGET}/iscsi/{name}/tpgt_1"

    def _backing(self, folder: str, what: str) -> Iterator[str]:
        yield f"folder {folder}"
        yield f"word {folder}/control {what}"
        yield f"word {folder}/enable 1"

    def _log_in(self, client: Guest, ends: Ends, name: str) -> None:
        client.run(["mkdir", "-p", "/etc/iscsi", "/run/lock/iscsi"], timeout_s=ends.command_s)
        client.put(SETTINGS, self._settings().encode())
        client.put(INITIATOR, f"InitiatorName={name}{INITIATOR_SUFFIX}\n".encode())
        node = ["iscsiadm", "-m", "node", "-T", name, "-p", f"{ends.server}:{self.port}"]
        # A daemon by itself logs through System V's shared memory, which our kernels have not got.
        daemon = ["/usr/sbin/iscsid", "--", "-f", "-c", SETTINGS, "-i", INITIATOR]
        client.run(["start-stop-daemon", "-S", "-b", "-x", *daemon], timeout_s=ends.command_s)
        self._await_daemon(client, ends)
        for argv in ([*node, "-o", "new"], [*node, "--login"]):
            client.run(argv, timeout_s=ends.command_s)

    def _await_daemon(self, client: Guest, ends: Ends) -> None:
        """iscsiadm does not wait for it."""

        def listens() -> bool:
            listening = ["grep", "-q", "ISCSIADM", "/proc/net/unix"]
            return client.run(listening, timeout_s=ends.command_s, check=False).status == 0

        poll(listens, Deadline.after(ends.command_s, "iscsid's socket"), every_s=0.1)

    def _settings(self) -> str:
        values = {
            "node.startup": "manual",
            "node.session.queue_depth": self.queue_depth,
            "node.session.timeo.replacement_timeout": round(self.replacement_timeout),
            "node.conn[0].timeo.noop_out_interval": round(self.noop_interval),
            "node.conn[0].timeo.noop_out_timeout": round(self.noop_timeout),
        }
        return "".join(f"{name} = {value}\n" for name, value in values.items())
