"""Owns the packet rules of a lab as libnftables takes them (JSON): counting, dropping, resetting, damaging.

Two tables of one name. That of family bridge sees what goes from guest to guest, hooked to forward. That
of family netdev sees what a guest sends as it enters: the kernel answers with a reset only there, or in a
bridge's prerouting, which fewer kernels can (6.1, net/netfilter/nft_reject_netdev.c, nft_reject_bridge.c).
It also sees what leaves for a guest, to turn it aside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from testbed.errors import TestbedFault
from testbed.machines.wire import Flow

Command = dict[str, Any]
Chain = tuple[str, str]
"""A chain by family and name."""

TABLE = "testbed"
BRIDGE, NETDEV = "bridge", "netdev"
OFFERED_PRIORITY, BLOCK_PRIORITY, DELIVERED_PRIORITY = -300, 0, 300
SHARES = 10_000
"""In how many parts a share of packets is counted."""

_COUNTER: Command = {"counter": {"packets": 0, "bytes": 0}}


def make_table(family: str) -> Command:
    """Makes a family's table; nothing happens if it is there."""
    return {"add": {"table": {"family": family, "name": TABLE}}}


def table(family: str) -> Command:
    """Lists all that is in it."""
    return {"list": {"table": {"family": family, "name": TABLE}}}


def chain_of(name: str) -> str:
    return f"block:{name}"


def counter_of(side: str, flow: str) -> str:
    return f"{side}:{flow}"


def counters(family: str) -> Command:
    """Lists the named counters."""
    return {"list": {"counters": {"family": family, "table": TABLE}}}


def forwarding(name: str, priority: int) -> Command:
    """A chain that sees what goes from guest to guest."""
    hook = {"type": "filter", "hook": "forward", "prio": priority, "policy": "accept"}
    return {"add": {"chain": {"family": BRIDGE, "table": TABLE, "name": name, **hook}}}


def count(side: str, name: str, flow: Flow) -> list[Command]:
    """Counts a flow in the chain `side`, under its name."""
    counter = counter_of(side, name)
    return [
        {"add": {"counter": {"family": BRIDGE, "table": TABLE, "name": counter}}},
        _rule(BRIDGE, side, [*_on_the_way(flow), {"counter": counter}]),
    ]


def drop(name: str, flows: Sequence[Flow]) -> list[Command]:
    """The flows vanish."""
    chain = chain_of(name)
    rules = [_rule(BRIDGE, chain, [*_on_the_way(flow), _COUNTER, {"drop": None}]) for flow in flows]
    return [forwarding(chain, BLOCK_PRIORITY), *rules]


def damage(name: str, flows: Sequence[Flow], share: float) -> list[Command]:
    """So many of the flows' packets, picked at random, arrive with bits turned; the rest as they were.

    One bit of what stands 20 bytes behind IP's header, payload or an option of TCP; and one of the checksum
    over IP's header, by which any receiver throws a packet away that has nothing there (6.1,
    net/ipv4/ip_input.c ip_rcv_core).
    """
    chain = chain_of(name)
    chance = {"numgen": {"mode": "random", "mod": SHARES, "offset": 0}}
    picked = {"match": {"op": "<=", "left": chance, "right": max(0, round(share * SHARES) - 1)}}
    turned = [_turn("nh", 80), _turn("th", 160)]
    rules = [
        _rule(
            BRIDGE,
            chain,
            [_equal({"meta": {"key": "protocol"}}, "ip"), *_on_the_way(flow), picked, _COUNTER, *turned],
        )
        for flow in flows
    ]
    return [forwarding(chain, BLOCK_PRIORITY), *rules]


def readdress(name: str, tap: str, old: str, new: str) -> list[Command]:
    """The machine behind the tap has another IPv4 address for all others: packets and ARP both ways.

    nftables keeps the checksums right.
    """
    chain = chain_of(name)
    made = [forwarding(chain, BLOCK_PRIORITY)]
    for protocol, sender, receiver in (("ip", "saddr", "daddr"), ("arp", "saddr ip", "daddr ip")):
        to, by = ({"payload": {"protocol": protocol, "field": field}} for field in (receiver, sender))
        inward, outward = ({"meta": {"key": key}} for key in ("oifname", "iifname"))
        for where, whose, is_now, deed in (
            (inward, to, old, {"drop": None}),
            (inward, to, new, {"mangle": {"key": to, "value": old}}),
            (outward, by, old, {"mangle": {"key": by, "value": new}}),
        ):
            made.append(_rule(BRIDGE, chain, [_equal(where, tap), _equal(whose, is_now), _COUNTER, deed]))
    return made


