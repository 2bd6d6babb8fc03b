"""Owns NFS, versions 3 and 4, over TCP or UDP: a swap file on the server's export, or the export itself."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from testbed.load import Count, Flag, Seconds
from testbed.model import Value
from testbed.transports import (
    LENT_BYTES,
    Carrier,
    Ends,
    Guest,
    SwapFlow,
    await_listener,
    lend_at,
    make_file_system,
    mount,
    size_of,
    swap_to,
)
from testbed.transports.stacks import FOLDER

EXPORT = "/srv/swap"
SWAP_MOUNT = "/run/swap"
LENT_MOUNT = "/run/lent"
PORT = 2049
SPARE_BYTES = 16 << 20
"""Left for the export's own file system beside the swap file."""
ROOT_TIMEO_S, ROOT_RETRANS = 60.0, 15
"""How a thin client's root is mounted (guest/thin-init, which says why)."""
USUAL_OVER_UDP = {"timeo": "1100ms", "retrans": 3, "transfer": "8KiB"}
"""include/linux/nfs_fs.h (6.1): NFS_DEF_UDP_TIMEO, NFS_DEF_UDP_RETRANS; the size is ours."""

REPLACED = "sunrpc's TCP user timeout replaces the connection"

MINORS = ("CONFIG_PNFS_FILE_LAYOUT", "CONFIG_NFS_V4_2")
"""What says that a kernel has NFS 4.1, and 4.2. The first nobody sets by hand (fs/nfs/Kconfig): it comes with
CONFIG_NFS_V4_1 (5.10, 6.1), or with CONFIG_NFS_V4 where that has 4.1 in it (7.3)."""


def root_timers_s(machine: str) -> Mapping[str, float]:
    """After what silence the kernel does what about a thin client's root, as `Transport.kernel_timers_s`."""
    return {f"{REPLACED} of the root of '{machine}'": _user_timeout_s(ROOT_TIMEO_S, ROOT_RETRANS)}


def _user_timeout_s(timeo_s: float, retrans: int) -> float:
    """net/sunrpc/xprtsock.c (6.1 to 7.3), xs_tcp_set_socket_timeouts(). It comes in place of tcp_retries2
    (net/ipv4/tcp_timer.c, tcp_write_timeout)."""
    return timeo_s * (retrans + 1)


