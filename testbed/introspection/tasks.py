"""Owns reading the tasks: who sleeps where, for what, and who holds the locks that others wait for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import dropwhile
from typing import Any

import drgn
from drgn.helpers.linux.fs import for_each_file
from drgn.helpers.linux.mm import compound_head
from drgn.helpers.linux.pid import for_each_task
from drgn.helpers.linux.sched import task_state_to_char

from testbed.introspection.reading import UNREADABLE, Reading, number, text
from testbed.snapshot import MAX_FRAMES, Lock, Task, Wait, WaitKind

PF_MEMALLOC = 0x800
PF_KTHREAD = 0x200000
"""include/linux/sched.h, the same from 5.10 to 6.12."""
MAX_FILES = 512

# The innermost function that matches names what is waited for: kind and, if a variable of that frame
# points at the object, its name. Linux 6.1; functions of other versions stand beside them.
WAITS: dict[str, tuple[WaitKind, tuple[str, ...]]] = {
    "folio_wait_bit_common": ("folio", ("wait_page",)),  # mm/filemap.c
    "wait_on_page_bit_common": ("folio", ("wait_page",)),  # the same, 5.10
    "swap_readpage": ("bio", ()),  # mm/page_io.c: waits for its own read
    "swap_read_folio": ("bio", ()),  # the same, 6.8
    "mempool_alloc": ("pool", ()),  # mm/mempool.c: tries again every 5 s
    "mempool_alloc_from_pool": ("pool", ()),  # the same, 7.3
    "__mutex_lock": ("mutex", ("lock",)),  # kernel/locking/mutex.c
    "__mutex_lock_common": ("mutex", ("lock",)),
    "__mutex_lock_slowpath": ("mutex", ("lock",)),
    "rwsem_down_read_slowpath": ("rwsem", ("sem",)),  # kernel/locking/rwsem.c
    "rwsem_down_write_slowpath": ("rwsem", ("sem",)),
    "blk_mq_get_tag": ("tag", ("data",)),  # block/blk-mq-tag.c
    "rq_qos_wait": ("queue", ()),  # block/blk-rq-qos.c: writeback throttling
    "bio_throttle_wait": ("queue", ("q",)),  # block/blk-bio-throttle.c of the patch set bio-throttle
    "sk_stream_wait_memory": ("socket", ("sk",)),  # net/core/stream.c
    "sk_wait_data": ("socket", ("sk",)),  # net/core/sock.c
    "unix_stream_data_wait": ("socket", ("sk",)),  # net/unix/af_unix.c
    "sock_wait_for_wmem": ("socket", ("sk",)),  # net/core/sock.c: room of the peer's queue
    "__skb_wait_for_more_packets": ("socket", ("sk",)),  # net/core/datagram.c
    "inet_csk_wait_for_connect": ("socket", ("sk",)),  # net/ipv4/inet_connection_sock.c
    "throttle_direct_reclaim": ("memory", ()),  # mm/vmscan.c
    "reclaim_throttle": ("memory", ()),
    "congestion_wait": ("memory", ()),  # mm/backing-dev.c, until 5.15
    "__alloc_pages_slowpath": ("memory", ()),  # mm/page_alloc.c, between two tries
    "balance_dirty_pages": ("writeback", ()),  # mm/page-writeback.c
    "request_wait_answer": ("fuse", ()),  # fs/fuse/dev.c
}
NOT_PROFILED = "_noprof"
"""Since 6.10 what allocates is a macro around a function of this name (include/linux/alloc_tag.h)."""
SCHEDULER = ("context_switch", "__schedule", "__schedule_loop", "schedule", "__switch_to", "__switch_to_asm")
"""kernel/sched/core.c; __schedule_loop since 6.7."""
Frames = tuple[tuple[str, Any], ...]

LOCKS: dict[str, str] = {"mutex": "struct mutex", "rwsem": "struct rw_semaphore"}


@dataclass(frozen=True)
class Seen:
    """Tasks that are not idle, locks that are waited for, how many were left out; all pids by address."""

    tasks: tuple[Task, ...]
    locks: tuple[Lock, ...]
    idle: int
    pids: dict[int, int]


def read_tasks(reading: Reading) -> Seen:
    """Every task that runs, blocks, or sleeps for something that is known here."""
    found: list[Task] = []
    locks: dict[int, Lock] = {}
    pids: dict[int, int] = {}
    idle = 0
    for task in reading.each("tasks", for_each_task, reading.prog):
        pids[number(task)] = reading.get("a pid", 0, lambda task: number(task.pid), task)
        one = reading.get("a task", None, _task, reading, task, locks)
        if one is None or (one.state in ("S", "I") and one.waits is None and not _serves(one)):
            idle += 1
        else:
            found.append(one)
    return Seen(tuple(found), tuple(locks.values()), idle, pids)


def _serves(task: Task) -> bool:
    return bool(task.holds_sockets) or task.serves_fuse or task.serves_ublk


def _task(reading: Reading, task: Any, locks: dict[int, Lock]) -> Task:
    state = task_state_to_char(task)
    flags = number(task.flags)
    pid, comm = number(task.pid), text(task.comm)
    none: Frames = ()
    frames = reading.get(f"stack of {comm}", none, _frames, reading.prog, task)
    waits = None if state in ("R", "I", "X", "Z") else _wait(reading, frames)
    if waits is not None and waits.kind in LOCKS and waits.address:
        _add_waiter(reading, locks, waits, pid)
    return Task(
        pid=pid,
        comm=comm,
        state=state,
        kthread=bool(flags & PF_KTHREAD),
        pf_memalloc=bool(flags & PF_MEMALLOC),
        stack=tuple((name or "?")[:120] for name, _ in frames),
        waits=waits,
        holds_sockets=() if flags & PF_KTHREAD else tuple(_sockets(reading, task)),
        serves_fuse=not flags & PF_KTHREAD and any(_files(reading, task, "fuse_dev_operations")),
        serves_ublk=not flags & PF_KTHREAD and any(_files(reading, task, "ublk_ch_fops")),
    )


def _frames(prog: drgn.Program, task: Any) -> Frames:
    """Function and frame, innermost first, without the scheduler's own."""
    trace = prog.stack_trace(task)
    frames = [(frame.name, frame) for frame in list(trace)[:MAX_FRAMES]]
    return tuple(dropwhile(lambda frame: frame[0] in SCHEDULER, frames))


