"""Owns the values of a snapshot: what one look into a guest's memory found, as plain facts.

All of it is read from a dump, so any of it may be missing or, in a guest that was hit in the middle of
a change, inconsistent: `missing` says what could not be read, and why. Addresses are the guest's, in
its own kernel; they only serve to tell whether two facts speak of one object. Sizes are bounded.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from testbed.model import Value

SCHEMA = 1
MAX_ITEMS = 4096
MAX_FRAMES = 48

Name = Annotated[str, Field(max_length=256)]
Number = Annotated[int, Field(gt=-(1 << 80), lt=1 << 80)]
"""Any 64 bits of a guest's in any unit. What is longer is of a damaged file, and not to be reckoned with."""
Address = Annotated[int, Field(ge=0, lt=1 << 64)]
Addresses = Annotated[tuple[Address, ...], Field(max_length=MAX_ITEMS)]
Pids = Annotated[tuple[Number, ...], Field(max_length=MAX_ITEMS)]

WaitKind = Literal[
    "folio", "mutex", "rwsem", "bio", "tag", "queue", "pool", "socket", "memory", "writeback", "fuse"
]
"""What a task sleeps for:

- `folio`: a bit of a folio in memory (locked, writeback);
- `bio`: its own read or write, submitted and waited for;
- `mutex`, `rwsem`: a lock, held by its owner;
- `tag`: a free request of a block device; `queue`: what its queue throttles by;
- `pool`: an element of a memory pool: one that comes back, or new memory;
- `socket`: data or room of a socket;
- `memory`: free pages (the allocator's slow path, reclaim's throttles);
- `writeback`: dirty pages to be written;
- `fuse`: the answer of whoever serves a file system of FUSE.
"""


class Wait(Value):
    """What a task waits for. `address` is the object's, 0 where only its kind is known; `frame` tells."""

    kind: WaitKind
    address: Address = 0
    detail: Name = ""
    frame: Name = ""


class Task(Value):
    """A task that is not just idle: `state` as ps shows it, `stack` innermost function first.

    One that `serves_fuse` has /dev/fuse open, one that `serves_ublk` the character device of a ublk device.
    """

    pid: Number
    comm: Name
    state: Name
    kthread: bool = False
    pf_memalloc: bool = False
    stack: Annotated[tuple[Name, ...], Field(max_length=MAX_FRAMES)] = ()
    waits: Wait | None = None
    holds_sockets: Addresses = ()
    serves_fuse: bool = False
    serves_ublk: bool = False


class Lock(Value):
    """A sleeping lock that somebody waits for. `owner` is a pid, None if it could not be told."""

    address: Address
    kind: Literal["mutex", "rwsem"]
    name: Name = ""
    owner: Number | None = None
    waiters: Pids = ()


class Request(Value):
    """A request in flight. `socket` carries it; `folios` are the memory it reads into or writes from, and
    `swap_slots` the slots of those that are in the swap cache.

    `waiters` are tasks that a bio names as its own (bi_private). An `orphaned` one was sent on a connection
    that its driver has given up since, and the driver has no other. `again_in_ms`: when it is sent again,
    where that is its own affair, as over UDP; None: no such timer.
    """

    address: Address
    device: Name
    tag: Number
    operation: Name
    sector: Number = 0
    size_bytes: Number = 0
    age_ms: Number | None = None
    state: Name = ""
    socket: Address = 0
    folios: Addresses = ()
    swap_slots: Annotated[tuple[Number, ...], Field(max_length=MAX_ITEMS)] = ()
    waiters: Pids = ()
    orphaned: bool = False
    again_in_ms: Number | None = None


class Socket(Value):
    """A socket with something to it: memalloc, filled, or carrying requests. Times count from the dump.

    `allocation_reserve`: what it allocates as its owner may come from the reserve (sk_allocation).

    `retransmit_in_ms`: when its TCP sends again what is unacknowledged; negative: it is due; None: no
    such timer. `retransmits`: how often that timer has fired since the last acknowledgment;
    `resent_segments`: what was sent again since the connection began. `head_bytes`, `head_segments`: the
    first packet that is not acknowledged, the one to be sent again; `head_at_driver`: its last copy still
    lies with the NIC's driver. None: not read. `dropped`: packets for it that were dropped since it began
    (sk_drops). `peer` is the socket at the other end, where that is one of this guest's own: a connection
    over the loopback, or a unix socket. `readers` sleep on it, `holders` have it open.
    """

    address: Address
    protocol: Name
    state: Name = ""
    local: Name = ""
    remote: Name = ""
    memalloc: bool = False
    allocation_reserve: bool = False
    receive_bytes: Number = 0
    receive_packets: Number = 0
    receive_limit_bytes: Number = 0
    backlog_bytes: Number = 0
    pfmemalloc_packets: Number = 0
    dropped: Number = 0
    send_bytes: Number = 0
    send_limit_bytes: Number = 0
    unacknowledged_bytes: Number = 0
    retransmit_in_ms: Number | None = None
    retransmit_timeout_ms: Number | None = None
    retransmits: Number = 0
    resent_segments: Number | None = None
    head_bytes: Number | None = None
    head_segments: Number | None = None
    head_at_driver: bool | None = None
    peer: Address = 0
    readers: Pids = ()
    holders: Pids = ()