class Nfs(Value):
    """What the versions have in common: a swap file, mounted hard (nfs(5); swap since Linux 3.6).

    `timeo` is how long a request waits for its answer, `retrans` how often it is sent again before
    the kernel says that the server does not respond. The file is allocated on the server: one with
    holes is refused (fs/nfs/file.c, nfs_swap_activate). What counts as progress are answered READs and
    WRITEs alone: version 4 has traffic of its own besides.

    With `swap = false` there is no such file: the export is a file system for a load, at stacks.FOLDER, where
    an ext4 on a device would be. READs and WRITEs are then what fills and empties the page cache. A COMMIT,
    which ends when the server's disk has it all, counts as in flight and as no progress.
    """

    least_disk_bytes: ClassVar[int] = 2 * SPARE_BYTES
    path: ClassVar[str]
    """What the export is called by the client: all, or as version 4 has it, from its root on."""

    disk: str = "swap"
    swap: Flag = True
    timeo: Seconds = Field(default=60.0, ge=0.1, le=600)
    retrans: Count = Field(default=2, ge=0, le=100)

    @property
    def mount_point(self) -> str:
        return SWAP_MOUNT if self.swap else FOLDER

    @property
    def swap_flow(self) -> SwapFlow:
        return SwapFlow(self._carrier, PORT)

    @property
    def ports(self) -> tuple[int, ...]:
        return (PORT,)

    @property
    def spare_bytes(self) -> int:
        return SPARE_BYTES

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
        return ("vmsampler.rpc_data_done",)

    @property
    def kernel_timers_s(self) -> Mapping[str, float]:
        return {REPLACED: _user_timeout_s(self.timeo, self.retrans)}

    @property
    def least_release(self) -> tuple[int, int] | None:
        return (5, 18) if self.swap else None

    @property
    def why_not_before(self) -> str:
        """5.10: mm/page_io.c __swap_writepage() goes by nfs_file_direct_write(), where generic_write_checks()
        says ETXTBSY of a swap file (fs/read_write.c). 5.18 does not ask it of swap (fs/nfs/direct.c)."""
        return "its pages are never written: each write of swap's is refused (ETXTBSY)"

    @property
    def client_options(self) -> tuple[str, ...]:
        return ("CONFIG_NFS_FS", *(["CONFIG_NFS_SWAP"] if self.swap else []))

    @property
    def server_options(self) -> tuple[str, ...]:
        return ("CONFIG_NFSD",)

    @property
    def server_disk(self) -> str:
        return self.disk

    @property
    def store(self) -> str | None:
        return None if self.swap else EXPORT

    def serve(self, server: Guest, ends: Ends) -> None:
        size = size_of(self.disk, ends) - SPARE_BYTES
        make_file_system(server, self.disk, EXPORT, ends)
        swap_file = (["fallocate", "-l", str(size), f"{EXPORT}/file"], ["chmod", "600", f"{EXPORT}/file"])
        lent = ["fallocate", "-l", str(LENT_BYTES), f"{EXPORT}/lent"]
        for argv in (*(swap_file if self.swap else ()), lent):
            server.run(argv, timeout_s=ends.command_s)
        self._export(server, ends)

    def kill(self, server: Guest, ends: Ends) -> None:
        # No process serves that could be killed: the kernel's threads are told to end, and do so at once.
        server.run(["rpc.nfsd", "0"], timeout_s=ends.command_s)

    def revive(self, server: Guest, ends: Ends) -> None:
        mount(server, self.disk, EXPORT, ends)
        self._export(server, ends, "--again")

    def _export(self, server: Guest, ends: Ends, *how: str) -> None:
        serve = ["/usr/lib/testbed/nfs-serve", *how, EXPORT, ends.clients, *self._lease]
        server.run(serve, timeout_s=ends.command_s)
        await_listener(server, PORT, ends, self._carrier)

    def attach(self, client: Guest, ends: Ends) -> None:
        self._mount(client, ends, self.mount_point)
        if self.swap:
            swap_to(client, f"{self.mount_point}/file", ends)

    def borrow(self, client: Guest, ends: Ends) -> None:
        self._mount(client, ends, LENT_MOUNT)
        lend_at(client, f"{LENT_MOUNT}/lent", ends)

    def _mount(self, client: Guest, ends: Ends, where: str) -> None:
        decisecond = str(round(self.timeo * 10))
        # Version 3 would ask rpcbind for it, who may know that of a root instead (guest/nfs-serve).
        carried = f"proto={self._carrier},port={PORT}"
        options = f"{self._version},{carried},hard,timeo={decisecond},retrans={self.retrans}"
        client.run(["mkdir", "-p", where], timeout_s=ends.command_s)
        argv = ["mount", "-t", "nfs", "-o", options, f"{ends.server}:{self.path}", where]
        client.run(argv, timeout_s=ends.command_s)

    @property
    @abstractmethod
    def _version(self) -> str:
        """Its options of mount(8)."""

    @property
    def _carrier(self) -> Carrier:
        return "tcp"

    @property
    def _lease(self) -> tuple[str, ...]:
        """The last word for nfs-serve, if there is one."""
        return ()


