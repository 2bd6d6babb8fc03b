"""How A reaches the memory (or disk) that C lends it.

A transport is one file: a frozen pydantic model with a `kind`; its fields are its keys in the TOML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from testbed import plugins
from testbed.clock import Deadline, poll
from testbed.errors import TestbedFault, UsageError
from testbed.model import Plan, PlannedMachine, PlannedTransport
from testbed.proc import Completed

LENT_BYTES = 1 << 20
LENT_PATH = "/run/testbed/lent"
"""What a server lends besides the swap, for a second client: its size, and where that client finds it."""
LENT_FILE = "/run/lent"
"""Where a server of block devices keeps it: in memory."""

LOOPBACK, LOOPBACK_NET = "127.0.0.1", "127.0.0.0/8"

COMMAND_S = 20.0
"""For one command in a guest that is idle; `Ends.cpu_scale` stretches it."""

TCP_GIVES_UP_S = 924.6
"""ip-sysctl: the default 15 of tcp_retries2 gives a hypothetical timeout of 924.6 s, a lower bound."""

Carrier = Literal["tcp", "udp"]

LAST_LINES = 3
"""Of a kernel's log, where it refuses something: what it says of that is the last that it said."""

CONF = "/run/kernel.conf"
"""Where `obeyed` leaves its lines in a guest (guest/kernel-conf)."""


