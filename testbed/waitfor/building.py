"""Owns the making of the graph: every request, task and lock of a look, each by its own rules."""

from __future__ import annotations

from testbed.snapshot import Snapshot
from testbed.waitfor.builder import Builder, Outside
from testbed.waitfor.graph import Graph
from testbed.waitfor.requests import add_request
from testbed.waitfor.tasks import add_lock, add_task


def build(snapshot: Snapshot, outside: Outside) -> Graph:
    """The wait-for graph of one look, with what the host saw since the last one."""
    builder = Builder(snapshot, outside)
    for request in snapshot.requests:
        add_request(builder, request)
    for task in snapshot.tasks:
        add_task(builder, task)
    for lock in snapshot.locks:
        add_lock(builder, lock.address)
    return builder.graph()
