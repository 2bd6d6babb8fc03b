"""A delay without a lab: what the kernel refuses, what it tells, and what is said where there is no way."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, cast

import pytest
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import TC_H_ROOT
from pyroute2.netlink.rtnl.tcmsg import sched_netem, tcmsg

from testbed.errors import MissingCapability, TestbedFault
from testbed.faults import FaultTarget
from testbed.faults.delay import Delay
from testbed.machines import network
from testbed.machines.network import Network
from testbed.machines.nft import Nft, Refused
from testbed.machines.wire import Queue

FAULT = Delay.model_validate({"machine": "A", "delay": "50ms"})


@dataclass
class Route:
    """A kernel with one tap, and with netem or without; `off` is by how much its delay is another."""

    netem: bool
    off: float = 1.0
    disciplines: list[Any] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def link_lookup(self, ifname: str) -> list[int]:
        return [7]

    def get_links(self, index: int) -> list[dict[str, int]]:
        return [{"mtu": 1500}]

    def link(self, deed: str, **_: Any) -> None:
        assert deed == "set"

    def get_qdiscs(self, index: int) -> list[Any]:
        return self.disciplines

    def tc(self, deed: str, kind: str = "", *_: Any, **options: Any) -> None:
        if deed == "del":
            self.disciplines.clear()
            return
        if not self.netem:
            raise NetlinkError(2, "No such file or directory")
        told = tcmsg()
        parameters = sched_netem.get_parameters({**options, "delay": round(options["delay"] * self.off)})
        told["parent"], told["attrs"] = TC_H_ROOT, [("TCA_KIND", kind), ("TCA_OPTIONS", parameters)]
        told.encode()
        heard = tcmsg(bytes(told.data))
        heard.decode()
        self.disciplines.append(heard)


class Aside:
    """nftables that have no way to turn a frame aside, or were asked for none."""

    def run(self, commands: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if any("fwd" in str(command) for command in commands):
            raise Refused("no nft_fwd_netdev")
        return []


def lab(monkeypatch: pytest.MonkeyPatch, route: Route) -> Network:
    monkeypatch.setattr(network, "IPRoute", lambda: route)
    return Network(cast(Nft, Aside()), {"br-data": ["dataA"]})


def test_netem_tells_its_delay_in_ticks_and_is_taken_at_its_word(monkeypatch: pytest.MonkeyPatch) -> None:
    route = Route(netem=True)
    made = lab(monkeypatch, route)
    where = FaultTarget(cast(Any, made), {}, {("A", "data"): "dataA"})
    for delay in ("50ms", "10.001ms", "0.001ms", "240s"):
        fault = Delay.model_validate({"machine": "A", "delay": delay})
        assert not fault.in_force(where)
        fault.apply(where)
        assert fault.in_force(where)
        fault.revert(where)
    assert not route.disciplines


def test_a_netem_of_another_delay_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    made = lab(monkeypatch, Route(netem=True, off=0.5))
    with pytest.raises(TestbedFault, match=r"reads back as 0\.025 s, not 0\.05"):
        made.delay("dataA", 0.05)


def test_without_netem_and_without_a_way_aside_it_is_said_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended: list[str] = []
    relay = SimpleNamespace(end=lambda: ended.append("relay"))
    monkeypatch.setattr(network, "Relay", SimpleNamespace(start=lambda *_: relay))
    made = lab(monkeypatch, Route(netem=False))
    with pytest.raises(MissingCapability) as caught:
        FAULT.apply(FaultTarget(cast(Any, made), {}, {("A", "data"): "dataA"}))
    assert "sch_netem" in str(caught.value) and "nor turn them aside" in str(caught.value)
    assert "load sch_netem" in caught.value.hint
    assert ended == ["relay"] and made.relay_of("dataA") is None
    assert made.queues() == {"dataA": Queue()} and made.blocked() == {}


def test_a_relay_that_does_not_start_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network.Relay, "start", classmethod(_no_relay))
    made = lab(monkeypatch, Route(netem=False))
    with pytest.raises(TestbedFault, match="does not start"):
        made.delay("dataA", 0.05)
    assert made.queues() == {"dataA": Queue()}


def _no_relay(*_: object) -> None:
    raise TestbedFault("the relay before 'dataA' does not start")


def descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


@pytest.mark.programs
def test_a_relay_without_its_tap_ends_and_leaves_no_descriptor() -> None:
    before = descriptors()
    with pytest.raises(TestbedFault, match="the relay before 'nowhere' does not start"):
        network.Relay.start("no name/of a tap", "nowhere", 1000)
    assert descriptors() == before


def test_a_host_without_a_limiter_of_rates_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingCapability, match="can not limit a rate") as raised:
        lab(monkeypatch, Route(netem=False)).limit_rate("dataA", 8_000_000)
    assert "sch_tbf" in str(raised.value.hint)


class Forgetful:
    """nftables with the chains of a block, which can not be ended the first time."""

    def __init__(self) -> None:
        self.chains = {("bridge", "block:cut")}
        self.refuses = 1

    def run(self, commands: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for command in commands:
            if "delete" in command:
                if self.refuses:
                    self.refuses -= 1
                    raise Refused("no memory")
                gone = command["delete"]["chain"]
                self.chains.remove((gone["family"], gone["name"]))
        return [{"chain": {"family": family, "name": name}} for family, name in self.chains]


def test_a_block_that_could_not_be_ended_is_known_until_it_is() -> None:
    nft = Forgetful()
    made = Network(cast(Nft, nft), _blocks={"cut": dict.fromkeys(nft.chains, 0)})
    with pytest.raises(Refused):
        made.unblock("cut")
    assert set(made.blocked()) == {"cut"}, "it is in force still, and healed it is not"
    made.unblock("cut")
    assert nft.chains == set() and made.blocked() == {}
    made.unblock("cut")