class Nic(Value):
    """A network interface and its receive ring.

    `ring`: descriptors in all; `filled`: those with a buffer of the driver; `usable`: those of them
    that the hardware was told of and has not used yet. None where the driver is not known here.
    `stopped`: its NAPI is disabled, so that nobody takes what has come in. `exchanges`: its driver takes a
    frame only against a new buffer, and drops it where it gets none: what is usable is no room then.
    """

    name: Name
    driver: Name = ""
    addresses: Annotated[tuple[Name, ...], Field(max_length=64)] = ()
    carrier: bool | None = None
    ring: Number | None = None
    filled: Number | None = None
    usable: Number | None = None
    counters: dict[Name, Number] = Field(default_factory=dict)
    stopped: bool = False
    exchanges: bool = False


def atomic_floor(min_pages: int) -> int:
    """Free pages at which GFP_ATOMIC allocations fail: min less a half, less a quarter of the rest.

    Linux 6.1, mm/page_alloc.c `__zone_watermark_ok`: ALLOC_HIGH takes min/2, ALLOC_HARDER a
    quarter of what remains; an allocation fails when free pages are not above the result.
    """
    high = min_pages - min_pages // 2
    return high - high // 4


class Zone(Value):
    """A zone of memory, in pages. `minimum` is without the boost, which order 0 of GFP_ATOMIC ignores.

    `free` is what the watermarks look at; `on_cpu_lists` are free pages kept by the processors besides.
    `kept_for_lower` (lowmem_reserve) stays for those who can use no higher zone, `kept_for_high_order`
    (nr_reserved_highatomic) for atomic allocations of several pages. No floor here has them in it: each is
    rather too low, and a chance is named where there may be none. `set_aside` lies below all marks, for
    those alone who ignore them (patch set mem-reserve: zone_emergency[]), and is counted: it is thousands.
    """

    name: Name
    free: Number
    minimum: Number
    low: Number
    high: Number
    boost: Number = 0
    managed: Number = 0
    on_cpu_lists: Number = 0
    kept_for_lower: Number = 0
    kept_for_high_order: Number = 0
    set_aside: Number = 0

    @property
    def atomic_floor(self) -> int:
        return atomic_floor(self.minimum) + self.set_aside

    @property
    def packet_floor(self) -> int:
        """At which GFP_ATOMIC gets no data for a new packet: half of min, so that it fails before all else.

        6.1, net/core/skbuff.c kmalloc_reserve() adds __GFP_NOMEMALLOC, for which mm/page_alloc.c
        gfp_to_alloc_flags() leaves ALLOC_NON_BLOCK out, and __GFP_NOWARN, so that no console tells.
        """
        return self.minimum - self.minimum // 2 + self.set_aside

    @property
    def process_floor(self) -> int:
        """What allocations leave that may not take the reserve: 6.1, mmzone.h min_wmark_pages()."""
        return self.minimum + self.boost + self.set_aside

    @property
    def throttle_floor(self) -> int:
        """With no more free, who would reclaim is made to wait: 6.1, mm/vmscan.c allow_direct_reclaim().

        mem-reserve leaves that as it is: what is set aside counts as free, and holds nobody up.
        """
        return (self.minimum + self.boost) // 2


class Limit(Value):
    """Pages that a protocol's sockets hold, against its three limits."""

    protocol: Name
    pages: Number
    limits: tuple[Number, Number, Number]


class Snapshot(Value):
    """One look. `taken_ns`: host CLOCK_MONOTONIC as the guest stopped; `paused_ms`: for how long."""

    schema_version: Number = SCHEMA
    number: Number
    taken_ns: Number
    paused_ms: Number
    release: Name = ""
    tasks: Annotated[tuple[Task, ...], Field(max_length=MAX_ITEMS)] = ()
    idle_tasks: Number = 0
    locks: Annotated[tuple[Lock, ...], Field(max_length=MAX_ITEMS)] = ()
    requests: Annotated[tuple[Request, ...], Field(max_length=MAX_ITEMS)] = ()
    sockets: Annotated[tuple[Socket, ...], Field(max_length=MAX_ITEMS)] = ()
    nics: Annotated[tuple[Nic, ...], Field(max_length=64)] = ()
    zones: Annotated[tuple[Zone, ...], Field(max_length=64)] = ()
    memory_pages: dict[Name, Number] = Field(default_factory=dict)
    limits: Annotated[tuple[Limit, ...], Field(max_length=16)] = ()
    fragment_bytes: Number | None = None
    fragment_queues: Number | None = None
    counters: dict[Name, Number] = Field(default_factory=dict)
    missing: Annotated[tuple[Name, ...], Field(max_length=256)] = ()
