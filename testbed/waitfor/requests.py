"""Owns the edges of requests: each waits for its reply, and the reply for who sends it and for a buffer."""

from __future__ import annotations

from testbed.snapshot import Request, Socket
from testbed.waitfor.builder import Builder, request_node, task_node
from testbed.waitfor.supply import buffers

LEAST_ANSWERS = 2
"""Frames of the swap connection that must have been offered: one alone may have been lost by chance."""


def add_request(builder: Builder, request: Request) -> None:
    source = request_node(builder, request)
    if request.orphaned:
        builder.ends(
            source,
            f"connection {request.device}",
            f"a connection that {request.device}'s driver has given up",
            "was sent on",
            "observed",
            "nbd_sock.dead is set for its nbd_cmd.index; nbd_config.live_connections is 0",
            "never",
        )
        return
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
    target = add_socket(builder, sock)
    field_ = (
        "nbd_cmd.index -> nbd_config.socks[].sock.sk"
        if request.device.startswith("nbd")
        else "rpc_rqst.rq_xprt -> sock_xprt.inet"
    )
    builder.edge(source, target, "waits for its reply on", "observed", f"{field_} = {sock.address:#x}")


def add_socket(builder: Builder, sock: Socket) -> str:
    """The connection: its replies need to be sent (the outside's part) and a buffer to arrive in."""
    words = f"the {sock.protocol.upper()} connection {sock.local} to {sock.remote}"
    source = builder.node("socket", f"{sock.local}-{sock.remote}", words)
    if builder.has_edges(source):
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
                buffers(builder, nic.name),
                "needs for any reply a receive buffer of the NIC",
                "inferred",
                f"{outside.answers} frames of this connection were offered to the NIC",
            )
    return source


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
