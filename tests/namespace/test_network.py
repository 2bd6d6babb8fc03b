"""Faults on a real bridge, with frames from fake guests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from testbed.errors import TestbedFault
from testbed.faults import FaultTarget, fault_of
from testbed.faults.drop import Drop
from testbed.faults.flow import FlowDrop
from testbed.faults.rate import Rate
from testbed.machines.sandbox import Sandbox
from testbed.machines.wire import Flow, Queue
from tests.namespace.conftest import Wish, inside, send
from tests.test_plan_faults import CUT, flap, planned, spells
from tests.test_plan_faults import FLOOD as PLAYBOOK

pytestmark = pytest.mark.namespace

FORTH: Wish = ("dataA", "dataC", "tcp", 700, 10809, 5)
BACK: Wish = ("dataC", "dataA", "tcp", 10809, 700, 5)
FLOOD: Wish = ("dataB", "dataA", "udp", 9, 5000, 5)
OTHER: Wish = ("dataC", "dataA", "udp", 9, 5000, 5)
SWAP = Flow("dataA", "dataC", "tcp", destination_port=10809)


def target(sandbox: Sandbox) -> FaultTarget:
    taps = {(machine, "data"): f"data{machine}" for machine in "ABC"}
    return FaultTarget(sandbox.broker, {}, taps, {"swap.requests": SWAP, "swap.replies": SWAP.back})


@pytest.mark.parametrize(
    ("fault", "arrive"),
    [
        (Drop(between=("A", "C")), [0, 0, 5, 0]),
        (Drop(between=("A", "C"), direction="forth"), [0, 5, 5, 5]),
        (Drop(between=("A", "C"), direction="back"), [5, 0, 5, 0]),
        (Drop(between=("A", "B")), [5, 5, 0, 5]),
        (FlowDrop(flow="swap"), [0, 0, 5, 5]),
        (FlowDrop(flow="swap.requests"), [0, 5, 5, 5]),
        (FlowDrop(flow="swap.replies"), [5, 0, 5, 5]),
    ],
    ids=lambda value: value.model_dump_json() if isinstance(value, Drop | FlowDrop) else None,
)
def test_a_drop_takes_what_it_says_and_heals(lab: Sandbox, fault: Drop | FlowDrop, arrive: list[int]) -> None:
    wishes = (FORTH, BACK, FLOOD, OTHER)
    where = target(lab)
    assert not fault.in_force(where)
    fault.apply(where)
    assert fault.in_force(where)
    assert send(lab, *wishes) == arrive
    (dropped,) = lab.broker.blocked().values()
    assert dropped.packets >= 20 - sum(arrive)
    fault.revert(where)
    assert not fault.in_force(where)
    assert send(lab, *wishes) == [5, 5, 5, 5]
    fault.revert(where)


def test_frames_pass_between_the_spells_of_a_drop_that_flaps(lab: Sandbox, tmp_path: Path) -> None:
    plan = planned(tmp_path, PLAYBOOK.replace(CUT, flap(on="1s", off="4s")))
    where, fault = target(lab), fault_of(plan.faults[0])
    done = [do for _, do in spells(plan)]
    assert done == ["apply", "revert"] * 4
    for do in done:
        (fault.apply if do == "apply" else fault.revert)(where)
        assert fault.in_force(where) is (do == "apply")
        assert send(lab, FORTH, FLOOD) == ([0, 5] if do == "apply" else [5, 5])


def test_a_rate_that_flaps_is_the_same_in_each_spell(lab: Sandbox) -> None:
    where, fault = target(lab), Rate.model_validate({"machine": "A", "rate": "2Mbit/s"})
    for _ in range(5):
        fault.apply(where)
        assert fault.in_force(where) and queued(lab, "dataA")["options"]["rate"] == 250_000
        fault.revert(where)
        assert not fault.in_force(where) and queued(lab, "dataA")["kind"] != "tbf"


def test_two_one_way_drops_are_a_whole_one_and_end_apart(lab: Sandbox) -> None:
    forth, back = Drop(between=("A", "C"), direction="forth"), Drop(between=("A", "C"), direction="back")
    where = target(lab)
    forth.apply(where)
    assert send(lab, FORTH, BACK) == [0, 5]
    back.apply(where)
    assert send(lab, FORTH, BACK) == [0, 0]
    assert (forth.cuts(where), back.cuts(where)) == (("swap.requests",), ("swap.replies",))
    forth.revert(where)
    assert back.in_force(where) and not forth.in_force(where)
    assert send(lab, FORTH, BACK) == [5, 0]


def test_the_wire_counts_what_is_offered_and_what_is_delivered(lab: Sandbox) -> None:
    lab.broker.count("swap.requests", SWAP)
    lab.broker.count("flood", Flow("dataB", "dataA", "udp"))
    send(lab, FORTH)
    lab.broker.block("cut", [SWAP, SWAP.back])
    send(lab, FORTH, OTHER)
    taps, flows = lab.broker.counters()
    assert (flows["swap.requests"]["offered_packets"], flows["swap.requests"]["delivered_packets"]) == (10, 5)
    assert flows["flood"]["offered_packets"] == 0
    assert taps["dataA"]["tx_packets"] >= 10


def test_two_labs_do_not_know_of_each_other(make_lab: Callable[[], Sandbox]) -> None:
    one, two = make_lab(), make_lab()
    fault = Drop(between=("A", "C"))
    fault.apply(target(one))
    assert send(one, FORTH) == [0]
    assert send(two, FORTH) == [5]
    assert not fault.in_force(target(two))


def queued(lab: Sandbox, tap: str) -> Any:
    """What `tc` says of the tap's queue: not what we read it by."""
    (root,) = json.loads(inside(lab, "tc", "-json", "qdisc", "show", "dev", tap))
    return root


