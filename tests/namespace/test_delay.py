"""A delay on a real bridge: by netem where the host's kernel has it, and by a relay where it has not."""

from __future__ import annotations

import os
import signal
import struct
from pathlib import Path

import pytest

from testbed.clock import Deadline, poll
from testbed.errors import TestbedFault
from testbed.faults.delay import Delay
from testbed.machines.sandbox import Sandbox
from testbed.machines.wire import Queue
from tests.namespace.conftest import entering, inside, send, send_large, times
from tests.namespace.packets import SEQUENCE, checksum
from tests.namespace.test_network import BACK, FLOOD, FORTH, target

pytestmark = pytest.mark.namespace

SAID_S = 0.2
FAULT = Delay.model_validate({"machine": "A", "delay": "200ms"})


def relays(lab: Sandbox) -> list[int]:
    """The lab's relays, by their ids out here."""
    inner = Path(f"/proc/{entering(lab)[2]}/ns/pid").stat().st_ino
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            relays = b"testbed.machines.relay" in (entry / "cmdline").read_bytes()
            if relays and (entry / "ns/pid").stat().st_ino == inner:
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_frames_arrive_later_by_what_is_said_and_in_time_when_it_is_healed(lab: Sandbox) -> None:
    where = target(lab)
    assert not FAULT.in_force(where)
    for _ in range(2):
        FAULT.apply(where)
        assert FAULT.in_force(where)
        assert lab.broker.queues()["dataA"].delay_s == pytest.approx(SAID_S, abs=1e-6)
        took = times(lab, "dataC", "dataA", 20, 0.02)
        assert len(took) == 20 and min(took) >= SAID_S
        assert sorted(took)[10] < SAID_S + 0.1, took
        assert min(times(lab, "dataA", "dataC", 5, 0.02)) < SAID_S / 2
        FAULT.revert(where)
        assert not FAULT.in_force(where)
        assert lab.broker.queues()["dataA"] == Queue()
    assert sorted(times(lab, "dataC", "dataA", 5, 0.02))[2] < SAID_S / 2
    FAULT.revert(where)


def test_what_virtio_net_leaves_to_the_host_arrives_whole(lab: Sandbox) -> None:
    FAULT.apply(target(lab))
    came = send_large(lab, "dataC", "dataA", 4500)
    assert [len(frame) - 54 for frame in came] == [1000, 1000, 1000, 1000, 500]
    for frame in came:
        pseudo = frame[26:34] + struct.pack(">BBH", 0, 6, len(frame) - 34)
        assert checksum(frame[14:34]) == 0 and checksum(pseudo + frame[34:]) == 0
    numbers = [struct.unpack(">I", frame[38:42])[0] for frame in came]
    assert numbers == [SEQUENCE + 1000 * place for place in range(5)]


def test_a_delay_and_a_rate_do_not_share_a_tap(lab: Sandbox) -> None:
    where = target(lab)
    FAULT.apply(where)
    for deed in (lambda: FAULT.apply(where), lambda: lab.broker.limit_rate("dataA", 1_000_000)):
        with pytest.raises(TestbedFault, match="'dataA' has a queue in force already"):
            deed()
    lab.broker.limit_rate("dataA", 0)
    assert FAULT.in_force(where)
    assert not Delay(machine="A", delay="300ms").in_force(where)  # type: ignore[arg-type]


def test_the_wire_counts_a_delayed_frame_as_delivered(lab: Sandbox) -> None:
    where = target(lab)
    for name, flow in where.flows.items():
        lab.broker.count(name, flow)
    FAULT.apply(where)
    send(lab, FORTH, BACK, FLOOD)
    _, flows = lab.broker.counters()
    for name in where.flows:
        assert (flows[name]["offered_packets"], flows[name]["delivered_packets"]) == (5, 5)
    assert FAULT.cuts(where) == ()


def test_frames_pass_when_a_relay_ends_by_itself_and_that_is_told(lab: Sandbox) -> None:
    where = target(lab)
    FAULT.apply(where)
    found = relays(lab)
    if not found:
        assert "netem" in inside(lab, "tc", "qdisc", "show", "dev", "dataA")  # there is nothing that may end
        return
    os.kill(found[0], signal.SIGKILL)
    poll(lambda: lab.broker.blocked() == {}, Deadline.after(5, "the end of a relay"))
    assert not FAULT.in_force(where)
    assert send(lab, FORTH, BACK) == [5, 5]
    with pytest.raises(TestbedFault, match="ended by itself"):
        FAULT.revert(where)
    FAULT.revert(where)
    FAULT.apply(where)
    assert FAULT.in_force(where)


def test_a_relay_goes_with_its_lab(lab: Sandbox) -> None:
    FAULT.apply(target(lab))
    mine = relays(lab)
    lab.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in mine)
