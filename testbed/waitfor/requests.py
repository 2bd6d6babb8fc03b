"""Owns the edges of requests: each waits for its reply, and the reply for who sends it and for a buffer."""

from __future__ import annotations

from testbed.snapshot import Nic, Request, Socket, Task
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
REPLACED_BY = {
    "nfs": (
        "sunrpc",
        "net/sunrpc/xprtsock.c (6.1), xs_tcp_set_socket_timeouts() sets a TCP_USER_TIMEOUT, and one that is"
        " not made yet ends with tcp_syn_retries",
    ),
    "nvme": ("the NVMe host", "drivers/nvme/host/tcp.c (6.1), nvme_tcp_error_recovery_work()"),
    "sd": (
        "iscsid",
        "drivers/scsi/libiscsi.c (6.1), iscsi_check_transport_timeouts() ends one that answers no ping",
    ),
}
"""Who gives a connection up and makes another, by the beginning of a device's name. What the old one had to
send is free then, as its socket is: that can be all that lacks. NBD makes none (drivers/block/nbd.c, 6.1)."""
LEAST_ANSWERS = 2
"""Frames of the swap connection that must have been offered: one alone may have been lost by chance."""
LEAST_FIRINGS = 2
"""Times that a connection must have tried to send again: once may have failed by chance."""
LONGEST_TIMEOUT_S = 120.0
"""TCP_RTO_MAX (include/net/tcp.h, 5.10 to 7.3): whoever has anything unacknowledged sends it that often."""


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
    if request.device.startswith("loop"):
        _carried_out(builder, source, request)
        return
    if request.device.startswith("ublk"):
        serving = [task for task in builder.snapshot.tasks if task.serves_ublk]
        answered_by(builder, source, "ublk", serving, "a request of ublk is its daemon's (ublk_queue_rq)")
        return
    sock = next((s for s in builder.snapshot.sockets if s.address == request.socket), None)
    if sock is None:
        _without_connection(builder, request, source)
        return
    target = _or_another(builder, request, sock, add_socket(builder, sock))
    path = next(path for prefix, path in CARRIED_BY.items() if request.device.startswith(prefix))
    builder.edge(source, target, "waits for its reply on", "observed", f"{path} = {sock.address:#x}")


def _or_another(builder: Builder, request: Request, sock: Socket, connection: str) -> str:
    """The connection, or whatever takes its place where its user gives it up by a timer of its own."""
    found = replaced_by(request.device) if sock.protocol == "tcp" else None
    if found is None:
        return connection
    who, evidence = found
    words = f"a connection of {request.device}"
    target = builder.node("queue", f"connection {sock.local}-{sock.remote}", words, needs="any")
    if not builder.has_edges(target):
        state = f"its state is {sock.state}"
        builder.edge(target, connection, "which is now", "observed", state)
        builder.ends(target, who, who, "may be given up and made anew by", "inferred", evidence, "chance")
    return target


def replaced_by(device: str) -> tuple[str, str] | None:
    """Who makes another connection for this device, and where the kernel says so; None: nobody."""
    return next((by for prefix, by in REPLACED_BY.items() if device.startswith(prefix)), None)


def _without_connection(builder: Builder, request: Request, source: str) -> None:
    """Its connection is gone. Where another may be made, it waits for that; else no more is known."""
    found = replaced_by(request.device)
    if found is None:
        device, told = f"device {request.device}", "no socket is known to carry this request"
        words = f"the device {request.device}"
        builder.ends(source, device, words, "waits for its device", "inferred", told, "sure")
        return
    who, evidence = found
    another = f"another connection of {request.device}"
    target = builder.node("queue", another, another, needs="any")
    state = f"no socket carries it; its state is {request.state or 'not known'}"
    builder.edge(source, target, "waits to be sent anew on", "observed", state)
    if builder.has_edges(target):
        return
    makers = {task.pid: task for task in builder.snapshot.tasks if task.comm == who}
    if makers and all(task.waits is not None for task in makers.values()):
        for task in makers.values():
            told = " < ".join(task.stack[:5])
            builder.edge(target, task_node(builder, task), "is to be made by", "observed", told)
        return
    for sock in builder.snapshot.sockets:
        if sock.state == "SYN_SENT" and makers.keys() & set(sock.holders):
            told = f"{who} has a socket that is {sock.state}, of {sock.local}"
            for nic in _nics(builder, sock):
                verb = "is being made, and needs for the answer a receive buffer of the NIC"
                builder.edge(target, buffers(builder, nic.name), verb, "inferred", told)
    builder.ends(target, who, who, "may be made by", "inferred", evidence, "chance")


def _carried_out(builder: Builder, source: str, request: Request) -> None:
    """A loop device's worker reads or writes the file (drivers/block/loop.c); of several, any of theirs."""
    workers = [task for task in builder.snapshot.tasks if any(is_loop(name) for name in task.stack)]
    target = builder.node("queue", "workers of loop", "a worker of the loop devices", needs="any")
    builder.edge(source, target, "is carried out by", "inferred", f"{len(workers)} workers have work")
    for task in workers:
        told = " < ".join(task.stack[:6])
        builder.edge(target, task_node(builder, task), "namely by", "observed", told)
    if not workers:
        builder.ends(target, "loop", "a worker that was not found", "waits for", "inferred", "", "sure")


