"""Owns the edges of requests: each waits for its reply, and the reply for who sends it and for a buffer."""

from __future__ import annotations

from testbed.snapshot import Request, Socket
from testbed.waitfor.builder import Builder, request_node, task_node
from testbed.waitfor.limits import tcp_memory
from testbed.waitfor.supply import buffers, memory

CARRIED_BY = {
    "nbd": "nbd_cmd.index -> nbd_config.socks[].sock.sk",
    "nvme": "nvme_tcp_request.queue -> nvme_tcp_queue.sock.sk",
    "sd": "scsi_cmnd.device.host -> iscsi_session.leadconn -> iscsi_sw_tcp_conn.sock.sk",
    "": "rpc_rqst.rq_xprt -> sock_xprt.inet",
}
"""By the beginning of a device's name: the fields that lead from a request to its socket (introspection)."""
LEAST_ANSWERS = 2
"""Frames of the swap connection that must have been offered: one alone may have been lost by chance."""
LEAST_FIRINGS = 2
"""Times that a connection must have tried to send again: once may have failed by chance."""


def tried_in_vain(first: Socket, second: Socket) -> int:
    """How often this connection's timer fired between the looks, if it could send nothing: else 0.

    __tcp_retransmit_skb() (Linux 6.1 to 7.3, net/ipv4/tcp_output.c) counts what it sends in total_retrans. It
    returns before that when the last copy still lies with the driver (no matter of memory), and when the head
    of the queue is longer than the one segment it may send, and tcp_fragment() finds no memory to split it.
    """
    fired = second.retransmits - first.retransmits
    silent = second.resent_segments is not None and second.resent_segments == first.resent_segments
    to_split = all((sock.head_segments or 0) > 1 and sock.head_at_driver is False for sock in (first, second))
    return fired if silent and to_split and fired >= LEAST_FIRINGS else 0


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
    path = next(path for prefix, path in CARRIED_BY.items() if request.device.startswith(prefix))
    builder.edge(source, target, "waits for its reply on", "observed", f"{path} = {sock.address:#x}")


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
            f"icsk_retransmit_timer is due in {(sock.retransmit_in_ms or 0) / 1000:.1f} s"
            if sock.protocol == "tcp"
            else "rpc_task.tk_timeout of a request that it carries is still to come",
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
    fired = outside.mute.get(sock.address)
    if fired:
        builder.edge(
            source,
            memory(builder),
            "can send nothing again without",
            "inferred",
            f"between the looks its timer fired {fired} times (icsk_retransmits), and total_retrans stayed at"
            f" {sock.resent_segments}; what is to be sent again has {sock.head_segments} segments and"
            " does not lie with the driver: tcp_fragment() has to split it, with GFP_ATOMIC",
        )
    dropped = outside.dropped.get(sock.address)
    if dropped:
        builder.edge(
            source,
            tcp_memory(builder),
            "can take no reply in without",
            "inferred",
            f"between the looks {dropped} segments for it were dropped (sk_drops), with nothing in its queue"
            " and TCP over tcp_mem[2] in both: tcp_data_queue() finds no room to charge them to",
        )
    own = sock.local.rpartition(":")[0]
    for nic in builder.snapshot.nics:
        if nic.ring is not None and (own in nic.addresses or not nic.addresses):
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
