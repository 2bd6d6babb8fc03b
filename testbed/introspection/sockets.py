"""Owns reading the sockets: those of TCP and UDP that hold, want or carry something, and the limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import drgn
from drgn.helpers.linux.list import hlist_for_each_entry
from drgn.helpers.linux.net import sk_nulls_for_each
from drgn.helpers.linux.rbtree import rb_first
from drgn.helpers.linux.tcp import sk_tcpstate

from testbed.introspection.reading import Reading, ipv4, number
from testbed.snapshot import Limit, Socket, Task

ICSK_TIME_RETRANS = 1
ICSK_TIME_PROBE0 = 3
"""include/net/inet_connection_sock.h: what the connection's timer is for."""
GFP_MEMALLOC_BIT = 17
"""Linux 6.1, include/linux/gfp_types.h: ___GFP_MEMALLOC is 0x20000."""
SKB_FCLONE_ORIG = 1
"""include/linux/skbuff.h: a packet that was allocated together with room for one copy of it."""
AF_UNIX = 1
MAX_PACKETS = 256
MAX_TIMER_MS = 1 << 32
IDLE = ("LISTEN", "TIME_WAIT", "NEW_SYN_RECV", "CLOSE")


def read_sockets(reading: Reading, tasks: tuple[Task, ...], wanted: frozenset[int]) -> tuple[Socket, ...]:
    """Sockets with packets queued, with memory reserve, or in `wanted` (that carry requests)."""
    jiffies = reading.get("jiffies", 0, lambda: number(reading.prog["jiffies"]))
    hz = ticks_a_second(reading)
    holders: dict[int, list[int]] = {}
    readers: dict[int, list[int]] = {}
    for task in tasks:
        for address in task.holds_sockets:
            holders.setdefault(address, []).append(task.pid)
        if task.waits is not None and task.waits.kind == "socket":
            readers.setdefault(task.waits.address, []).append(task.pid)
    accepting = _accepting(reading, holders)
    seen = [
        reading.get(f"a socket of {protocol}", None, _socket, reading, protocol, sock, jiffies, hz)
        for protocol, sock in _all(reading)
    ]
    seen += [end for address in sorted(wanted) for end in _unix(reading, address)]
    found = []
    for one in _paired(tuple(one for one in seen if one is not None)):
        if (
            one.receive_packets
            or one.memalloc
            or one.unacknowledged_bytes
            or not wanted.isdisjoint((one.address, one.peer))
        ):
            own = holders.get(one.address) or accepting.get(one.local.rpartition(":")[2], [])
            update = {"readers": tuple(readers.get(one.address, ())), "holders": tuple(own)}
            found.append(one.model_copy(update=update))
    return tuple(found)


def _paired(sockets: tuple[Socket, ...]) -> Iterator[Socket]:
    """Those of TCP know their peer by its ends, if it is one of this guest's own; those of unix have one."""
    ends = {(one.local, one.remote): one.address for one in sockets if one.protocol == "tcp"}
    for one in sockets:
        peer = ends.get((one.remote, one.local), 0) if one.protocol == "tcp" else one.peer
        yield one.model_copy(update={"peer": peer})


def _unix(reading: Reading, address: int) -> tuple[Socket, ...]:
    """A unix socket and its peer (net/unix/af_unix.c); nothing if the address is none of that family."""

    def both() -> tuple[Socket, ...]:
        sock = drgn.Object(reading.prog, "struct sock *", value=address)
        if number(sock.__sk_common.skc_family) != AF_UNIX:
            return ()
        peer = drgn.cast("struct unix_sock *", sock).peer
        return (_unix_end(sock, peer), _unix_end(peer, sock)) if peer else ()

    return reading.get("a unix socket", (), both)


def _unix_end(sock: Any, peer: Any) -> Socket:
    return Socket(
        address=number(sock),
        protocol="unix",
        local=_path(sock),
        remote=_path(peer),
        memalloc=bool(number(sock.__sk_common.skc_flags) >> number(sock.prog_["SOCK_MEMALLOC"]) & 1),
        receive_packets=number(sock.sk_receive_queue.qlen),
        receive_limit_bytes=number(sock.sk_rcvbuf),
        send_bytes=number(sock.sk_wmem_alloc.refs.counter) - 1,  # one reference is the socket's own
        send_limit_bytes=number(sock.sk_sndbuf),
        peer=number(peer),
    )


