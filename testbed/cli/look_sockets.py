"""Owns how a look's sockets are shown: whose they are, what is in them, what they send again."""

from __future__ import annotations

from rich.console import Group, RenderableType

from testbed.cli.look_names import Names, seconds, table
from testbed.snapshot import Socket


def sockets(names: Names) -> RenderableType:
    """Three tables, joined by the number of the socket; the third has only those that sent something."""
    if not names.sockets:
        return table("sockets", (), ())
    return Group(_whose(names), _held(names), _sent(names))


def _whose(names: Names) -> RenderableType:
    columns = ("#", "", "state", "local", "remote", "may use", "held by", "read by", "peer")
    rows = (
        (
            number,
            each.protocol,
            each.state,
            each.local,
            each.remote,
            " ".join(["memalloc"] * each.memalloc + ["reserve"] * each.allocation_reserve),
            names.told(each.holders),
            names.told(each.readers),
            names.thing(each.peer),
        )
        for number, each in enumerate(names.sockets, 1)
    )
    return table(f"sockets ({len(names.sockets)}): whose they are", columns, rows)


def _held(names: Names) -> RenderableType:
    received = (">to read", ">limit", ">packets", ">pfmemalloc", ">backlog", ">dropped")
    rows = (
        (
            number,
            f"{each.address:x}",
            each.receive_bytes,
            each.receive_limit_bytes,
            each.receive_packets,
            each.pfmemalloc_packets,
            each.backlog_bytes,
            each.dropped,
            each.send_bytes,
            each.send_limit_bytes,
        )
        for number, each in enumerate(names.sockets, 1)
    )
    columns = ("#", "address", *received, ">to send", ">limit")
    return table("sockets: bytes and packets in them", columns, rows)


def _sent(names: Names) -> RenderableType:
    head = (">head bytes", ">segments", "head at the driver")
    rows = (
        (
            number,
            each.unacknowledged_bytes,
            seconds(each.retransmit_in_ms),
            seconds(each.retransmit_timeout_ms),
            each.retransmits,
            _read(each.resent_segments),
            _read(each.head_bytes),
            _read(each.head_segments),
            {True: "yes", False: "no", None: "?"}[each.head_at_driver],
        )
        for number, each in enumerate(names.sockets, 1)
        if _may_send_again(each)
    )
    columns = ("#", ">unacknowledged", ">sends again in", ">timeout", ">fired", ">resent", *head)
    return table("sockets: sent, and to be sent again", columns, rows)


def _may_send_again(each: Socket) -> bool:
    """Or had to, at some time."""
    waits = each.unacknowledged_bytes or each.retransmit_in_ms is not None
    return bool(waits or each.retransmits or each.resent_segments)


def _read(number: int | None) -> str:
    return "?" if number is None else str(number)
