"""Fake guests: opens taps in this network namespace, sends frames between them and says what arrived.

`python frames.py JSON`, JSON a list of [source tap, destination tap, "tcp"|"udp", source port,
destination port, count]; prints the list of how many of each arrived.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import struct
import sys

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 2, 0x1000
PROTOCOLS = {"tcp": 6, "udp": 17}
SETTLE_S = 0.15


def open_tap(name: str, flags: int = 0) -> int:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | flags))
    return fd


def mac(tap: str) -> bytes:
    return b"\x02" + tap.encode().ljust(5, b"\0")[-5:]


def frame(source: str, destination: bytes, protocol: str, sport: int, dport: int) -> bytes:
    payload = struct.pack(">HHHH", sport, dport, 8, 0) + bytes(12)
    header = struct.pack(
        ">BBHHHBBH4s4s",
        0x45,
        0,
        20 + len(payload),
        0,
        0,
        64,
        PROTOCOLS[protocol],
        0,
        b"\x0a\2\0\1",
        b"\x0a\2\0\2",
    )
    return destination + mac(source) + b"\x08\x00" + header + payload


def drain(fd: int, settle_s: float = SETTLE_S) -> list[bytes]:
    found = []
    while select.select([fd], [], [], settle_s)[0]:
        found.append(os.read(fd, 2048))
    return found


def await_link(taps: dict[str, int]) -> None:
    """A tap that was just opened swallows frames for up to a second (net/core/link_watch.c).

    So a tap that no fault concerns calls until it was heard on all of them.
    """
    probe = open_tap("probe")
    silent = set(taps.values())
    for _ in range(100):
        os.write(probe, frame("probe", b"\xff" * 6, "udp", 9, 9))
        heard, _, _ = select.select(silent, [], [], 0.05)
        silent -= set(heard)
        if not silent:
            return
    raise TimeoutError(f"{len(silent)} taps hear nothing")


def main() -> None:
    wishes = json.loads(sys.argv[1])
    names = sorted({name for wish in wishes for name in wish[:2]})
    taps = {name: open_tap(name) for name in names}
    await_link(taps)
    for name in names:  # the bridge learns who is where
        os.write(taps[name], frame(name, b"\xff" * 6, "udp", 9, 9))
    for fd in taps.values():
        drain(fd)
    arrived = []
    for source, destination, protocol, sport, dport, count in wishes:
        sent = frame(source, mac(destination), protocol, sport, dport)
        for _ in range(count):
            os.write(taps[source], sent)
        arrived.append(drain(taps[destination]).count(sent))
    sys.stdout.write(json.dumps(arrived))


if __name__ == "__main__":
    main()
