"""Owns the rules that make edges: each reads a snapshot, and says what it saw or from what it concludes."""

from __future__ import annotations

from dataclasses import dataclass, field

from testbed.snapshot import Request, Snapshot, Socket, Task, Zone
from testbed.waitfor.graph import Edge, Graph, Kind, Node

LARGEST_TABLE = 400
"""Nodes of one kind; a guest has some dozens."""

RECLAIMING = (
    "shrink_node",
    "shrink_lruvec",
    "shrink_folio_list",
    "shrink_page_list",
    "try_to_free_pages",
    "balance_pgdat",
)
"""mm/vmscan.c: who has one of these on the stack is freeing memory."""
SUBMITTING = ("swap_writepage", "swap_readpage", "swap_read_folio", "submit_bio", "submit_bio_noacct")
"""mm/page_io.c, block/blk-core.c: who has one of these on the stack is on its way to a request."""
KSWAPD = "kswapd"
MAX_KSWAPD_FAILURES = 16
"""MAX_RECLAIM_RETRIES, mm/internal.h: after so many vain rounds kswapd does not wake up any more."""


@dataclass(frozen=True, slots=True)
class Outside:
    """What the host saw between two looks; None: it was not seen.

    `answers`: frames of the swap connection from the server that the NIC was offered. `accepted`:
    frames that the driver took in; `filled`: descriptors that got a buffer, less those used; `refused`:
    refills of the ring that failed. `samples` of free memory, and how many were above the floor.
    """

    answers: int | None = None
    retransmission_passed: bool | None = None
    accepted: int | None = None
    filled: int | None = None
    refused: int | None = None
    samples: int = 0
    samples_above_floor: int = 0


@dataclass
class Builder:
    """Collects nodes and edges; the same node may be added again, an edge needs both its ends."""

    snapshot: Snapshot
    outside: Outside
    _nodes: dict[str, Node] = field(default_factory=dict)
    _edges: list[Edge] = field(default_factory=list)

    def node(self, kind: Kind, name: str, words: str, **more: object) -> str:
        node_id = f"{kind}:{name}"[:80]
        if node_id not in self._nodes:
            self._nodes[node_id] = Node.model_validate(
                {"id": node_id, "kind": kind, "words": words[:300], **more}
            )
        return node_id

    def edge(self, source: str, target: str, verb: str, how: str, evidence: str) -> None:
        self._edges.append(
            Edge.model_validate(
                {
                    "source": source,
                    "target": target,
                    "verb": verb[:120],
                    "how": how,
                    "evidence": evidence[:400],
                }
            )
        )

    def ends(self, source: str, name: str, words: str, verb: str, how: str, evidence: str, ends: str) -> None:
        """An edge to where the knowledge, or the waiting, ends."""
        self.edge(source, self.node("end", name, words, ends=ends), verb, how, evidence)

    def graph(self) -> Graph:
        return Graph(nodes=tuple(self._nodes.values()), edges=tuple(self._edges))


def build(snapshot: Snapshot, outside: Outside) -> Graph:
    """The wait-for graph of one look, with what the host saw since the last one."""
    builder = Builder(snapshot, outside)
    for request in snapshot.requests[:LARGEST_TABLE]:
        _request(builder, request)
    for task in snapshot.tasks[:LARGEST_TABLE]:
        _task(builder, task)
    for lock in snapshot.locks[:LARGEST_TABLE]:
        _lock(builder, lock.address)
    return builder.graph()


# --- requests and what carries them


def request_id(request: Request) -> str:
    """The sector tells a tag that was given to another request since the last look."""
    return f"request:{request.device}/{request.tag}@{request.sector}"


def request_node(builder: Builder, request: Request) -> str:
    kib = f" of {request.size_bytes >> 10} KiB" if request.size_bytes else ""
    age = f", {request.age_ms / 1000:.0f} s old" if request.age_ms is not None else ""
    words = f"request {request.tag} of {request.device} ({request.operation}{kib}{age})"
    return builder.node("request", request_id(request).partition(":")[2], words)


def _request(builder: Builder, request: Request) -> None:
    source = request_node(builder, request)
    sock = next((s for s in builder.snapshot.sockets if s.address == request.socket), None)
    if sock is None:
        builder.ends(
            source,
            f"device {request.device}",
            f"the device {request.device}",
            "waits for its device",
            "inferred",
            "no socket is known to carry this request",
            "sure",
        )
        return
    target = _socket(builder, sock)
    field_ = (
        "nbd_cmd.index -> nbd_config.socks[].sock.sk"
        if request.device.startswith("nbd")
        else "rpc_rqst.rq_xprt -> sock_xprt.inet"
    )
    builder.edge(source, target, "waits for its reply on", "observed", f"{field_} = {sock.address:#x}")