class Nfs3(Nfs):
    """NFSv3, which has no state and no timers of its own.

    With `proto = "udp"` there is no connection to give up either: a request is sent again until it is
    answered. It waits as long as answers took before, and doubles that each time, up to 60 s
    (net/sunrpc/xprt.c 6.1, xprt_wait_for_reply_request_rtt; fs/nfs/client.c, nfs_init_timeout_values:
    NFS_MAX_UDP_TIMEOUT); after `timeo` x 2^`retrans` it says that the server does not respond, and begins
    anew (xprt_adjust_timeout). So the kernel's own 1.1 s and 3 are the defaults. A request or answer is one
    datagram: of its fragments only the first has the port by which a flow is known, and if one is lost so are
    all. With the 32 KiB that the server allows (include/linux/sunrpc/svc.h, RPCSVC_MAXPAYLOAD_UDP) these are
    23 frames, and a client's tap may hold no more than 32 (machines/wire.py): in one cell every sixth request
    had to be sent again before anything was cut off. So `transfer` is 8 KiB.
    """

    kind: ClassVar[str] = "nfs3"
    path: ClassVar[str] = EXPORT

    proto: Carrier = "tcp"
    transfer: Literal["4KiB", "8KiB", "16KiB", "32KiB"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _usual(cls, keys: Any) -> Any:
        """Over UDP other times and sizes are usual."""
        over_udp = isinstance(keys, dict) and keys.get("proto") == "udp"
        return USUAL_OVER_UDP | keys if over_udp else keys

    @property
    def kernel_timers_s(self) -> Mapping[str, float]:
        return super().kernel_timers_s if self.proto == "tcp" else {}

    @property
    def client_options(self) -> tuple[str, ...]:
        udp = ("!CONFIG_NFS_DISABLE_UDP_SUPPORT",) if self.proto == "udp" else ()
        return (*super().client_options, "CONFIG_NFS_V3", *udp)

    @property
    def _version(self) -> str:
        size = None if self.transfer is None else int(self.transfer.removesuffix("KiB")) << 10
        sizes = "" if size is None else f",rsize={size},wsize={size}"
        return f"vers=3,mountproto={self.proto},nolock{sizes}"

    @property
    def _carrier(self) -> Carrier:
        return self.proto


class Nfs4(Nfs):
    """NFSv4, whose client must be heard by the server at least once in each `lease`.

    It renews by itself after a third of it (fs/nfs/nfs4renewd.c 6.1, nfs4_renew_state), and by each READ
    or WRITE. A server keeps the state of a client that it did not hear for longer as long as nobody else
    wants it (fs/nfsd/nfs4state.c, nfs4_laundromat, since 5.19; before, it is gone), but the client must not
    count on that.

    A server that was killed serves again with the least grace period that there is, 10 s: until its end, a
    second or two later while clients go on claiming, whoever had state may claim it again, and nobody may
    open anything else (nfs4_laundromat, clients_still_reclaiming). It knows its clients by a record that lies
    in memory and outlives that, but no boot: after one every claim is refused, and the client opens anew once
    the period is over, of which it asks every 15 s or more often (fs/nfs/nfs4proc.c, NFS4_POLL_RETRY_MAX).
    It begins with the server, not with a silence, so that it is none of `kernel_timers_s`.

    """

    kind: ClassVar[str] = "nfs4"
    path: ClassVar[str] = "/"

    version: Literal["4.0", "4.1", "4.2"] = "4.0"
    proto: Carrier = "tcp"
    lease: Seconds = Field(default=90.0, ge=10, le=3600, multiple_of=1)

    @field_validator("proto")
    @classmethod
    def _never_udp(cls, proto: Carrier) -> Carrier:
        # fs/nfs/fs_context.c (6.1), nfs_server_transport_udp_invalid()
        if proto == "udp":
            raise ValueError('NFS version 4 does not go over UDP: leave it out, or set kind = "nfs3"')
        return proto

    @property
    def client_options(self) -> tuple[str, ...]:
        minors = MINORS[: int(self.version[-1])]
        return (*super().client_options, "CONFIG_NFS_V4", *minors)

    @property
    def server_options(self) -> tuple[str, ...]:
        return (*super().server_options, "CONFIG_NFSD_V4")

    @property
    def kernel_timers_s(self) -> Mapping[str, float]:
        return {**super().kernel_timers_s, "the client's lease runs out, its state may be gone": self.lease}

    @property
    def _version(self) -> str:
        return f"vers={self.version}"

    @property
    def _lease(self) -> tuple[str, ...]:
        return (str(round(self.lease)),)