def reset(
    name: str, flows: Sequence[Flow], macs: Mapping[str, str], counted: Mapping[str, Flow]
) -> list[Command]:
    """TCP segments of the flows are answered with a reset in the addressee's name, and go no further.

    So early they have not been counted: here they are counted as offered. `macs` are those of the
    machines behind the taps: the way out is not known yet. Raises TestbedFault without one.
    """
    segments = [replace(flow, protocol="tcp") for flow in flows]
    made = [make_table(NETDEV)]
    made += [
        {"add": {"counter": {"family": NETDEV, "table": TABLE, "name": counter_of("offered", known)}}}
        for known in counted
    ]
    for tap in dict.fromkeys(flow.source for flow in segments):
        chain = f"{chain_of(name)}:{tap}"
        hook = {"type": "filter", "hook": "ingress", "dev": tap, "prio": 0, "policy": "accept"}
        made.append({"add": {"chain": {"family": NETDEV, "table": TABLE, "name": chain, **hook}}})
        for flow in segments:
            if flow.source == tap:
                made += _resetting(chain, flow, macs, counted)
    return made


def _resetting(chain: str, flow: Flow, macs: Mapping[str, str], counted: Mapping[str, Flow]) -> list[Command]:
    if not macs.get(flow.destination):
        raise TestbedFault(f"the MAC address behind tap '{flow.destination}' is not known")
    towards = [
        _equal({"payload": {"protocol": "ether", "field": "daddr"}}, macs[flow.destination]),
        *_carries(flow),
    ]
    rules = [
        _rule(NETDEV, chain, [*towards, *_carries(each), {"counter": counter_of("offered", known)}])
        for known, each in counted.items()
        if (each.source, each.destination) == (flow.source, flow.destination)
    ]
    return [*rules, _rule(NETDEV, chain, [*towards, _COUNTER, {"reject": {"type": "tcp reset"}}])]


def turn_aside(name: str, tap: str, aside: str, mark: int) -> list[Command]:
    """What leaves for the machine behind the tap goes to the tap `aside`, but for what has the mark.

    Behind all counts and before the tap's own queue (6.1, net/core/dev.c __dev_queue_xmit).
    """
    chain = chain_of(name)
    hook = {"type": "filter", "hook": "egress", "dev": tap, "prio": 0, "policy": "accept"}
    unmarked = {"match": {"op": "!=", "left": {"meta": {"key": "mark"}}, "right": mark}}
    return [
        make_table(NETDEV),
        {"add": {"chain": {"family": NETDEV, "table": TABLE, "name": chain, **hook}}},
        _rule(NETDEV, chain, [unmarked, _COUNTER, {"fwd": {"dev": aside}}]),
    ]


def chains_of(commands: Sequence[Command]) -> dict[Chain, int]:
    """The chains that such commands add, and how many rules of each do something to packets."""
    found: dict[Chain, int] = {}
    for made in (command["add"] for command in commands if "add" in command):
        if "chain" in made:
            found[made["chain"]["family"], made["chain"]["name"]] = 0
        elif "rule" in made:
            found[made["rule"]["family"], made["rule"]["chain"]] += _COUNTER in made["rule"]["expr"]
    return found


def ending(chain: Chain) -> list[Command]:
    """Takes a chain away."""
    family, name = chain
    gone = {"chain": {"family": family, "table": TABLE, "name": name}}
    return [{"flush": gone}, {"delete": gone}]


def _rule(family: str, chain: str, expressions: Sequence[Command]) -> Command:
    return {"add": {"rule": {"family": family, "table": TABLE, "chain": chain, "expr": list(expressions)}}}


def _on_the_way(flow: Flow) -> list[Command]:
    """What is true of a flow's frames on the bridge."""
    return [
        _equal({"meta": {"key": "iifname"}}, flow.source),
        _equal({"meta": {"key": "oifname"}}, flow.destination),
        *_carries(flow),
    ]


def _carries(flow: Flow) -> list[Command]:
    """What is true of a flow's packets, wherever they are."""
    found = []
    if flow.protocol:
        found.append(_equal({"payload": {"protocol": "ip", "field": "protocol"}}, flow.protocol))
    for side, port in (("sport", flow.source_port), ("dport", flow.destination_port)):
        if port:
            found.append(_equal({"payload": {"protocol": flow.protocol, "field": side}}, port))
    return found


def _equal(left: Command, right: str | int) -> Command:
    return {"match": {"op": "==", "left": left, "right": right}}


def _turn(base: str, bit: int) -> Command:
    """Turns one bit of the 16 that begin at `bit` of a header (`nh` IP's, `th` what follows it)."""
    place = {"payload": {"base": base, "offset": bit, "len": 16}}
    return {"mangle": {"key": place, "value": {"^": [place, 1]}}}
