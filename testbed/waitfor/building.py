"""Owns the making of the graph: every request, task and lock of a look, each by its own rules."""

from __future__ import annotations

from testbed.snapshot import Snapshot
from testbed.waitfor.builder import Builder, Outside
from testbed.waitfor.graph import Graph
from testbed.waitfor.requests import add_request
from testbed.waitfor.tasks import add_lock, add_task

LARGEST_TABLE = 4000
"""Nodes of one kind, as many as a look reads. Mostly there are some dozens, but swap over NFS had 1,068
requests on their way in 96 MiB: only memory bounds them, and 65,536 slots (6.1, net/sunrpc/xprtsock.c,
xprt_max_tcp_slot_table_entries)."""


def build(snapshot: Snapshot, outside: Outside) -> Graph:
    """The wait-for graph of one look, with what the host saw since the last one."""
    builder = Builder(snapshot, outside)
    for request in snapshot.requests[:LARGEST_TABLE]:
        add_request(builder, request)
    for task in snapshot.tasks[:LARGEST_TABLE]:
        add_task(builder, task)
    for lock in snapshot.locks[:LARGEST_TABLE]:
        add_lock(builder, lock.address)
    return builder.graph()