def answered_by(builder: Builder, source: str, kind: str, serving: list[Task], evidence: str) -> None:
    """By a daemon of this machine: any that has the other end open may answer, as soon as it runs."""
    names = ", ".join(dict.fromkeys(task.comm for task in serving)) or "nobody that was found"
    target = builder.node("queue", kind, f"an answer of {names} by {kind}", needs="any")
    builder.edge(source, target, "waits for", "observed", evidence)
    if builder.has_edges(target):
        return
    for task in serving:
        told = f"the other end is open in {task.comm} ({task.pid}): {' < '.join(task.stack[:5])}"
        builder.edge(target, task_node(builder, task), "would come from", "observed", told)
    if not serving:
        builder.ends(target, kind, "a daemon that was not found", "waits for", "inferred", "", "sure")


def is_loop(function: str) -> bool:
    """Linux 6.1: the worker's own functions, one or the other of which is inlined."""
    return function.partition(".")[0] in ("loop_process_work", "loop_workfn", "loop_rootcg_workfn")


def add_socket(builder: Builder, sock: Socket) -> str:
    """The connection: its replies need to be sent (the outside's part) and a buffer to arrive in."""
    words = f"the {sock.protocol.upper()} connection {sock.local} to {sock.remote}"
    source = builder.node("socket", f"{sock.local}-{sock.remote}", words)
    if builder.has_edges(source):
        return source
    if sock.receive_packets:
        told = f"{sock.receive_packets} packets, {sock.receive_bytes} bytes are in its queue"
        builder.ends(source, "replies", "its reader", "has replies, which wait for", "observed", told, "sure")
        return source
    if sock.peer:
        _answered_here(builder, source, sock)
    outside = builder.outside
    carrier = any(request.socket == sock.address for request in builder.snapshot.requests)
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
    if sock.peer:
        return source  # neither a NIC nor another machine has a part in it
    fired = outside.mute.get(sock.address)
    if fired:
        builder.edge(source, _word(builder, sock, fired), "waits for", "observed", "a request is unanswered")
    elif not carrier:
        words = "no request is carried by it: what comes on it was not counted"
        builder.ends(source, "other end", "its peer", "waits for", "inferred", words, "sure")
    elif outside.answers is None or outside.answers < LEAST_ANSWERS:
        builder.ends(
            source,
            "server",
            "an answer of the server",
            "waits for",
            "inferred",
            f"frames of this connection that the host saw coming from the server: {outside.answers}",
            "sure",
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
    for nic in _nics(builder, sock):
        builder.edge(
            source,
            buffers(builder, nic.name),
            "needs for any reply a receive buffer of the NIC",
            "inferred",
            f"{outside.answers} frames of this connection were offered to the NIC"
            if carrier
            else f"{nic.name} has the address {sock.local.rpartition(':')[0]}",
        )
    return source


def _nics(builder: Builder, sock: Socket) -> list[Nic]:
    """Those by which an answer may come."""
    own = sock.local.rpartition(":")[0]
    found = (nic for nic in builder.snapshot.nics if nic.ring is not None)
    return [nic for nic in found if own in nic.addresses or not nic.addresses]


def _word(builder: Builder, sock: Socket, fired: int) -> str:
    """A word of the server's: if it is asked again, for which this end lacks memory, or by itself.

    By itself it sends what it has unacknowledged, or asks whether the other end still lives. It can be told
    to have nothing to send only when it has sent nothing for longer than its timeout can grow.
    """
    outside = builder.outside
    target = builder.node("queue", f"word {sock.local}-{sock.remote}", "a word of the server", needs="any")
    builder.edge(
        target,
        memory(builder, "packet"),
        "is asked for again only with",
        "inferred",
        f"between the looks its timer fired {fired} times (icsk_retransmits), and total_retrans stayed at"
        f" {sock.resent_segments}; what is to be sent again has {sock.head_segments} segments and"
        " does not lie with the driver: tcp_fragment() has to split it, with GFP_ATOMIC and __GFP_NOMEMALLOC",
    )
    quiet_s = outside.server_quiet_s
    silent = not outside.answers and quiet_s is not None and quiet_s > LONGEST_TIMEOUT_S
    seen = "not known" if quiet_s is None else f"{quiet_s:.0f} s"
    builder.ends(
        target,
        "by itself",
        "the server by itself" if silent else "the server, which sends again by itself",
        "may come from",
        "inferred",
        f"frames of it between the looks: {outside.answers}; it has sent nothing for: {seen} (TCP sends again"
        f" after {LONGEST_TIMEOUT_S:.0f} s at most what is not acknowledged)",
        "sure" if outside.answers else "never" if silent else "chance",
    )
    return target


def _answered_here(builder: Builder, source: str, sock: Socket) -> None:
    """The other end is open in processes of this guest: any of them may answer, as soon as it runs."""
    peer = next((s for s in builder.snapshot.sockets if s.address == sock.peer), None)
    tasks = [t for t in builder.snapshot.tasks if peer is not None and t.pid in peer.holders]
    words = f"an answer of {', '.join(dict.fromkeys(task.comm for task in tasks)) or 'nobody that was found'}"
    target = builder.node("queue", f"answers on {sock.local}-{sock.remote}", words, needs="any")
    builder.edge(source, target, "waits for", "observed", f"its peer is {sock.peer:#x}, of this machine")
    for task in tasks:
        evidence = f"{sock.peer:#x} is open in {task.comm} ({task.pid}): {' < '.join(task.stack[:5])}"
        builder.edge(target, task_node(builder, task), "would come from", "observed", evidence)
    if not tasks:
        evidence = f"no task was found that has {sock.peer:#x} open"
        builder.ends(
            target, "peer", "a process that was not found", "waits for", "inferred", evidence, "sure"
        )