class Guest(Protocol):
    """A guest to set things up in (machines/guest.py); never used once a fault is in force."""

    def run(self, argv: Sequence[str], *, timeout_s: float, check: bool = True) -> Completed: ...

    def put(self, path: str, data: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class SwapFlow:
    """The packets of the transport: those to `port` of the server, and their answers."""

    protocol: Carrier
    port: int


@dataclass(frozen=True, slots=True)
class Ends:
    """Where client and server are, on the data link; `clients` are all that may be there (a subnet).

    Where both are one machine that is its loopback.
    """

    client: str
    server: str
    clients: str
    disk_bytes: Mapping[str, int]
    cpu_scale: float = 1.0

    @property
    def command_s(self) -> float:
        return COMMAND_S * self.cpu_scale

    @classmethod
    def of(cls, plan: Plan, cpu_scale: float = 1.0) -> Ends:
        """The ends of the plan's transport, on the first data link that both are on."""
        if plan.transport is None:
            raise UsageError("this plan has no transport")
        client, server = plan.machine(plan.transport.client), plan.machine(plan.transport.server)
        disks = {disk.name: disk.size_bytes for disk in server.disks}
        if client == server:
            return cls(LOOPBACK, LOOPBACK, LOOPBACK_NET, disks, cpu_scale)
        link = data_link(plan, client, server)
        subnet = next(each.subnet for each in plan.links if each.name == link)
        return cls(_address(client, link), _address(server, link), subnet, disks, cpu_scale)


class Transport(Protocol):
    """`serve` on the server, then `attach` on the client; both idle, so both may use SSH.

    `swap_flow` is what the wire counts of it; None is a transport whose server is the client itself, so that
    nothing crosses a wire, and no other machine is asked or can be cut off. `block_devices` are the client's
    devices to watch, by their names in /sys/block: the first ones that the blocksampler numbers.
    `request_devices` are the names under which snapshots list its requests (testbed/introspection).
    `in_flight_series` and `progress_series` are `SOURCE.FIELD` of the client. `kernel_timers_s` says after
    what silence the kernel itself does what: an outage beyond the shortest tests that instead.
    `server_disk` is the disk it serves, of `least_disk_bytes` or more. `store` is a folder of the server
    whose file system must have room for what the client writes; None if all room was taken before.
    `client_options` and `server_options` are those of the two kernels' configurations that it needs, by name
    ("CONFIG_BLK_DEV_NBD"); one that must be off has a "!" before it. `ports` are those that it listens on,
    which nobody else may have. Of its disk `spare_bytes` are no swap.
    """

    kind: ClassVar[str]
    least_disk_bytes: ClassVar[int]

    @property
    def client_options(self) -> tuple[str, ...]: ...

    @property
    def server_options(self) -> tuple[str, ...]: ...

    @property
    def swap_flow(self) -> SwapFlow | None: ...

    @property
    def ports(self) -> tuple[int, ...]: ...

    @property
    def spare_bytes(self) -> int: ...

    @property
    def block_devices(self) -> tuple[str, ...]: ...

    @property
    def request_devices(self) -> tuple[str, ...]: ...

    @property
    def in_flight_series(self) -> str: ...

    @property
    def progress_series(self) -> tuple[str, ...]: ...

    @property
    def kernel_timers_s(self) -> Mapping[str, float]: ...

    @property
    def server_disk(self) -> str: ...

    @property
    def store(self) -> str | None: ...

    def serve(self, server: Guest, ends: Ends) -> None: ...

    def attach(self, client: Guest, ends: Ends) -> None: ...


@runtime_checkable
class Lender(Protocol):
    """What a transport is besides whose server serves other machines too; one need not be.

    `borrow` makes another machine a client: of LENT_BYTES that are not the swap, at LENT_PATH.
    """

    def borrow(self, client: Guest, ends: Ends) -> None: ...


@runtime_checkable
class Crossed(Protocol):
    """What a transport is besides whose client serves a disk of its own, `client_disk`, to the server.

    `serve_back` on the client and `attach_back` on the server, after `serve` and `attach`; both idle.
    `attach_back` may look at the client as well: only now is there all that serves on it.
    """

    @property
    def client_disk(self) -> str: ...

    def serve_back(self, client: Guest, ends: Ends) -> None: ...

    def attach_back(self, server: Guest, client: Guest, ends: Ends) -> None: ...


@runtime_checkable
class Capping(Protocol):
    """What a transport is besides that can bound its daemon's memory, by a memory group of the client's."""

    memory_cap: int | None


@runtime_checkable
class Since(Protocol):
    """What a transport is besides that no client's kernel before some series can be asked for."""

    @property
    def least_release(self) -> tuple[int, int] | None: ...

    @property
    def why_not_before(self) -> str: ...


@runtime_checkable
class Stacked(Protocol):
    """What a transport is besides whose device may lie below others; `mirror` is a disk of the client's."""

    stack: tuple[str, ...]
    mirror: str | None


@runtime_checkable
class Mounted(Protocol):
    """What a transport is besides that brings its client a file system, and no device: where it is."""

    @property
    def mount_point(self) -> str: ...


@runtime_checkable
class Ending(Protocol):
    """What a transport is besides whose client waits so long for its server, and then fails all requests."""

    @property
    def device_ends_s(self) -> float: ...


@runtime_checkable
class Revivable(Protocol):
    """What a transport is besides whose server can be ended and serve again; one need not be.

    `kill` ends what serves, without a farewell; `revive` serves the same disk as it is, after that or after a
    boot.
    """

    def kill(self, server: Guest, ends: Ends) -> None: ...

    def revive(self, server: Guest, ends: Ends) -> None: ...


def transport_class(kind: str, *, where: str = "") -> type[Any]:
    """The transport of that kind. Raises UsageError with the nearest one."""
    return plugins.find(__name__, Transport, kind, where=where)


def revivable() -> tuple[str, ...]:
    """The kinds whose server can be ended and serve again."""
    found = plugins.collect(__name__, object)
    return tuple(sorted(kind for kind, plugin in found.items() if issubclass(plugin, Revivable)))


def transport_of(planned: PlannedTransport) -> Transport:
    """The transport of a plan, with its options."""
    transport: Transport = transport_class(planned.kind).model_validate(planned.options)
    return transport


def data_link(plan: Plan, one: PlannedMachine, other: PlannedMachine) -> str:
    """The first link, not the management's, that both are on."""
    data = [link.name for link in plan.links if not link.management]
    links = [nic.link for nic in one.nics if nic.link in {theirs.link for theirs in other.nics}]
    return next(link for link in links if link in data)


def _address(machine: PlannedMachine, link: str) -> str:
    return next(nic.address for nic in machine.nics if nic.link == link)


def await_listener(guest: Guest, port: int, ends: Ends, protocol: Carrier = "tcp") -> None:
    """Waits until `guest` listens on `port`: daemons detach before they listen.

    Raises TestbedFault if it never does.
    """
    deadline = Deadline.after(ends.command_s, f"a listener on {protocol.upper()} port {port}")
    poll(lambda: listens(guest, port, ends, protocol), deadline, every_s=0.1)


def listens(guest: Guest, port: int, ends: Ends, protocol: Carrier = "tcp") -> bool:
    """Whether `guest` listens on `port`."""
    files = [f"/proc/net/{protocol}", f"/proc/net/{protocol}6"]
    tables = guest.run(["cat", *files], timeout_s=ends.command_s, check=False)
    rows = (line.split() for line in tables.stdout.splitlines())
    # Fields: number, local address, remote address, state; 0A is TCP_LISTEN, 07 what a bound UDP socket has.
    state = {"tcp": "0A", "udp": "07"}[protocol]
    return any(len(row) > 3 and row[1].endswith(f":{port:04X}") and row[3] == state for row in rows)


def make_file_system(server: Guest, disk: str, folder: str, ends: Ends) -> None:
    """An empty ext4 on the server's disk, mounted there. Without a journal, which would write all twice."""
    make = ["mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-N", "64", "-m", "0"]
    server.run([*make, "-E", "nodiscard", f"/dev/testbed/{disk}"], timeout_s=ends.command_s)
    mount(server, disk, folder, ends)


def mount(server: Guest, disk: str, folder: str, ends: Ends) -> None:
    """Mounts the ext4 on the server's disk there; nothing happens if something is mounted there."""
    mounted = ["grep", "-q", f" {folder} ", "/proc/mounts"]
    if server.run(mounted, timeout_s=ends.command_s, check=False).status == 0:
        return
    for argv in (["mkdir", "-p", folder], ["mount", "-t", "ext4", f"/dev/testbed/{disk}", folder]):
        server.run(argv, timeout_s=ends.command_s)


def await_socket(guest: Guest, path: str, ends: Ends) -> None:
    """Waits until `guest` listens on the unix socket `path`. Raises TestbedFault if it never does."""

    def there() -> bool:
        table = guest.run(["cat", "/proc/net/unix"], timeout_s=ends.command_s, check=False).stdout
        # Fields: number, references, protocol, flags, ...; 00010000 is __SO_ACCEPTCON (net/unix/af_unix.c).
        rows = (line.split() for line in table.splitlines())
        return any(len(row) > 7 and row[3] == "00010000" and row[7] == path for row in rows)

    poll(there, Deadline.after(ends.command_s, f"a listener on {path}"), every_s=0.1)


def await_device(guest: Guest, device: str, ends: Ends) -> None:
    """Waits until `guest` has the block device. Raises TestbedFault if it never does."""

    def there() -> bool:
        return guest.run(["test", "-b", f"/dev/{device}"], timeout_s=ends.command_s, check=False).status == 0

    poll(there, Deadline.after(ends.command_s, f"the device {device}"), every_s=0.1)


def swap_to(client: Guest, path: str, ends: Ends) -> None:
    """Makes a device or file the client's swap. Raises UsageError if its kernel does not take it."""
    client.run(["mkswap", path], timeout_s=ends.command_s)
    done = client.run(["swapon", path], timeout_s=ends.command_s, check=False)
    if done.status != 0:
        log = client.run(["dmesg"], timeout_s=ends.command_s, check=False).stdout.splitlines()
        raise UsageError(
            f"the client's kernel does not swap to {path}: {(done.stderr or done.stdout).strip()}",
            hint="its log ends with: " + " | ".join(log[-LAST_LINES:]),
            where="swapon",
        )


def lend_at(client: Guest, path: str, ends: Ends) -> None:
    """Puts what a second client borrows where it looks for it."""
    client.run(["mkdir", "-p", str(PurePosixPath(LENT_PATH).parent)], timeout_s=ends.command_s)
    client.run(["ln", "-sf", path, LENT_PATH], timeout_s=ends.command_s)


def obeyed(guest: Guest, lines: Sequence[str], ends: Ends) -> None:
    """Gives the guest's kernel the lines of a configuration (guest/kernel-conf says which there are)."""
    guest.put(CONF, "".join(f"{line}\n" for line in lines).encode())
    guest.run(["/usr/lib/testbed/kernel-conf", CONF], timeout_s=ends.command_s)


def size_of(disk: str, ends: Ends) -> int:
    """Size of the server's disk. Raises TestbedFault if it has none of that name."""
    if disk not in ends.disk_bytes:
        raise TestbedFault(f"the server has no disk '{disk}'")
    return ends.disk_bytes[disk]