def _socket(builder: Builder, sock: Socket) -> str:
    """The connection: its replies need to be sent (the outside's part) and a buffer to arrive in."""
    words = f"the {sock.protocol.upper()} connection {sock.local} to {sock.remote}"
    known = f"socket:{sock.local}-{sock.remote}"
    source = builder.node("socket", known.partition(":")[2], words)
    if any(edge.source == source for edge in builder._edges):
        return source
    if sock.receive_bytes:
        _queue_read(builder, source, sock)
    outside = builder.outside
    if outside.retransmission_passed is False:
        builder.ends(
            source,
            "timer",
            "the timer of the next retransmission",
            "waits for",
            "observed",
            f"icsk_retransmit_timer is due in {(sock.retransmit_in_ms or 0) / 1000:.1f} s",
            "sure",
        )
    if outside.answers is None or outside.answers < LEAST_ANSWERS:
        builder.ends(
            source,
            "server",
            "an answer of the server",
            "waits for",
            "inferred",
            f"frames of this connection that the host saw coming from the server: {outside.answers}",
            "sure",
        )
    for nic in builder.snapshot.nics:
        if nic.ring is not None:
            builder.edge(
                source,
                _buffers(builder, nic.name),
                "needs for any reply a receive buffer of the NIC",
                "inferred",
                f"{outside.answers} frames of this connection were offered to the NIC",
            )
    return source


LEAST_ANSWERS = 2
"""Frames of the swap connection that must have been offered: one alone may have been lost by chance."""


def _queue_read(builder: Builder, source: str, sock: Socket) -> None:
    """Replies that have arrived wait for their reader: the driver's receiving worker."""
    for pid in sock.readers:
        task = next((t for t in builder.snapshot.tasks if t.pid == pid), None)
        if task is not None and (task.waits is None or task.waits.kind != "socket"):
            builder.edge(
                source,
                task_node(builder, task),
                "has replies that wait to be read by",
                "observed",
                f"sk_rmem_alloc {sock.receive_bytes} bytes",
            )


# --- receive buffers and memory


def _buffers(builder: Builder, name: str) -> str:
    nic = next(nic for nic in builder.snapshot.nics if nic.name == name)
    source = builder.node(
        "buffers", name, f"{name}, whose receive ring has {nic.usable} of {nic.ring} usable", needs="any"
    )
    if any(edge.source == source for edge in builder._edges):
        return source
    outside = builder.outside
    state = f"{nic.usable} of {nic.ring} descriptors are usable ({nic.filled} have a buffer)"
    if nic.usable is None or nic.usable > 0:
        # Frames can come in: what is waited for lies further on, with who sends them.
        builder.ends(source, "ring", "who sends to it", "has room, and waits for", "observed", state, "sure")
    if outside.accepted is None or outside.accepted > 0 or outside.filled:
        builder.ends(
            source,
            "refill",
            f"the next refill of {name}'s ring",
            "is filled now and then by",
            "observed",
            f"between the looks the driver took in {outside.accepted} frames; descriptors with a buffer:"
            f" {outside.filled:+d}"
            if outside.filled
            else f"frames that the driver took in between the looks: {outside.accepted}",
            "chance",
        )
    refused = "" if outside.refused is None else f"; refills that failed between the looks: {outside.refused}"
    builder.edge(
        source,
        _memory(builder),
        "to fill it needs",
        "observed" if nic.usable == 0 else "inferred",
        state + refused,
    )
    return source


def floor_of(zone: Zone) -> int:
    """Free pages that GFP_ATOMIC may not go below: 3/8 of the minimum (mm/page_alloc.c, 6.1)."""
    high = zone.minimum - zone.minimum // 2
    return high - high // 4


def _memory(builder: Builder) -> str:
    told = " and ".join(f"{z.free} free, floor {floor_of(z)}" for z in builder.snapshot.zones)
    words = f"memory above the floor of atomic allocations ({told})"
    source = builder.node("memory", "atomic", words, needs="any")
    if any(edge.source == source for edge in builder._edges):
        return source
    _free_now(builder, source)
    _fragments(builder, source)
    _held_by_sockets(builder, source)
    _reclaim(builder, source)
    return source


def _free_now(builder: Builder, source: str) -> None:
    outside = builder.outside
    zones = ", ".join(f"{z.name}: {z.free} free, floor {floor_of(z)}" for z in builder.snapshot.zones)
    above = any(zone.free > floor_of(zone) for zone in builder.snapshot.zones)
    if above or not builder.snapshot.zones or outside.samples_above_floor or not outside.samples:
        evidence = f"{zones}; {outside.samples_above_floor} of {outside.samples} samples were above the floor"
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
            f"fqdir.mem = {held} bytes, given back after 30 s at the latest",
            "chance",
        )


