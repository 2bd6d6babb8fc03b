"""Owns the edges of memory: the ring needs it to take a frame in, and who may give some back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from testbed.snapshot import Nic, Socket, Task, Zone
from testbed.waitfor.builder import Builder, Taken, task_node

RECLAIMING = (
    "shrink_node",
    "shrink_lruvec",
    "shrink_folio_list",
    "shrink_page_list",
    "try_to_free_pages",
    "balance_pgdat",
)
"""mm/vmscan.c: who has one of these on the stack is freeing memory."""
KSWAPD = "kswapd"
REFILLS_STOPPED = "refill_work"
"""drivers/net/virtio_net.c: who fills a ring with its NAPI disabled, for which it may wait."""
Whose = Literal["atomic", "packet", "process", "throttle"]
FLOORS: dict[Whose, tuple[str, Callable[[Zone], int]]] = {
    "atomic": ("atomic allocations", lambda zone: zone.atomic_floor),
    "packet": ("the data of new packets", lambda zone: zone.packet_floor),
    "process": ("allocations that may not take the reserve", lambda zone: zone.process_floor),
    "throttle": ("who waits for a turn in reclaim", lambda zone: zone.throttle_floor),
}
"""Whose allocations, and which pages are left when they fail: the first two are made with GFP_ATOMIC."""
MAX_KSWAPD_FAILURES = 16
"""MAX_RECLAIM_RETRIES, mm/internal.h: after so many vain rounds kswapd does not wake up any more."""
FEW_CLEAN_PAGES = 64
"""Of files, or of the swap cache: under so many they are those just in use."""


def buffers(builder: Builder, name: str) -> str:
    nic = next(nic for nic in builder.snapshot.nics if nic.name == name)
    ring = f"{name}, whose receive ring has {nic.usable} of {nic.ring} usable"
    against = f"{name}, whose driver takes a frame only against a new one"
    source = builder.node("buffers", name, against if nic.exchanges else ring, needs="any")
    if builder.has_edges(source):
        return source
    if nic.stopped:
        _polled_again(builder, source, nic)
        return source
    taken = builder.outside.nics.get(name, Taken())
    state = f"{nic.usable} of {nic.ring} descriptors are usable ({nic.filled} have a buffer)"
    if not nic.exchanges and (nic.usable is None or nic.usable > 0):
        # Frames can come in: what is waited for lies further on, with who sends them.
        builder.ends(source, "ring", "who sends to it", "has room, and waits for", "observed", state, "sure")
    if taken.accepted is None or taken.accepted > 0 or taken.filled:
        builder.ends(
            source,
            "refill",
            f"the next refill of {name}'s ring",
            "is filled now and then by",
            "observed",
            f"between the looks the driver took in {taken.accepted} frames; descriptors with a buffer:"
            f" {taken.filled:+d}"
            if taken.filled
            else f"frames that the driver took in between the looks: {taken.accepted}",
            "chance",
        )
    if not taken.refused:
        tried = "none" if taken.refused == 0 else "not counted by its driver"
        builder.ends(
            source,
            "refused",
            f"a try to fill {name}'s ring",
            "was not seen to be refused",
            "observed",
            f"refills that failed between the looks: {tried}",
            "chance",
        )
    refused = "" if taken.refused is None else f"; refills that failed between the looks: {taken.refused}"
    builder.edge(
        source,
        memory(builder),
        "to have one needs" if nic.exchanges else "to fill it needs",
        "observed" if nic.usable == 0 or nic.exchanges else "inferred",
        state + refused,
    )
    return source


def _polled_again(builder: Builder, source: str, nic: Nic) -> None:
    """virtio_net.c, refill_work() (6.1): from napi_disable() on it allocates with GFP_KERNEL and may reclaim.

    Until it enables the NAPI again nothing is taken from the ring, nor put into it.
    """
    tasks = [task for task in builder.snapshot.tasks if REFILLS_STOPPED in task.stack]
    state = f"the NAPI of {nic.name} is disabled (NAPI_STATE_SCHED and NAPI_STATE_NPSVC)"
    for task in tasks:
        told = f"{state}; stack: {' < '.join(task.stack[:16])}"
        builder.edge(source, task_node(builder, task), "is polled again by", "observed", told)
    if not tasks:
        builder.ends(source, "napi", "who disabled its NAPI", "is polled again by", "observed", state, "sure")


def memory(builder: Builder, of: Whose = "atomic") -> str:
    """Memory for those allocations: free above their floor, or to be had from who holds it."""
    whose, floor = FLOORS[of]
    told = " and ".join(f"{z.free} free, floor {floor(z)}" for z in builder.snapshot.zones)
    source = builder.node("memory", of, f"memory above the floor of {whose} ({told})", needs="any")
    if builder.has_edges(source):
        return source
    _free_now(builder, source, floor)
    _fragments(builder, source)
    held_by_sockets(builder, source, builder.snapshot.sockets)
    _reclaim(builder, source)
    return source


def _free_now(builder: Builder, source: str, floor: Callable[[Zone], int]) -> None:
    zones, samples = builder.snapshot.zones, builder.outside.free
    told = ", ".join(f"{z.name}: {z.free} free, floor {floor(z)}" for z in zones)
    above = sum(1 for free in samples if zones and free > sum(map(floor, zones)))
    if any(zone.free > floor(zone) for zone in zones) or above or not zones or not samples:
        evidence = f"{told}; {above} of {len(samples)} samples were above the floor"
        builder.ends(source, "free", "free pages", "is there now and then:", "observed", evidence, "chance")


def _fragments(builder: Builder, source: str) -> None:
    held = builder.snapshot.fragment_bytes
    if held:
        builder.ends(
            source,
            "fragments",
            "the timer of fragment reassembly",
            "may come from",
            "observed",
            f"fqdir.mem = {held} bytes; a fragment alone is freed after net.ipv4.ipfrag_time",
            "chance",
        )


def held_by_sockets(builder: Builder, source: str, socks: Sequence[Socket], *, what: str = "packets") -> None:
    """Packets in receive queues come back to memory, and out of a limit, when their readers read."""
    tasks = {task.pid: task for task in builder.snapshot.tasks}
    groups: dict[tuple[int, ...], list[Socket]] = {}
    for sock in socks:
        if sock.receive_packets:
            groups.setdefault(tuple(sorted({*sock.readers, *sock.holders})), []).append(sock)
    for pids, group in groups.items():
        held = sum(sock.receive_bytes for sock in group)
        readers = [tasks[pid] for pid in pids if pid in tasks]
        names = ", ".join(dict.fromkeys(task.comm for task in readers)) or "nobody"
        words = f"{held >> 10} KiB of {what} that wait in {len(group)} sockets of {names}"
        queue = builder.node("queue", f"{what} of {' '.join(map(str, pids))}", words, needs="any")
        packets = sum(sock.receive_packets for sock in group)
        evidence = f"sk_rmem_alloc adds up to {held} bytes, {packets} packets"
        builder.edge(source, queue, "would come from", "observed", evidence)
        for task in readers:
            builder.edge(
                queue,
                task_node(builder, task),
                "wait to be read by",
                "observed",
                f"the sockets are open in {task.comm} ({task.pid})",
            )
        if not readers:
            builder.ends(
                queue, "reader", "a reader that was not found", "waits for", "inferred", "no holder", "sure"
            )


def _reclaim(builder: Builder, source: str) -> None:
    reclaim = builder.node("reclaim", "any", "reclaim", needs="any")
    pages = builder.snapshot.memory_pages
    clean, cached = _clean(pages), pages.get("swap_cache_clean", 0)
    slab = pages.get("slab_reclaimable", 0)
    builder.edge(
        source,
        reclaim,
        "would come from",
        "inferred",
        f"mm/vmscan.c frees pages for allocations. Clean are {clean} of files and {cached} of the"
        f" swap cache; caches that shrink hold {slab}, and how many of these are in use is not known",
    )
    tasks = [task for task in builder.snapshot.tasks if task.comm.startswith(KSWAPD) or is_reclaiming(task)]
    for task in tasks:
        builder.edge(
            reclaim,
            task_node(builder, task),
            "is done by",
            "observed",
            "stack: " + " < ".join(task.stack[:6]),
        )
    if clean > FEW_CLEAN_PAGES or cached > FEW_CLEAN_PAGES:
        builder.ends(
            reclaim,
            "clean",
            "whoever allocates next and drops clean pages",
            "may be done by",
            "inferred",
            f"{clean} pages of files are clean, and {cached} of the swap cache",
            "chance",
        )
    if not any(task.comm.startswith(KSWAPD) for task in tasks):
        idle_kswapd(
            builder, reclaim, "may be done, as soon as there is, by", "no kswapd is at work, nor waits"
        )


def idle_kswapd(builder: Builder, source: str, verb: str, evidence: str) -> None:
    """Asleep it stands in no look, as no task does that sleeps for nothing known: it may be woken."""
    failures = builder.snapshot.memory_pages.get("kswapd_failures", 0)
    builder.ends(
        source,
        "wakeup",
        "somebody to wake kswapd",
        verb,
        "observed",
        f"{evidence}; kswapd_failures {failures}",
        "never" if failures >= MAX_KSWAPD_FAILURES else "chance",
    )


def _clean(pages: Mapping[str, int]) -> int:
    """Clean pages of files. Only files' pages count as dirty; under writeback are those of swap as well."""
    files = sum(pages.get(name, 0) for name in ("inactive_file", "active_file"))
    written = max(0, pages.get("writeback", 0) - pages["swap_cache"]) if "swap_cache" in pages else 0
    return max(0, files - pages.get("dirty", 0) - written)


def is_reclaiming(task: Task) -> bool:
    return any(name.partition(".")[0] in RECLAIMING for name in task.stack)
