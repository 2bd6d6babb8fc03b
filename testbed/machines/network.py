"""Owns bridges, taps, packet rules and queues of a lab's network namespace (pyroute2, libnftables).

A delay is netem's, or a relay's where the kernel has none.

Runs inside the broker. A frame that goes from guest to guest passes `offered` (counts), the chain of each
block (drops or damages), `delivered` (counts); what is answered with a reset is taken off before that
(rules.py). Every change is one atomic transaction, and is read back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_interface
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import TC_H_ROOT

from testbed.errors import MissingCapability, TestbedFault
from testbed.machines import rules
from testbed.machines.nft import Nft, Refused
from testbed.machines.relay import MARK, MOST_FRAMES, Relay
from testbed.machines.wire import INTERFACE, LABEL, USUAL_MTU, Count, Flow, Queue

TAP_TYPE = 2
"""IFF_TAP (linux/if_tun.h)."""
TC_H_FIRST = 0x10000
"""The handle of a discipline of ours, "1:"."""
TBF_LATENCY_S = 0.05
TBF_BURST_S = 0.01
TBF_LEAST_BURST = 2048
"""And no less than a frame: a larger one would never pass (6.1, net/sched/sch_tbf.c tbf_enqueue)."""
NETEM_TICK_S = 64e-9
"""What netem tells its delay in (6.1, include/net/pkt_sched.h PSCHED_SHIFT)."""
SWITCHES = {
    "/proc/sys/net/ipv6/conf/all/disable_ipv6": "1",
    "/proc/sys/net/ipv6/conf/default/disable_ipv6": "1",
    # on by default where br_netfilter is built in: it judges, defragments and drops IP of guests
    "/proc/sys/net/bridge/bridge-nf-call-arptables": "0",
    "/proc/sys/net/bridge/bridge-nf-call-iptables": "0",
    "/proc/sys/net/bridge/bridge-nf-call-ip6tables": "0",
}


@dataclass
class Network:
    """The lab's network. Not thread-safe: the broker calls it under one lock."""

    nft: Nft
    _links: dict[str, list[str]] = field(default_factory=dict)
    _macs: dict[str, str] = field(default_factory=dict)
    _flows: dict[str, Flow] = field(default_factory=dict)
    _blocks: dict[str, dict[rules.Chain, int]] = field(default_factory=dict)
    _families: tuple[str, ...] = (rules.BRIDGE,)
    _relays: dict[str, Relay] = field(default_factory=dict)

    def begin(self) -> None:
        """Loopback, no IPv6 chatter on the lab's links, and the empty rule set."""
        for switch, value in SWITCHES.items():
            if Path(switch).exists():
                Path(switch).write_text(value)
        with IPRoute() as route:
            route.link("set", index=_index(route, "lo"), state="up")
        self.nft.run(
            [
                rules.make_table(rules.BRIDGE),
                rules.forwarding("offered", rules.OFFERED_PRIORITY),
                rules.forwarding("delivered", rules.DELIVERED_PRIORITY),
            ]
        )

    def make_link(self, bridge: str, address: str | None, mac: str, mtu: int = USUAL_MTU) -> None:
        """A bridge without spanning tree or multicast snooping; `address` (with prefix) is the host's on it.

        Its MAC is fixed: else it changes with every tap that joins, and permanent neighbours go stale.
        """
        _check(INTERFACE, bridge)
        with IPRoute() as route:
            options = {"br_stp_state": 0, "br_forward_delay": 0, "br_mcast_snooping": 0}
            route.link("add", ifname=bridge, kind="bridge", address=mac, **options)
            index = _index(route, bridge)
            if address is not None:
                place = ip_interface(address)
                route.addr("add", index=index, address=str(place.ip), prefixlen=place.network.prefixlen)
            route.link("set", index=index, mtu=mtu, state="up")
        self._links[bridge] = []

    def make_tap(
        self,
        tap: str,
        bridge: str,
        mac: str,
        queues: int,
        mtu: int,
        frames: int,
    ) -> None:
        """A persistent tap on the bridge, whose queue holds so many `frames`, with a guest of that MAC.

        One that is to have several `queues` says so when it is made (6.1, drivers/net/tun.c tun_set_iff).
        """
        _check(INTERFACE, tap)
        if bridge not in self._links:
            raise TestbedFault(f"no bridge '{bridge}' in this lab")
        with IPRoute() as route:
            if queues > 1:
                route.link("add", ifname=tap, kind="tun", tun_type=TAP_TYPE, tun_multi_queue=1)
            else:
                route.link("add", ifname=tap, kind="tuntap", mode="tap")
            index = _index(route, tap)
            route.link("set", index=index, mtu=mtu, txqlen=frames, master=_index(route, bridge))
            route.link("set", index=index, state="up")
            attributes = route.get_links(index)[0]
            taken = tuple(attributes.get(name) for name in ("txqlen", "mtu", "state"))
            if taken != (frames, mtu, "up"):
                raise TestbedFault(f"tap '{tap}' did not take its queue length, MTU or state: {taken}")
        self._links[bridge].append(tap)
        self._macs[tap] = mac

    def count(self, name: str, flow: Flow) -> None:
        """Counts a flow before and after all blocks, from now on."""
        _check(LABEL, name)
        if name in self._flows:
            raise TestbedFault(f"flow '{name}' is counted already")
        self.nft.run([*rules.count("offered", name, flow), *rules.count("delivered", name, flow)])
        self._flows[name] = flow

    def counted(self) -> dict[str, dict[str, Count]]:
        """By flow: `offered` before any block, `delivered` after them."""
        found = {(name, side): Count(0, 0) for name in self._flows for side in ("offered", "delivered")}
        keys = {rules.counter_of(side, name): (name, side) for name, side in found}
        listed = [entry for family in self._families for entry in self.nft.run([rules.counters(family)])]
        for entry in listed:
            if "counter" in entry:
                key, more = keys[entry["counter"]["name"]], entry["counter"]
                found[key] = Count(found[key].packets + more["packets"], found[key].bytes + more["bytes"])
        return {name: {side: found[name, side] for side in ("offered", "delivered")} for name in self._flows}

    def block(self, name: str, flows: Sequence[Flow]) -> None:
        """Drops the flows, silently, from now on. Raises TestbedFault if it reads back otherwise."""
        self._hinder(name, flows, rules.drop(name, flows))

    def damage(self, name: str, flows: Sequence[Flow], share: float) -> None:
        """Turns bits in a share of the flows' packets from now on: a block that lets them pass."""
        if not 0 < share <= 1:
            raise TestbedFault(f"{share} is no share of packets", hint="more than 0, at most 1")
        self._hinder(name, flows, rules.damage(name, flows, share))

    def readdress(self, name: str, tap: str, old: str, new: str) -> None:
        """Gives the machine behind the tap another address, for all others; the old one is a block."""
        if not all(str(IPv4Address(address)) == address for address in (old, new)) or old == new:
            raise TestbedFault(f"'{old}' and '{new}' are not two addresses")
        self._hinder(name, [tap], rules.readdress(name, tap, old, new))

    def reset(self, name: str, flows: Sequence[Flow]) -> None:
        """Answers the flows' TCP segments with a reset from now on: a block that is not silent.

        Raises MissingCapability where the host's kernel has no nft_reject_netdev.
        """
        if any(flow.protocol == "udp" for flow in flows):
            raise TestbedFault(f"block '{name}' is to reset what is not TCP")
        try:
            self._hinder(name, flows, rules.reset(name, flows, self._macs, self._flows))
        except Refused as error:
            raise MissingCapability(
                f"this host's kernel cannot answer with a reset (nft_reject_netdev): {error}",
                hint="load nft_reject_netdev, or use a drop instead",
            ) from error

    def unblock(self, name: str) -> None:
        """Ends a block; one that is not in force stays so. Raises TestbedFault if it reads back otherwise."""
        chains = self._blocks.get(name)
        if chains is None:
            return
        # It is known until the kernel has none of it: what can not be ended now is tried again.
        left = self._in_force().keys() & chains
        self.nft.run([command for chain in left for command in rules.ending(chain)])
        if self._in_force().keys() & chains:
            raise TestbedFault(f"block '{name}' is still in force after it was ended")
        del self._blocks[name]

    def blocked(self) -> dict[str, Count]:
        """What the kernel has in force, by name, with what each has dropped, reset or damaged so far."""
        in_force = self._in_force()
        found: dict[str, Count] = {}
        for name, chains in self._blocks.items():
            if all(len(in_force.get(chain, ())) == number for chain, number in chains.items()):
                counts = [count for chain in chains for count in in_force[chain]]
                found[name] = Count(sum(c.packets for c in counts), sum(c.bytes for c in counts))
        return found

    def limit_rate(self, tap: str, bits_per_s: int) -> None:
        """Slows what goes to the machine behind the tap, in whole bytes a second; 0 lifts it. Read back.

        Raises MissingCapability where the host's kernel has no sch_tbf, and TestbedFault if a limit or a
        delay is in force there.
        """
        with IPRoute() as route:
            index = _index(route, tap)
            rate = bits_per_s // 8
            if rate:
                self._check_free(route, tap)
                mtu = route.get_links(index)[0].get("mtu")
                burst = max(TBF_LEAST_BURST, mtu + 64, round(rate * TBF_BURST_S))
                limit = burst + round(rate * TBF_LATENCY_S)
                try:
                    route.tc("add", "tbf", index, TC_H_FIRST, rate=rate, burst=burst, limit=limit)
                except NetlinkError as error:
                    raise MissingCapability(
                        f"this host's kernel can not limit a rate (sch_tbf): {error}",
                        hint="load sch_tbf, or use a delay instead, which needs no such module",
                    ) from error
            elif _discipline(route, index).bits_per_s:
                route.tc("del", index=index, parent=TC_H_ROOT)
            found = _discipline(route, index).bits_per_s
            if found != rate * 8:
                raise TestbedFault(f"the rate limit of '{tap}' reads back as {found} bit/s, not {rate * 8}")

    def delay(self, tap: str, seconds: float) -> None:
        """Holds back what goes to the machine behind the tap, by whole microseconds; 0 ends it. Read back.

        Raises MissingCapability where the host's kernel has neither sch_netem nor what a relay needs, and
        TestbedFault if a limit or a delay is in force there, or if one that is ended was broken off.
        """
        with IPRoute() as route:
            index = _index(route, tap)
            delay_us = round(seconds * 1e6)
            if delay_us:
                self._check_free(route, tap)
                try:
                    route.tc("add", "netem", index, TC_H_FIRST, delay=delay_us, limit=MOST_FRAMES)
                except NetlinkError as error:
                    self._relay(route, tap, delay_us, error)
            elif tap in self._relays:
                self._end_relay(tap)
            elif _discipline(route, index).delay_s:
                route.tc("del", index=index, parent=TC_H_ROOT)
            found = self._queue(route, tap).delay_s
            if round(found * 1e6) != delay_us:
                raise TestbedFault(f"the delay of '{tap}' reads back as {found} s, not {delay_us / 1e6}")

    def relay_of(self, tap: str) -> Relay | None:
        """What delays the frames to a tap in the kernel's place."""
        return self._relays.get(tap)

    def connect_past(self, tap: str, relay: Relay) -> None:
        """Lets frames pass whose relay has ended by itself; that it has is told when it is to be ended."""
        if self._relays.get(tap) is relay:
            self.unblock(_relaying(tap))

    def queues(self) -> dict[str, Queue]:
        """What holds frames up by tap, by the kernel's word; the time of a relay is what it was told."""
        with IPRoute() as route:
            return {tap: self._queue(route, tap) for taps in self._links.values() for tap in taps}

    def _queue(self, route: IPRoute, tap: str) -> Queue:
        relay = self._relays.get(tap)
        if relay is None:
            return _discipline(route, _index(route, tap))
        in_force = relay.runs and _relaying(tap) in self.blocked()
        return Queue(delay_s=relay.delay_us / 1e6) if in_force else Queue()

    def _check_free(self, route: IPRoute, tap: str) -> None:
        found = self._queue(route, tap)
        if found != Queue() or tap in self._relays:
            raise TestbedFault(f"'{tap}' has a queue in force already: {found}")

    def _relay(self, route: IPRoute, tap: str, delay_us: int, why: NetlinkError) -> None:
        aside = f"late{_index(route, tap)}"
        relay = Relay.start(aside, tap, delay_us)
        try:
            mtu = route.get_links(_index(route, tap))[0].get("mtu")
            route.link("set", index=_index(route, aside), mtu=mtu, txqlen=MOST_FRAMES, state="up")
            self._hinder(_relaying(tap), [tap], rules.turn_aside(_relaying(tap), tap, aside, MARK))
        except BaseException as error:
            self.unblock(_relaying(tap))
            relay.end()
            if not isinstance(error, Refused):
                raise
            raise MissingCapability(
                f"this host's kernel cannot delay packets (sch_netem): {why}; nor turn them aside: {error}",
                hint="load sch_netem, or nft_fwd_netdev on 5.17 or later; or use a drop or a rate instead",
            ) from error
        self._relays[tap] = relay

    def _end_relay(self, tap: str) -> None:
        relay = self._relays.pop(tap)
        broken_off = not relay.runs
        self.unblock(_relaying(tap))
        relay.end()
        if broken_off:
            raise TestbedFault(
                f"the relay before '{tap}' ended by itself: frames were not delayed to the end"
            )

    def _hinder(self, name: str, whose: Sequence[Flow | str], commands: list[rules.Command]) -> None:
        _check(LABEL, name)
        if name in self._blocks:
            raise TestbedFault(f"block '{name}' is in force already")
        if not whose:
            raise TestbedFault(f"block '{name}' names no flow")
        self.nft.run(commands)
        self._blocks[name] = chains = rules.chains_of(commands)
        self._families = tuple(dict.fromkeys((*self._families, *(family for family, _ in chains))))
        if name not in self.blocked():
            raise TestbedFault(f"block '{name}' is not in force after it was set")

    def _in_force(self) -> dict[rules.Chain, list[Count]]:
        """The chains of blocks that the kernel has, with what each of their rules has counted."""
        found: dict[rules.Chain, list[Count]] = {}
        listed = [entry for family in self._families for entry in self.nft.run([rules.table(family)])]
        for entry in listed:
            if entry.get("chain", {}).get("name", "").startswith("block:"):
                found.setdefault((entry["chain"]["family"], entry["chain"]["name"]), [])
            elif "rule" in entry:
                counts = [e["counter"] for e in entry["rule"]["expr"] if isinstance(e.get("counter"), dict)]
                chain = (entry["rule"]["family"], entry["rule"]["chain"])
                found.setdefault(chain, []).extend(Count(c["packets"], c["bytes"]) for c in counts)
        return found


