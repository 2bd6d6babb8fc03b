"""Faults that answer or damage packets, on a real bridge: true packets of fake guests, read byte by byte."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

import pytest

from testbed.errors import TestbedFault, UsageError
from testbed.faults import FaultTarget
from testbed.faults.corrupt import Corrupt
from testbed.faults.drop import Drop
from testbed.faults.readdress import Readdress
from testbed.faults.reset import Reset
from testbed.machines.sandbox import Sandbox
from testbed.machines.wire import Flow
from tests.namespace.conftest import Sent, send_raw
from tests.namespace.frames import mac
from tests.namespace.packets import ACKNOWLEDGED, SEQUENCE, checksum, packet

pytestmark = pytest.mark.namespace

PAYLOAD = bytes(range(64))
NBD = 10809
FORTH = ("dataA", "dataC", "tcp", 700, NBD, PAYLOAD)
BACK = ("dataC", "dataA", "tcp", NBD, 700, PAYLOAD)
BESIDE = ("dataA", "dataC", "udp", 700, NBD, PAYLOAD)
OTHER_CLIENT = ("dataC", "dataB", "tcp", NBD, 700, PAYLOAD)
SWAP = Flow("dataA", "dataC", "tcp", destination_port=NBD)
RST = 4
OLD, NEW = "10.2.0.67", "10.2.0.99"


def target(lab: Sandbox) -> FaultTarget:
    taps = {(machine, "data"): f"data{machine}" for machine in "ABC"}
    flows = {"swap.requests": SWAP, "swap.replies": SWAP.back, "beside": Flow("dataA", "dataC", "udp")}
    for name, flow in flows.items():
        lab.broker.count(name, flow)
    return FaultTarget(lab.broker, {}, taps, flows)


def send(lab: Sandbox, *wishes: tuple[str, str, str, int, int, bytes], count: int = 3) -> list[Sent]:
    return send_raw(lab, *((*wish[:2], packet(*wish), count) for wish in wishes))


def untouched(sent: Sent, count: int = 3) -> bool:
    return sent.arrived == (sent.packet,) * count and sent.answers == ()


def refused(sent: Sent, count: int = 3) -> bool:
    """Whether nothing arrived, and each packet was answered with a reset that TCP believes."""
    for answer in sent.answers:
        ethernet, header, segment = answer[:14], answer[14:34], answer[34:54]
        assert ethernet == sent.packet[6:12] + sent.packet[:6] + b"\x08\x00"
        assert header[12:20] == sent.packet[30:34] + sent.packet[26:30]
        ports, sequence, flags = segment[:4], struct.unpack(">I", segment[4:8])[0], segment[13]
        assert ports == sent.packet[36:38] + sent.packet[34:36]
        # What the sender has acknowledged is the only number at which it takes a reset (RFC 5961).
        assert sequence == ACKNOWLEDGED and flags & RST
        pseudo = header[12:20] + struct.pack(">BBH", 0, 6, len(segment))
        assert checksum(header) == 0 and checksum(pseudo + segment) == 0
    return sent.arrived == () and len(sent.answers) == count


@pytest.mark.parametrize(
    ("fault", "taken"),
    [
        (Reset(flow="swap"), [True, True, False, False]),
        (Reset(flow="swap.requests"), [True, False, False, False]),
        (Reset(between=("A", "C"), direction="back"), [False, True, False, False]),
        (Reset(between=("C", "B"), direction="forth"), [False, False, False, True]),
    ],
    ids=lambda value: value.block if isinstance(value, Reset) else None,
)
def test_a_connection_is_answered_with_a_reset_and_heals(
    lab: Sandbox, fault: Reset, taken: list[bool]
) -> None:
    wishes = (FORTH, BACK, BESIDE, OTHER_CLIENT)
    where = target(lab)
    assert not fault.in_force(where)
    fault.apply(where)
    assert fault.in_force(where)
    sent = send(lab, *wishes)
    assert [refused(one) for one in sent] == taken
    assert [untouched(one) for one in sent] == [not one for one in taken]
    (count,) = lab.broker.blocked().values()
    assert count.packets == 3 * sum(taken)
    fault.revert(where)
    assert not fault.in_force(where)
    assert all(untouched(one) for one in send(lab, *wishes))
    fault.revert(where)


def test_the_wire_counts_what_is_reset_as_offered(lab: Sandbox) -> None:
    where = target(lab)
    fault = Reset(flow="swap")
    assert fault.cuts(where) == ("swap.requests", "swap.replies")
    send(lab, FORTH)
    fault.apply(where)
    send(lab, FORTH, BESIDE)
    fault.revert(where)
    _, flows = lab.broker.counters()
    counted = {name: (flow["offered_packets"], flow["delivered_packets"]) for name, flow in flows.items()}
    assert counted == {"swap.requests": (6, 3), "swap.replies": (0, 0), "beside": (3, 3)}
    fault.apply(where)
    send(lab, FORTH)
    _, flows = lab.broker.counters()
    assert flows["swap.requests"]["offered_packets"] == 9


def test_resets_and_drops_end_apart(lab: Sandbox) -> None:
    where = target(lab)
    reset, drop = Reset(flow="swap"), Drop(between=("A", "C"))
    reset.apply(where)
    drop.apply(where)
    assert refused(send(lab, FORTH)[0])
    reset.revert(where)
    (silent,) = send(lab, FORTH)
    assert silent.arrived == silent.answers == ()
    assert drop.in_force(where) and not reset.in_force(where)


def test_only_tcp_can_be_reset(lab: Sandbox) -> None:
    where = FaultTarget(lab.broker, {}, {}, {"flood": Flow("dataB", "dataA", "udp")})
    with pytest.raises(UsageError, match="'flood' is not TCP"):
        Reset(flow="flood").apply(where)
    with pytest.raises(TestbedFault, match="is to reset what is not TCP"):
        lab.broker.reset("x", [Flow("dataB", "dataA", "udp")])
    with pytest.raises(TestbedFault, match="the MAC address behind tap 'probe' is not known"):
        lab.broker.reset("x", [Flow("dataA", "probe")])
    assert lab.broker.blocked() == {}


@pytest.mark.parametrize(
    ("fault", "damaged"),
    [
        (Corrupt(flow="swap.replies", share=1), [False, True, False, False]),
        (Corrupt(between=("A", "C"), share=1), [True, True, True, False]),
        (Corrupt(between=("A", "C"), direction="forth", share=1), [True, False, True, False]),
    ],
    ids=lambda value: value.block if isinstance(value, Corrupt) else None,
)
def test_packets_arrive_damaged_and_heal(lab: Sandbox, fault: Corrupt, damaged: list[bool]) -> None:
    wishes = (FORTH, BACK, BESIDE, OTHER_CLIENT)
    where = target(lab)
    fault.apply(where)
    assert fault.in_force(where) and fault.cuts(where) == ()
    sent = send(lab, *wishes)
    assert [not untouched(one) for one in sent] == damaged
    for one in [one for one, hit in zip(sent, damaged, strict=True) if hit]:
        assert len(one.arrived) == 3
        assert all(is_damaged(one.packet, arrived) for arrived in one.arrived)
    (count,) = lab.broker.blocked().values()
    assert count.packets == 3 * sum(damaged)
    _, flows = lab.broker.counters()
    counted = [flows[name]["delivered_packets"] for name in ("swap.requests", "swap.replies", "beside")]
    assert counted == [3, 3, 3]
    fault.revert(where)
    assert not fault.in_force(where)
    assert all(untouched(one) for one in send(lab, *wishes))


def is_damaged(packet: bytes, arrived: bytes) -> bool:
    """Whether a receiver must find the damage out by IP's header, and would by the payload's checksum too."""
    header, segment = arrived[14:34], arrived[34:]
    pseudo = header[12:20] + struct.pack(">BBH", 0, header[9], len(segment))
    assert arrived[:14] == packet[:14] and header[12:20] == packet[26:34]
    return len(arrived) == len(packet) and checksum(header) != 0 and checksum(pseudo + segment) != 0


def test_a_share_of_the_packets_is_damaged(lab: Sandbox) -> None:
    where = target(lab)
    Corrupt(flow="swap", share=0.25).apply(where)
    (sent,) = send(lab, FORTH, count=400)
    hit = [one for one in sent.arrived if one != sent.packet]
    assert len(sent.arrived) == 400
    # The least likely outcome within these bounds is six standard deviations off.
    assert 48 < len(hit) < 152
    (count,) = lab.broker.blocked().values()
    assert count.packets == len(hit)


def test_a_packet_that_is_too_short_to_have_a_payload_is_damaged_all_the_same(lab: Sandbox) -> None:
    where = target(lab)
    Corrupt(flow="swap", share=1).apply(where)
    (sent,) = send(lab, (*FORTH[:5], b""))
    assert len(sent.arrived) == 3
    assert all(checksum(arrived[14:34]) != 0 for arrived in sent.arrived)


def test_a_machine_has_another_address_for_all_others_and_its_own_again(lab: Sandbox) -> None:
    where = readdressed(lab)
    fault = Readdress(machine="C", address=NEW)
    assert not fault.in_force(where)
    fault.apply(where)
    assert fault.in_force(where)
    to_old, from_old, beside = send(lab, FORTH, BACK, ("dataA", "dataB", "tcp", 700, NBD, PAYLOAD))
    assert to_old.arrived == to_old.answers == ()
    assert len(from_old.arrived) == 3
    for arrived in from_old.arrived:
        assert arrived[26:34] == IPv4Address(NEW).packed + from_old.packet[30:34]
        assert not is_wrong(arrived) and arrived[34:36] == from_old.packet[34:36]
        assert arrived[54:] == PAYLOAD
    assert untouched(beside)
    (to_new,) = send_raw(lab, ("dataA", "dataC", moved(packet(*FORTH)), 3))
    assert to_new.arrived == (packet(*FORTH),) * 3
    fault.revert(where)
    assert not fault.in_force(where)
    assert all(untouched(one) for one in send(lab, FORTH, BACK))
    fault.revert(where)


def test_arp_speaks_of_the_new_address_too(lab: Sandbox) -> None:
    where = readdressed(lab)
    Readdress(machine="C", address=NEW).apply(where)
    asks = ("dataA", "dataC", arp("dataA", "10.2.0.65", NEW), 1)
    asks_old = ("dataA", "dataC", arp("dataA", "10.2.0.65", OLD), 1)
    tells = ("dataC", "dataA", arp("dataC", OLD, "10.2.0.65"), 1)
    new, old, told = send_raw(lab, asks, asks_old, tells)
    assert new.arrived == (arp("dataA", "10.2.0.65", OLD),)
    assert old.arrived == ()
    assert told.arrived == (arp("dataC", NEW, "10.2.0.65"),)


def test_what_is_no_other_address_is_refused(lab: Sandbox) -> None:
    where = readdressed(lab)
    for address in (OLD, "10.2.0"):
        with pytest.raises(TestbedFault):
            lab.broker.readdress("x", "dataC", OLD, address)
    with pytest.raises(UsageError, match="no NIC of machine 'B'"):
        Readdress(machine="B", address=NEW).apply(where)
    with pytest.raises(ValueError, match="Expected 4 octets"):
        Readdress(machine="C", address="10.2.0")
    assert lab.broker.blocked() == {}


def readdressed(lab: Sandbox) -> FaultTarget:
    return FaultTarget(lab.broker, {}, {("C", "data"): "dataC"}, addresses={("C", "data"): OLD})


def moved(packet: bytes) -> bytes:
    """The packet to the new address, with its checksums right."""
    header, segment = bytearray(packet[14:34]), bytearray(packet[34:])
    header[16:20] = IPv4Address(NEW).packed
    header[10:12] = bytes(2)
    header[10:12] = struct.pack(">H", checksum(bytes(header)))
    segment[16:18] = bytes(2)
    pseudo = bytes(header[12:20]) + struct.pack(">BBH", 0, header[9], len(segment))
    segment[16:18] = struct.pack(">H", checksum(pseudo + bytes(segment)))
    return packet[:14] + bytes(header) + bytes(segment)


def arp(source: str, own: str, asked: str) -> bytes:
    sender = mac(source) + IPv4Address(own).packed
    words = struct.pack(">HHBBH", 1, 0x0800, 6, 4, 1) + sender + bytes(6) + IPv4Address(asked).packed
    return b"\xff" * 6 + mac(source) + b"\x08\x06" + words


def test_what_the_fake_guests_send_is_right() -> None:
    for protocol in ("tcp", "udp"):
        sent = packet("dataA", "dataC", protocol, 700, NBD, PAYLOAD)
        assert not is_wrong(sent)
    assert struct.unpack(">I", packet(*FORTH)[38:42])[0] == SEQUENCE


def is_wrong(packet: bytes) -> bool:
    header, segment = packet[14:34], packet[34:]
    pseudo = header[12:20] + struct.pack(">BBH", 0, header[9], len(segment))
    return checksum(header) != 0 or checksum(pseudo + segment) != 0