def _held_by_sockets(builder: Builder, source: str) -> None:
    """Packets in receive queues come back to memory when their readers read."""
    tasks = {task.pid: task for task in builder.snapshot.tasks}
    groups: dict[tuple[int, ...], list[Socket]] = {}
    for sock in builder.snapshot.sockets:
        if sock.receive_packets:
            groups.setdefault(tuple(sorted({*sock.readers, *sock.holders})), []).append(sock)
    for pids, socks in groups.items():
        held = sum(sock.receive_bytes for sock in socks)
        readers = [tasks[pid] for pid in pids if pid in tasks]
        names = ", ".join(dict.fromkeys(task.comm for task in readers)) or "nobody"
        words = f"{held >> 10} KiB of packets that wait in {len(socks)} sockets of {names}"
        queue = builder.node("queue", f"packets of {' '.join(map(str, pids))}", words, needs="any")
        packets = sum(sock.receive_packets for sock in socks)
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
    builder.edge(source, reclaim, "would come from", "inferred", "mm/vmscan.c frees pages for allocations")
    tasks = [task for task in builder.snapshot.tasks if task.comm.startswith(KSWAPD) or is_reclaiming(task)]
    for task in tasks:
        builder.edge(
            reclaim,
            task_node(builder, task),
            "is done by",
            "observed",
            "stack: " + " < ".join(task.stack[:6]),
        )
    clean = sum(builder.snapshot.memory_pages.get(name, 0) for name in ("inactive_file", "active_file"))
    clean -= builder.snapshot.memory_pages.get("dirty", 0) + builder.snapshot.memory_pages.get("writeback", 0)
    if clean > FEW_CLEAN_PAGES:
        builder.ends(
            reclaim,
            "clean",
            "whoever allocates next and drops clean pages",
            "may be done by",
            "inferred",
            f"{clean} pages of files are clean",
            "chance",
        )
    if not tasks:
        builder.ends(
            reclaim,
            "nobody",
            "nobody",
            "is done by",
            "observed",
            f"no task is in reclaim; kswapd_failures"
            f" {builder.snapshot.memory_pages.get('kswapd_failures', 0)}",
            "never",
        )


FEW_CLEAN_PAGES = 64
"""Of files in memory: under so many they are those just in use."""


def is_reclaiming(task: Task) -> bool:
    return any(name.partition(".")[0] in RECLAIMING for name in task.stack)


# --- tasks and locks


def task_node(builder: Builder, task: Task) -> str:
    return builder.node("task", f"{task.pid}", f"{task.comm} (pid {task.pid})")


def _task(builder: Builder, task: Task) -> None:
    source = task_node(builder, task)
    frames = " < ".join(task.stack[:5])
    if task.state == "R":
        builder.ends(source, f"runs {task.pid}", "the processor", "runs on", "observed", frames, "sure")
        return
    if task.waits is None:
        if task.comm.startswith(KSWAPD) and not is_reclaiming(task):
            _idle_kswapd(builder, source, frames)
            return
        builder.ends(source, f"sleeps {task.pid}", "something else", "sleeps for", "observed", frames, "sure")
        return
    WAITING[task.waits.kind](builder, source, task)


def _idle_kswapd(builder: Builder, source: str, frames: str) -> None:
    failures = builder.snapshot.memory_pages.get("kswapd_failures", 0)
    asleep_for_good = failures >= MAX_KSWAPD_FAILURES
    builder.ends(
        source,
        "wakeup",
        "somebody to wake it",
        "sleeps until there is",
        "observed",
        f"{frames}; kswapd_failures {failures}",
        "never" if asleep_for_good else "chance",
    )


def _waits_folio(builder: Builder, source: str, task: Task) -> None:
    assert task.waits is not None
    address = task.waits.address
    target = builder.node("folio", f"{address:#x}", "a page of memory")
    builder.edge(
        source,
        target,
        f"waits for its page ({task.waits.detail})",
        "observed",
        f"{task.waits.frame}: folio {address:#x}",
    )
    carriers = [r for r in builder.snapshot.requests if address in r.folios]
    for request in carriers:
        builder.edge(
            target,
            request_node(builder, request),
            "is being moved by",
            "observed",
            f"the request's own list of pages names folio {address:#x}",
        )
    if carriers:
        return
    for other in builder.snapshot.tasks:
        on_its_way = other.waits is not None and other.waits.kind in ("tag", "queue")
        if on_its_way and any(name.partition(".")[0] in SUBMITTING for name in other.stack):
            builder.edge(
                target,
                task_node(builder, other),
                "is held by one of those who submit",
                "inferred",
                "no request carries it yet; " + " < ".join(other.stack[:5]),
            )
    if not any(edge.source == target for edge in builder._edges):
        builder.ends(target, "unknown", "something not found", "waits for", "inferred", "no request", "sure")