@pytest.mark.parametrize("rate", ["1kbit/s", "1000007bit/s", "10Mbit/s", "30Gbit/s"])
def test_a_rate_is_read_back_by_its_value(lab: Sandbox, rate: str) -> None:
    fault = Rate.model_validate({"machine": "A", "rate": rate})
    where = target(lab)
    fault.apply(where)
    assert fault.in_force(where)
    assert lab.broker.queues()["dataA"] == Queue(bits_per_s=fault.rate // 8 * 8)
    assert (queued(lab, "dataA")["kind"], queued(lab, "dataA")["options"]["rate"]) == ("tbf", fault.rate // 8)
    lab.broker.limit_rate("dataA", 0)
    lab.broker.limit_rate("dataA", 5_000_000)
    assert not fault.in_force(where)
    fault.revert(where)
    assert lab.broker.queues()["dataA"] == Queue()
    assert queued(lab, "dataA")["kind"] != "tbf"
    fault.revert(where)


def test_a_tap_has_one_queue_and_keeps_it(lab: Sandbox) -> None:
    first, second = (Rate.model_validate({"machine": "A", "rate": rate}) for rate in ("1Mbit/s", "2Mbit/s"))
    where = target(lab)
    first.apply(where)
    with pytest.raises(TestbedFault, match="'dataA' has a queue in force already"):
        second.apply(where)
    with pytest.raises(TestbedFault, match="'dataA' has a queue in force already"):
        lab.broker.delay("dataA", 0.01)
    lab.broker.delay("dataA", 0)
    assert first.in_force(where)


def test_a_low_rate_lets_a_large_frame_pass(lab: Sandbox) -> None:
    lab.broker.make_link("br-big", mtu=9000)
    lab.broker.make_tap("big", "br-big", mtu=9000)
    lab.broker.limit_rate("big", 1000)
    # tc tells the burst that it was given by the time it takes: some bytes are lost in that.
    assert queued(lab, "big")["options"]["burst"] >= 9000 + 14


def test_a_rate_lets_through_what_it_says(lab: Sandbox) -> None:
    fault = Rate.model_validate({"machine": "A", "rate": "10kbit/s"})
    where = target(lab)
    fault.apply(where)
    assert fault.in_force(where)
    (arrived,) = send(lab, ("dataC", "dataA", "udp", 1, 2, 200))
    assert arrived < 200
    fault.revert(where)
    assert not fault.in_force(where)


def test_a_tap_has_the_queues_and_the_mtu_that_it_was_made_with(lab: Sandbox) -> None:
    lab.broker.make_link("br-big", mtu=4096)
    lab.broker.make_tap("one", "br-big", mtu=4096)
    lab.broker.make_tap("several", "br-big", queues=2, mtu=4096, frames=256)
    told = {link["ifname"]: link for link in json.loads(inside(lab, "ip", "-json", "-details", "link"))}
    assert [told[name]["mtu"] for name in ("br-big", "one", "several", "br-data")] == [4096, 4096, 4096, 1500]
    taps = [told[name]["linkinfo"]["info_data"] for name in ("one", "several")]
    assert [tap["type"] for tap in taps] == ["tap", "tap"]
    assert [tap.get("multi_queue", False) for tap in taps] == [False, True]
    assert [told[name]["txqlen"] for name in ("one", "several")] == [32, 256]


def test_blocks_of_two_faults_overlap(lab: Sandbox) -> None:
    first, second = Drop(between=("A", "C")), FlowDrop(flow="swap")
    where = target(lab)
    first.apply(where)
    second.apply(where)
    first.revert(where)
    assert send(lab, FORTH, OTHER) == [0, 5]
    assert second.in_force(where)


@pytest.mark.parametrize("name", ["", "a b", 'x"; drop', "a" * 81])
def test_a_name_that_can_not_be_one_is_refused(lab: Sandbox, name: str) -> None:
    with pytest.raises(TestbedFault, match="can not be a name"):
        lab.broker.block(name, [SWAP])
    assert lab.broker.blocked() == {}
