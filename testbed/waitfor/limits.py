"""Owns the edges of TCP's limit over all sockets (net.ipv4.tcp_mem): who is refused, and who is charged.

What a socket takes in or sends is charged to TCP as a whole; over tcp_mem[2] the charge is refused, however
much memory is free (Linux 6.1, net/core/sock.c, __sk_mem_raise_allocated()), and a segment that came in order
is dropped and counted in sk_drops (net/ipv4/tcp_input.c, tcp_data_queue()).
"""

from __future__ import annotations

from testbed.snapshot import Limit, Snapshot
from testbed.waitfor.builder import Builder
from testbed.waitfor.supply import held_by_sockets

LEAST_DROPS = 2
"""Segments that must have been dropped: one alone may have come twice, or out of the window."""


def dropped_at_the_limit(first: Snapshot, second: Snapshot) -> dict[int, int]:
    """By socket's address how many segments were dropped between two looks, if TCP was at its limit in both.

    A socket that has something to be read is left out: its own limit may have refused them.
    """
    if not all(is_reached(look) for look in (first, second)):
        return {}
    before = {sock.address: sock for sock in first.sockets}
    found = {}
    for sock in second.sockets:
        earlier = before.get(sock.address)
        if sock.protocol == "tcp" and earlier and not earlier.receive_packets and not sock.receive_packets:
            found[sock.address] = sock.dropped - earlier.dropped
    return {address: drops for address, drops in found.items() if drops >= LEAST_DROPS}


def is_reached(snapshot: Snapshot) -> bool:
    limit = _tcp(snapshot)
    return limit is not None and limit.pages >= limit.limits[2]


def tcp_memory(builder: Builder) -> str:
    """Room within the limit: it comes back from what is read, and from what is sent and acknowledged."""
    limit = _tcp(builder.snapshot)
    told = f"{limit.pages} pages are charged, the limit is {limit.limits[2]}" if limit else "not read"
    source = builder.node("memory", "tcp", f"room within TCP's limit ({told})", needs="any")
    if builder.has_edges(source):
        return source
    if not is_reached(builder.snapshot):
        builder.ends(source, "room", "room that is left", "is there:", "observed", told, "sure")
    socks = [sock for sock in builder.snapshot.sockets if sock.protocol == "tcp"]
    held_by_sockets(builder, source, socks, what="segments")
    for sock in socks:
        if sock.send_bytes:
            builder.ends(
                source,
                f"peer {sock.remote}",
                f"an acknowledgment of {sock.remote}",
                "may come from",
                "observed",
                f"sk_wmem_queued of {sock.local} is {sock.send_bytes} bytes",
                "chance",
            )
    if not builder.has_edges(source):
        builder.ends(source, "charged", "who is charged for it", "is with", "observed", told, "sure")
    return source


def _tcp(snapshot: Snapshot) -> Limit | None:
    return next((limit for limit in snapshot.limits if limit.protocol == "tcp"), None)
