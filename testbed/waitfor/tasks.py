"""Owns the edges of tasks and locks: who sleeps for what, by the function that it sleeps in."""

from __future__ import annotations

from itertools import takewhile

from testbed.snapshot import Task
from testbed.waitfor.builder import Builder, request_node, task_node
from testbed.waitfor.requests import add_socket, answered_by
from testbed.waitfor.supply import KSWAPD, Whose, idle_kswapd, is_reclaiming, memory

SUBMITTING = (
    "swap_writepage", "swap_writeout", "swap_readpage", "swap_read_folio", "submit_bio", "submit_bio_noacct",
)  # fmt: skip
"""mm/page_io.c, block/blk-core.c: who has one of these on the stack is on its way to a request."""
PLAIN = ("wait_woken", "blk_io_schedule", "freezable_schedule")
"""And whatever begins with schedule or io_schedule: between these and the scheduler nobody waits for more."""
FLUSHING = ("wb_workfn", "wb_writeback")
"""fs/fs-writeback.c: who has one of these on the stack is a flusher."""


def add_task(builder: Builder, task: Task) -> None:
    source = task_node(builder, task)
    frames = " < ".join(task.stack[:5])
    if task.state == "R":
        builder.ends(source, f"runs {task.pid}", "the processor", "runs on", "observed", frames, "sure")
        return
    if task.waits is None:
        if task.comm.startswith(KSWAPD) and not is_reclaiming(task):
            idle_kswapd(builder, source, "sleeps until there is", frames)
            return
        builder.ends(source, f"sleeps {task.pid}", "something else", "sleeps for", "observed", frames, "sure")
        return
    if not _sleeps_there(task):
        builder.ends(
            source, f"sleeps {task.pid}", "something further in", "sleeps for", "observed", frames, "sure"
        )
        return
    WAITING[task.waits.kind](builder, source, task)


def _sleeps_there(task: Task) -> bool:
    """Whether the task sleeps in the function that was told, and not in something that it called.

    An allocation that drains other processors' lists, or runs a shrinker, may sleep for work or for a file
    system's log: it is not memory then that it waits for.
    """
    assert task.waits is not None
    where = task.waits.frame
    inner = (name.partition(".")[0] for name in takewhile(lambda name: name != where, task.stack))
    return all(name in PLAIN or name.startswith(("schedule", "io_schedule")) for name in inner)


def _waits_folio(builder: Builder, source: str, task: Task) -> None:
    assert task.waits is not None
    address = task.waits.address
    target = builder.node("folio", f"{address:#x}", "a page of memory", needs="any")
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
    if not builder.has_edges(target):
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
    target = add_lock(builder, task.waits.address)
    builder.edge(source, target, "waits for", "observed", f"{task.waits.frame}: {task.waits.address:#x}")


def add_lock(builder: Builder, address: int) -> str:
    lock = next((lock for lock in builder.snapshot.locks if lock.address == address), None)
    kind = lock.kind if lock else "lock"
    target = builder.node("lock", f"{address:#x}", f"the {kind} {(lock and lock.name) or hex(address)}")
    if builder.has_edges(target):
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
    if builder.has_edges(target):
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


def _waits_writeback(builder: Builder, source: str, task: Task) -> None:
    """mm/page-writeback.c, balance_dirty_pages(): until some were written, by a request or the flusher."""
    assert task.waits is not None
    target = builder.node("queue", "dirty pages", "dirty pages to become fewer", needs="any")
    builder.edge(source, target, "waits for", "observed", task.waits.frame)
    if builder.has_edges(target):
        return
    for request in builder.snapshot.requests:
        if request.operation != "read":
            words = f"tag {request.tag} is busy with a {request.operation}"
            builder.edge(target, request_node(builder, request), "are written by", "observed", words)
    flushers = [each for each in builder.snapshot.tasks if any(name in FLUSHING for name in each.stack)]
    for flusher in flushers:
        frames = " < ".join(flusher.stack[:5])
        builder.edge(target, task_node(builder, flusher), "are written by", "observed", frames)
    if not flushers:
        evidence = "no task is in wb_workfn"
        builder.ends(target, "flusher", "the flusher", "are written by", "observed", evidence, "chance")


def _waits_pool(builder: Builder, source: str, task: Task) -> None:
    """mm/mempool.c: an element comes back when a request that used one is done, or is made anew.

    mempool_alloc() never takes the reserve for it (__GFP_NOMEMALLOC), whoever asks.
    """
    target = builder.node("queue", "pool", "an element of a memory pool", needs="any")
    evidence = " < ".join(task.stack[:5])
    builder.edge(source, target, "waits for", "observed", evidence)
    if builder.has_edges(target):
        return
    for request in builder.snapshot.requests:
        builder.edge(
            target,
            request_node(builder, request),
            "is given back after",
            "inferred",
            f"requests in flight hold the pool's elements: {len(builder.snapshot.requests)}",
        )
    builder.edge(
        target, memory(builder, "process"), "is made anew from", "inferred", "mempool_alloc tries every 5 s"
    )


def _waits_socket(builder: Builder, source: str, task: Task) -> None:
    assert task.waits is not None
    sock = next((s for s in builder.snapshot.sockets if s.address == task.waits.address), None)
    if sock is None:
        builder.ends(source, f"sleeps {task.pid}", "its peer", "sleeps for", "observed", "", "sure")
        return
    builder.edge(source, add_socket(builder, sock), "waits for", "observed", f"{task.waits.frame}: sk")


def _waits_turn(builder: Builder, source: str, kswapd: list[Task]) -> None:
    """A killable sleep, which kswapd alone ends, however much is free (6.1, mm/vmscan.c, pfmemalloc_wait).

    Who may not enter the file system sleeps interruptibly, and for a second at most.
    """
    target = builder.node("queue", "a turn in reclaim", "a turn in reclaim", needs="any")
    builder.edge(source, target, "waits for", "observed", "throttle_direct_reclaim, state D")
    if builder.has_edges(target):
        return
    for other in kswapd:
        evidence = f"only kswapd wakes pfmemalloc_wait; it is at {' < '.join(other.stack[:5])}"
        builder.edge(target, task_node(builder, other), "is given by", "inferred", evidence)


def _waits_memory(builder: Builder, source: str, task: Task) -> None:
    assert task.waits is not None
    throttled = task.waits.frame.startswith("throttle_direct_reclaim")
    kswapd = [other for other in builder.snapshot.tasks if other.comm.startswith(KSWAPD)]
    if throttled and task.state == "D" and kswapd:
        _waits_turn(builder, source, kswapd)
        return
    verb = "is throttled until there is" if throttled else "tries again for"
    of: Whose = "throttle" if throttled else "atomic"
    builder.edge(source, memory(builder, of), verb, "observed", f"{task.waits.frame}")


def _waits_fuse(builder: Builder, source: str, task: Task) -> None:
    serving = [other for other in builder.snapshot.tasks if other.serves_fuse]
    answered_by(builder, source, "FUSE", serving, " < ".join(task.stack[:5]))


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
    "fuse": _waits_fuse,
}