def _waits_bio(builder: Builder, source: str, task: Task) -> None:
    carriers = [request for request in builder.snapshot.requests if task.pid in request.waiters]
    for request in carriers:
        builder.edge(
            source,
            request_node(builder, request),
            "waits for its own",
            "observed",
            f"bi_private of the request's bio is task {task.pid}",
        )
    if not carriers:
        builder.ends(
            source, f"bio {task.pid}", "a request that was not found", "waits for", "inferred", "", "sure"
        )


def _waits_lock(builder: Builder, source: str, task: Task) -> None:
    assert task.waits is not None
    if not task.waits.address:
        builder.ends(source, "a lock", "a lock that was not found", "waits for", "inferred", "", "sure")
        return
    target = _lock(builder, task.waits.address)
    builder.edge(source, target, "waits for", "observed", f"{task.waits.frame}: {task.waits.address:#x}")


def _lock(builder: Builder, address: int) -> str:
    lock = next((lock for lock in builder.snapshot.locks if lock.address == address), None)
    kind = lock.kind if lock else "lock"
    target = builder.node("lock", f"{address:#x}", f"the {kind} {(lock and lock.name) or hex(address)}")
    if any(edge.source == target for edge in builder._edges):
        return target
    owner = next((t for t in builder.snapshot.tasks if lock and t.pid == lock.owner), None)
    if owner is None:
        builder.ends(
            target, "owner", "an owner that was not found", "is held by", "inferred", "owner unknown", "sure"
        )
    else:
        builder.edge(target, task_node(builder, owner), "is held by", "observed", f"owner = pid {owner.pid}")
    return target


def _waits_tag(builder: Builder, source: str, task: Task) -> None:
    assert task.waits is not None
    device = task.waits.detail
    ours = [r for r in builder.snapshot.requests if r.device == device or not device]
    words = f"a free request of {device or 'its device'}"
    target = builder.node("queue", f"tags of {device}", words, needs="any")
    how = "observed" if device else "inferred"
    builder.edge(source, target, "waits for", how, f"{task.waits.frame}; {len(ours)} are in flight")
    if any(edge.source == target for edge in builder._edges):
        return
    for request in ours:
        builder.edge(
            target,
            request_node(builder, request),
            "is given back by",
            "observed",
            f"tag {request.tag} is busy",
        )
    if not ours:
        builder.ends(target, "tags", "the block layer", "waits for", "inferred", "no request", "sure")


def _waits_pool(builder: Builder, source: str, task: Task) -> None:
    """mm/mempool.c: an element comes back when a request that used one is done, or is made anew."""
    target = builder.node("queue", "pool", "an element of a memory pool", needs="any")
    evidence = " < ".join(task.stack[:5])
    builder.edge(source, target, "waits for", "observed", evidence)
    if any(edge.source == target for edge in builder._edges):
        return
    for request in builder.snapshot.requests:
        builder.edge(
            target,
            request_node(builder, request),
            "is given back after",
            "inferred",
            f"requests in flight hold the pool's elements: {len(builder.snapshot.requests)}",
        )
    builder.edge(target, _memory(builder), "is made anew from", "inferred", "mempool_alloc tries every 5 s")


def _waits_socket(builder: Builder, source: str, task: Task) -> None:
    assert task.waits is not None
    sock = next((s for s in builder.snapshot.sockets if s.address == task.waits.address), None)
    if sock is None:
        builder.ends(source, f"sleeps {task.pid}", "its peer", "sleeps for", "observed", "", "sure")
        return
    builder.edge(source, _socket(builder, sock), "waits for", "observed", f"{task.waits.frame}: sk")


def _waits_memory(builder: Builder, source: str, task: Task) -> None:
    assert task.waits is not None
    throttled = task.waits.frame.startswith("throttle_direct_reclaim")
    verb = "is throttled until there is" if throttled else "tries again for"
    builder.edge(source, _memory(builder), verb, "observed", f"{task.waits.frame}")


def _waits_writeback(builder: Builder, source: str, task: Task) -> None:
    assert task.waits is not None
    _waits_tag(builder, source, task)


WAITING = {
    "folio": _waits_folio,
    "bio": _waits_bio,
    "mutex": _waits_lock,
    "rwsem": _waits_lock,
    "tag": _waits_tag,
    "queue": _waits_tag,
    "pool": _waits_pool,
    "socket": _waits_socket,
    "memory": _waits_memory,
    "writeback": _waits_writeback,
}