def _wait(reading: Reading, frames: Frames) -> Wait | None:
    for name, frame in frames:
        known = WAITS.get(name.partition(".")[0].removesuffix(NOT_PROFILED) if name else "")
        if known is None:
            continue
        kind, variables = known
        nothing = (0, "")
        address, detail = nothing
        for variable in variables:
            address, detail = reading.get(
                f"{name}: {variable}", nothing, _object, reading.prog, frame, kind, variable
            )
        if not address and kind in LOCKS:
            address = reading.get(f"{name}: waiter", 0, _lock_of_waiter, reading.prog, frame, kind)
        return Wait(kind=kind, address=address, detail=detail, frame=name[:120])
    return None


def _object(prog: drgn.Program, frame: Any, kind: str, variable: str) -> tuple[int, str]:
    """The address of what the frame's variable leads to, and a word on it."""
    value = frame[variable]
    if variable == "wait_page":
        bit = number(value.bit_nr)
        names = {number(prog["PG_locked"]): "locked", number(prog["PG_writeback"]): "writeback"}
        older = not value.type_.has_member("folio")  # struct wait_page_queue until 5.15
        folio = compound_head(value.page) if older else value.folio
        return number(folio), names.get(bit, f"bit {bit}")
    if kind in ("tag", "queue"):
        return number(value.q if kind == "tag" else value), ""
    return number(value), ""


def _lock_of_waiter(prog: drgn.Program, frame: Any, kind: str) -> int:
    """The lock whose list the waiter on this frame's stack is on, where the lock itself is optimized away.

    The list's head lies within the lock; every other entry within a waiter on some stack. The head is
    told by what precedes it: the owner of a lock is a task.
    """
    waiter = frame["waiter"]
    lock_type = prog.type(LOCKS[kind])
    offset = drgn.offsetof(lock_type, "wait_list")
    tasks = {number(task) for task in for_each_task(prog)}
    node = waiter.list.next
    for _ in range(1000):
        lock = drgn.Object(prog, prog.pointer_type(lock_type), value=number(node) - offset)
        owner = number(lock.owner.counter) & ~7
        if owner in tasks:
            return number(lock)
        node = node.next
    return 0


def _add_waiter(reading: Reading, locks: dict[int, Lock], wait: Wait, pid: int) -> None:
    known = locks.get(wait.address)
    if known is None:
        kind = "mutex" if wait.kind == "mutex" else "rwsem"
        owner = reading.get("owner of a lock", None, _owner, reading.prog, wait)
        name = reading.get("name of a lock", "", _symbol, reading.prog, wait.address)
        known = Lock(address=wait.address, kind=kind, name=name, owner=owner)  # type: ignore[arg-type]
    locks[wait.address] = known.model_copy(update={"waiters": (*known.waiters, pid)})


def _owner(prog: drgn.Program, wait: Wait) -> int | None:
    lock = drgn.Object(prog, prog.pointer_type(prog.type(LOCKS[wait.kind])), value=wait.address)
    owner = number(lock.owner.counter)
    if wait.kind == "rwsem" and owner & 1:
        return None  # RWSEM_READER_OWNED: the last reader, maybe long gone
    task = owner & ~7
    if not task:
        return None
    return number(drgn.Object(prog, "struct task_struct *", value=task).pid)


def _symbol(prog: drgn.Program, address: int) -> str:
    try:
        return str(prog.symbol(address).name)[:120]
    except LookupError:
        return ""


def _sockets(reading: Reading, task: Any) -> Iterator[int]:
    """Addresses of the `struct sock` that the task has open."""
    for file in _files(reading, task, "socket_file_ops"):
        try:
            socket = drgn.Object(reading.prog, "struct socket *", value=number(file.private_data))
            yield number(socket.sk)
        except UNREADABLE as error:
            reading.note("a socket's file", error)


def _files(reading: Reading, task: Any, operations: str) -> Iterator[Any]:
    """The task's open files that have these operations; none if this kernel has no such files."""
    if not reading.has(operations):
        return
    wanted = reading.get(operations, -1, lambda: number(reading.prog[operations].address_of_()))
    for _, file in reading.each("open files", for_each_file, task, most=MAX_FILES):
        if reading.get("a file's operations", 0, lambda file: number(file.f_op), file) == wanted:
            yield file