def _path(sock: Any) -> str:
    """What it is bound to; one that was accepted has its listener's name."""
    name = drgn.cast("struct unix_sock *", sock).addr
    return name.name[0].sun_path.string_().decode(errors="replace")[:100] if name else "unnamed"


def _accepting(reading: Reading, holders: dict[int, list[int]]) -> dict[str, list[int]]:
    """Who has a listening TCP socket open, by its port: connections that were not accepted yet are theirs."""
    found = {}
    for address, pids in holders.items():
        sock = drgn.Object(reading.prog, "struct sock *", value=address)
        if reading.get("a held socket's state", "", _state, sock) == "LISTEN":
            port = reading.get("a listener's port", 0, lambda sock: number(sock.__sk_common.skc_num), sock)
            found[str(port)] = pids
    return found


def read_limits(reading: Reading) -> tuple[Limit, ...]:
    """net.ipv4.tcp_mem and udp_mem, with what is charged to them."""
    found = []
    for protocol in ("tcp", "udp"):
        one = reading.get(f"{protocol}_mem", None, _limit, reading.prog, protocol)
        if one is not None:
            found.append(one)
    return tuple(found)


def fragments(reading: Reading) -> tuple[int | None, int | None]:
    """IPv4 packets that wait for the rest of their fragments: bytes in all, and how many."""
    directory = reading.get("fragments", None, lambda: reading.prog["init_net"].ipv4.fqdir)
    if directory is None:
        return None, None
    return (
        reading.get("bytes of fragments", None, lambda: number(directory.mem.counter)),
        reading.get("queues of fragments", None, lambda: number(directory.rhashtable.nelems.counter)),
    )


def _limit(prog: drgn.Program, protocol: str) -> Limit:
    allocated = prog[f"{protocol}_prot"].memory_allocated  # the counter itself is in another place in 7.x
    limits = prog[f"sysctl_{protocol}_mem"]
    low, pressure, high = (number(limits[index]) for index in range(3))
    return Limit(protocol=protocol, pages=number(allocated.counter), limits=(low, pressure, high))


def ticks_a_second(reading: Reading) -> int:
    """Jiffies a second: a jiffy's length in ns is what its clocksource counts (kernel/time/jiffies.c)."""

    def measured() -> int:
        clock = reading.prog["clocksource_jiffies"]
        return round(1e9 / (number(clock.mult) >> number(clock.shift)))

    return reading.get("HZ", 250, measured)


def _all(reading: Reading) -> Iterator[tuple[str, Any]]:
    for sock in reading.each("TCP sockets", _tcp, reading.prog):
        yield "tcp", sock
    for sock in reading.each("UDP sockets", _udp, reading.prog):
        yield "udp", sock


def _tcp(prog: drgn.Program) -> Iterator[Any]:
    info = prog["tcp_hashinfo"]
    for bucket in range(number(info.ehash_mask) + 1):
        yield from sk_nulls_for_each(info.ehash[bucket].chain.address_of_())


def _udp(prog: drgn.Program) -> Iterator[Any]:
    table = prog["udp_table"]
    for slot in range(number(table.mask) + 1):
        yield from hlist_for_each_entry(
            "struct sock", table.hash[slot].head.address_of_(), "__sk_common.skc_node"
        )


def _socket(reading: Reading, protocol: str, sock: Any, jiffies: int, hz: int) -> Socket | None:
    state = reading.get("a TCP state", "?", _state, sock) if protocol == "tcp" else ""
    if state in IDLE:
        return None  # a TIME_WAIT is another structure, in the same table
    flags = number(sock.__sk_common.skc_flags)
    tcp = _tcp_fields(reading, sock, jiffies, hz) if protocol == "tcp" else {}
    return Socket(
        address=number(sock),
        protocol=protocol,
        state=state,
        local=_end(sock.__sk_common.skc_rcv_saddr, number(sock.__sk_common.skc_num)),
        remote=_end(sock.__sk_common.skc_daddr, _swapped(number(sock.__sk_common.skc_dport))),
        memalloc=bool(flags >> number(reading.prog["SOCK_MEMALLOC"]) & 1),
        allocation_reserve=reading.get("sk_allocation", False, _takes_reserve, sock),
        receive_bytes=number(sock.sk_backlog.rmem_alloc.counter),
        receive_packets=sum(
            reading.get("packets queued", 0, _queued, queue) for queue in _queues(protocol, sock)
        ),
        receive_limit_bytes=number(sock.sk_rcvbuf),
        backlog_bytes=number(sock.sk_backlog.len),
        pfmemalloc_packets=sum(
            reading.get("pfmemalloc packets", 0, _pfmemalloc, queue) for queue in _queues(protocol, sock)
        ),
        dropped=reading.get("packets dropped", 0, lambda: number(sock.sk_drops.counter)),
        send_bytes=number(sock.sk_wmem_queued),
        send_limit_bytes=number(sock.sk_sndbuf),
        **tcp,
    )


