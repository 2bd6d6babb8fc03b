"""Owns reading NFS requests: RPC tasks that have been sent or wait to be, with their pages and socket."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import drgn
from drgn.helpers.linux.list import list_for_each_entry
from drgn.helpers.linux.mm import compound_head
from drgn.helpers.linux.timekeeping import ktime_get_coarse_ns, ktime_to_ns

from testbed.introspection.reading import Reading, number, text
from testbed.introspection.slots import slots_of
from testbed.introspection.sockets import ticks_a_second
from testbed.snapshot import Request

DEVICE = "nfs"
DATA = ("READ", "WRITE")
"""Procedures whose call data is a `struct nfs_pgio_header` (fs/nfs/nfs3xdr.c, nfs4xdr.c: their names)."""
MOST_PAGES = 512
IPPROTO_UDP = 17


def read_calls(reading: Reading) -> tuple[Request, ...]:
    """Every RPC task of every client; `tag` numbers them, `sector` is the transaction's id."""
    if not reading.has("sunrpc_net_id"):
        return ()
    now_ns = reading.get("ktime", 0, lambda: number(ktime_get_coarse_ns(reading.prog)))
    jiffies = reading.get("jiffies", 0, lambda: number(reading.prog["jiffies"]))
    hz = ticks_a_second(reading)
    found: list[Request] = []
    for client in reading.each("RPC clients", _clients, reading.prog, most=64):
        for task in reading.each("RPC tasks", _tasks, client):
            one = reading.get("an RPC task", None, _call, reading, task, now_ns)
            if one is not None:
                due = reading.get("an RPC's timer", 0, _sent_again, task)
                again_in_ms = (due - jiffies) * 1000 // hz if due else None
                found.append(one.model_copy(update={"tag": len(found), "again_in_ms": again_in_ms}))
    return tuple(found)


def _clients(prog: drgn.Program) -> Iterator[Any]:
    """net/sunrpc/netns.h: the network namespace's own list."""
    slot = prog["init_net"].gen.ptr[prog["sunrpc_net_id"]]
    mine = drgn.cast("struct sunrpc_net *", slot)
    return list_for_each_entry("struct rpc_clnt", mine.all_clients.address_of_(), "cl_clients")


def _tasks(client: Any) -> Iterator[Any]:
    return list_for_each_entry("struct rpc_task", client.cl_tasks.address_of_(), "tk_task")


def _call(reading: Reading, task: Any, now_ns: int) -> Request:
    name = reading.get("an RPC's name", "?", lambda: text(task.tk_msg.rpc_proc.p_name))
    started_ns = reading.get("an RPC's start", 0, lambda: number(ktime_to_ns(task.tk_start)))
    pages = tuple(_pages(reading, task)) if name in DATA else ()
    return Request(
        address=number(task),
        device=DEVICE,
        tag=0,
        operation=name.lower(),
        sector=reading.get("an RPC's id", 0, lambda: number(task.tk_rqstp.rq_xid)) if task.tk_rqstp else 0,
        size_bytes=len(pages) << 12,
        age_ms=max(0, now_ns - started_ns) // 1_000_000 if started_ns and now_ns else None,
        socket=reading.get("an RPC's socket", 0, _socket, task),
        folios=pages,
        swap_slots=slots_of(reading, pages),
    )


def _socket(task: Any) -> int:
    """net/sunrpc/xprtsock.c: the transport is the first member of its `struct sock_xprt`."""
    transport = task.tk_rqstp.rq_xprt if task.tk_rqstp else task.tk_xprt
    if not transport:
        return 0
    return number(drgn.cast("struct sock_xprt *", transport).inet)


def _sent_again(task: Any) -> int:
    """At which jiffy it is sent again over UDP; 0 without a timer. Over TCP that is the connection's affair.

    net/sunrpc/sched.c (6.1), __rpc_add_timer(): tk_timeout is when the task is woken, 0 if it does not wait.
    """
    transport = task.tk_rqstp.rq_xprt if task.tk_rqstp else task.tk_xprt
    return number(task.tk_timeout) if transport and number(transport.prot) == IPPROTO_UDP else 0


def _pages(reading: Reading, task: Any) -> Iterator[int]:
    header = drgn.cast("struct nfs_pgio_header *", task.tk_calldata)
    count = reading.get("an RPC's pages", 0, lambda: number(header.page_array.npages))
    for index in range(min(count, MOST_PAGES)):
        page = reading.get("an RPC's page", None, lambda index: header.page_array.pagevec[index], index)
        if page is not None:
            yield number(compound_head(page))
