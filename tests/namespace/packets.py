"""Fake guests that send whole frames, checksums and all, and tell in full what arrives.

`python -m tests.namespace.packets JSON`, JSON a list of [source tap, destination tap, frame in hex, count];
prints for each what came to its destination and what came back to its source, in hex.
"""

from __future__ import annotations

import json
import os
import select
import struct
import sys

from tests.namespace.frames import PROTOCOLS, SETTLE_S, await_link, mac, open_tap

SEQUENCE, ACKNOWLEDGED = 1000, 2000
PSH_ACK = 0x18
EXPERIMENTAL = b"\x88\xb5"


def address(tap: str) -> bytes:
    return bytes([10, 2, 0, ord(tap[-1])])


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packet(source: str, destination: str, protocol: str, sport: int, dport: int, payload: bytes) -> bytes:
    if protocol == "tcp":
        head = struct.pack(">HHIIBBHHH", sport, dport, SEQUENCE, ACKNOWLEDGED, 0x50, PSH_ACK, 512, 0, 0)
        place = 16
    else:
        head = struct.pack(">HHHH", sport, dport, 8 + len(payload), 0)
        place = 6
    length = len(head) + len(payload)
    ends = address(source) + address(destination)
    pseudo = ends + struct.pack(">BBH", 0, PROTOCOLS[protocol], length)
    segment = bytearray(head + payload)
    segment[place : place + 2] = struct.pack(">H", checksum(pseudo + segment))
    header = bytearray(
        struct.pack(">BBHHHBBH", 0x45, 0, 20 + length, 7, 0x4000, 64, PROTOCOLS[protocol], 0) + ends
    )
    header[10:12] = struct.pack(">H", checksum(bytes(header)))
    return mac(destination) + mac(source) + b"\x08\x00" + bytes(header) + bytes(segment)


def gather(taps: dict[str, int], settle_s: float) -> dict[str, list[bytes]]:
    """What has come to each tap, until nothing comes any more."""
    found: dict[str, list[bytes]] = {name: [] for name in taps}
    names = {fd: name for name, fd in taps.items()}
    while heard := select.select(names, [], [], settle_s)[0]:
        for fd in heard:
            found[names[fd]].append(os.read(fd, 2048))
    return found


def main() -> None:
    wishes = json.loads(sys.argv[1])
    taps = {name: open_tap(name) for name in sorted({name for wish in wishes for name in wish[:2]})}
    await_link(taps)
    for name, fd in taps.items():  # the bridge learns who is where, by what is no packet
        os.write(fd, b"\xff" * 6 + mac(name) + EXPERIMENTAL + bytes(46))
    gather(taps, SETTLE_S)
    told = []
    for source, destination, sent, count in wishes:
        arrived: dict[str, list[bytes]] = {name: [] for name in taps}
        for number in range(count):
            os.write(taps[source], bytes.fromhex(sent))
            # A tap's queue is short: what has come is taken before the next is sent.
            for name, frames in gather(taps, SETTLE_S if number == count - 1 else 0).items():
                arrived[name] += frames
        sides = (arrived[destination], arrived[source])
        told.append([[frame.hex() for frame in side] for side in sides])
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