def _takes_reserve(sock: Any) -> bool:
    """Whether __GFP_MEMALLOC is in sk_allocation; include/linux/gfp_types.h numbers the bits since 6.9."""
    try:
        bit = number(sock.prog_["___GFP_MEMALLOC_BIT"])
    except LookupError:
        bit = GFP_MEMALLOC_BIT
    return bool(number(sock.sk_allocation) >> bit & 1)


def _tcp_fields(reading: Reading, sock: Any, jiffies: int, hz: int) -> dict[str, Any]:
    tcp = drgn.cast("struct tcp_sock *", sock)
    connection = drgn.cast("struct inet_connection_sock *", sock)
    in_ms = None
    if number(connection.icsk_pending) in (ICSK_TIME_RETRANS, ICSK_TIME_PROBE0):
        in_ms = (_deadline(sock, connection) - jiffies) * 1000 // hz
        if abs(in_ms) > MAX_TIMER_MS:
            in_ms = None
    return {
        "unacknowledged_bytes": (number(tcp.write_seq) - number(tcp.snd_una)) & 0xFFFFFFFF,
        "retransmit_in_ms": in_ms,
        "retransmit_timeout_ms": number(connection.icsk_rto) * 1000 // hz,
        "retransmits": number(connection.icsk_retransmits),
        "resent_segments": number(tcp.total_retrans),
        **reading.get("the head of a retransmission queue", {}, _head, sock),
    }


def _head(sock: Any) -> dict[str, Any]:
    """The packet that TCP sends again first: include/net/tcp.h, tcp_rtx_queue_head()."""
    node = rb_first(sock.tcp_rtx_queue.address_of_())
    if not node:
        return {}
    packet = drgn.container_of(node, "struct sk_buff", "rbnode")
    control = drgn.cast("struct tcp_skb_cb *", packet.cb.address_of_())
    return {
        "head_bytes": number(packet.len),
        "head_segments": number(control.tcp_gso_segs),
        "head_at_driver": _at_driver(sock, packet),
    }


def _at_driver(sock: Any, packet: Any) -> bool:
    """Whether the copy that was sent last is not freed yet: include/linux/skbuff.h, skb_fclone_busy()."""
    if number(packet.fclone) != SKB_FCLONE_ORIG:
        return False
    pair = drgn.cast("struct sk_buff_fclones *", packet)  # the packet is its first member
    return number(pair.fclone_ref.refs.counter) > 1 and number(pair.skb2.sk) == number(sock)


def _deadline(sock: Any, connection: Any) -> int:
    """When the timer is due: icsk_timeout, or the timer's own `expires` where a kernel has no such field.

    The timer was the connection's until it became every socket's (7.3: include/net/sock.h).
    """
    if connection.type_.type.has_member("icsk_timeout"):
        return number(connection.icsk_timeout)
    if sock.type_.type.has_member("tcp_retransmit_timer"):
        return number(sock.tcp_retransmit_timer.expires)
    return number(connection.icsk_retransmit_timer.expires)


def _state(sock: Any) -> str:
    return str(sk_tcpstate(sock).format_(type_name=False)).removeprefix("TCP_")


def _queues(protocol: str, sock: Any) -> tuple[Any, ...]:
    """Where packets wait to be read; UDP moves them to a queue of its own for the reader (net/ipv4/udp.c)."""
    own = (drgn.cast("struct udp_sock *", sock).reader_queue,) if protocol == "udp" else ()
    return (sock.sk_receive_queue, *own)


def _queued(queue: Any) -> int:
    return number(queue.qlen)


def _pfmemalloc(queue: Any) -> int:
    """Of the first MAX_PACKETS of a queue, which more than so many seldom are."""
    packet, count = queue.next, 0
    for _ in range(min(MAX_PACKETS, number(queue.qlen))):
        count += number(packet.pfmemalloc)
        packet = packet.next
    return count


def _end(address: Any, port: int) -> str:
    return f"{ipv4(address)}:{port}"


def _swapped(port: int) -> int:
    return (port & 0xFF) << 8 | port >> 8
