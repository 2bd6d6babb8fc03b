"""Fake guests with a clock: sends frames from one tap to another and says how long each was on its way.

`python -m tests.namespace.times SOURCE DESTINATION COUNT PAUSE_S`; prints the seconds of those that arrived.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time

from tests.namespace.frames import await_link, drain, frame, mac, open_tap

LAST_S = 1.5
"""After the last frame was sent."""


def main() -> None:
    source, destination, count, pause_s = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    taps = {name: open_tap(name) for name in (source, destination)}
    await_link(taps)
    for name, fd in taps.items():
        os.write(fd, frame(name, b"\xff" * 6, "udp", 9, 9))
    time.sleep(LAST_S / 3)
    for fd in taps.values():
        drain(fd)
    frames = [frame(source, mac(destination), "udp", 1, 1000 + number) for number in range(count)]
    sent: dict[bytes, float] = {}
    took: list[float] = []
    next_s = time.monotonic()
    end_s = next_s + count * pause_s + LAST_S
    while (now := time.monotonic()) < end_s and len(took) < count:
        if len(sent) < count and now >= next_s:
            sent[frames[len(sent)]] = time.monotonic()
            os.write(taps[source], frames[len(sent) - 1])
            next_s += pause_s
        wait_s = max(0.0, (next_s if len(sent) < count else end_s) - time.monotonic())
        if select.select([taps[destination]], [], [], wait_s)[0]:
            arrived = os.read(taps[destination], 2048)
            if arrived in sent:
                took.append(time.monotonic() - sent[arrived])
    sys.stdout.write(json.dumps(took))


if __name__ == "__main__":
    main()