def tap_counters() -> dict[str, dict[str, int]]:
    """By interface of this namespace: frames as the *guest* sees them (a tap receives what it sends)."""
    counters = {}
    for line in Path("/proc/net/dev").read_text().splitlines()[2:]:
        name, _, rest = line.partition(":")
        numbers = [int(word) for word in rest.split()]
        counters[name.strip()] = {
            "tx_bytes": numbers[0],
            "tx_packets": numbers[1],
            "rx_bytes": numbers[8],
            "rx_packets": numbers[9],
            "rx_dropped": numbers[11],
        }
    return counters


def _check(shape: Any, name: str) -> None:
    if not shape.fullmatch(name):
        raise TestbedFault(f"'{name}' can not be a name here")


def _index(route: IPRoute, name: str) -> int:
    found = route.link_lookup(ifname=name)
    if not found:
        raise TestbedFault(f"no interface '{name}' in this lab")
    return int(found[0])


def _relaying(tap: str) -> str:
    """The name of the block that turns frames aside to a relay."""
    return f"delay.{tap}"


def _discipline(route: IPRoute, index: int) -> Queue:
    """What the root of a tap's queueing disciplines does, if it is one of ours."""
    for root in route.get_qdiscs(index):
        kind, options = root.get_attr("TCA_KIND"), root.get_attr("TCA_OPTIONS")
        if root.get("parent") == TC_H_ROOT and kind == "tbf":
            return Queue(bits_per_s=options.get_attr("TCA_TBF_PARMS")["rate"] * 8)
        if root.get("parent") == TC_H_ROOT and kind == "netem":
            return Queue(delay_s=options["delay"] * NETEM_TICK_S)
    return Queue()
