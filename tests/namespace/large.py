"""A fake guest with virtio-net: sends a TCP segment larger than any frame, yet to be cut and summed.

`python -m tests.namespace.large SOURCE DESTINATION PAYLOAD_BYTES`; prints what arrived, in hex.
"""

from __future__ import annotations

import json
import os
import struct
import sys

from tests.namespace.frames import await_link, drain, frame, mac, open_tap
from tests.namespace.packets import checksum, packet

IFF_VNET_HDR = 0x4000
SEGMENT_BYTES = 1000
HEADERS = struct.Struct("=BBHHHH")
"""struct virtio_net_hdr (linux/virtio_net.h): what is to be done with the packet that follows."""
NEEDS_CSUM, GSO_TCPV4 = 1, 1
AS_IT_IS = HEADERS.pack(0, 0, 0, 0, 0, 0)


def main() -> None:
    source, destination, length = sys.argv[1], sys.argv[2], int(sys.argv[3])
    sender, receiver = open_tap(source, IFF_VNET_HDR), open_tap(destination)
    await_link({destination: receiver})
    os.write(sender, AS_IT_IS + frame(source, b"\xff" * 6, "udp", 9, 9))
    os.write(receiver, frame(destination, b"\xff" * 6, "udp", 9, 9))
    drain(receiver)
    whole = bytearray(packet(source, destination, "tcp", 700, 10809, bytes(length)))
    pseudo = whole[26:34] + struct.pack(">BBH", 0, 6, len(whole) - 34)
    whole[50:52] = struct.pack(">H", 0xFFFF - checksum(bytes(pseudo)))
    header = HEADERS.pack(NEEDS_CSUM, GSO_TCPV4, 54, SEGMENT_BYTES, 34, 16)
    os.write(sender, header + whole)
    came = drain(receiver, 1.0)
    sys.stdout.write(json.dumps([each.hex() for each in came if each[6:12] == mac(source)]))


if __name__ == "__main__":
    main()
