"""Owns the relay: a process that holds frames for a time, for hosts whose kernel can not (sch_netem).

What goes to a machine's tap is turned aside to a tap of the relay's own (rules.py), and put back when its
time is over, never before; on a busy host it may be later. Like netem it holds so many frames and drops the
excess, and what it holds when it is ended. It runs inside the lab, and goes with it.

Started as `python -m testbed.machines.relay ASIDE TAP DELAY_US`.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import struct
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

from testbed.errors import TestbedFault

MARK = 0x7E57
"""On what the relay sends, which is not turned aside again."""
MOST_FRAMES = 1000
"""As netem by default (tc-netem(8), `limit`)."""
READY_S = 8.0
_LIFELINE_FD = 3
_FRAME_BYTES = 1 << 16
_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI = 2, 0x1000


@dataclass(frozen=True, slots=True)
class Relay:
    """One that runs. `aside` is its own tap; `process` a descriptor that is readable when it has ended."""

    aside: str
    delay_us: int
    pid: int
    process: int

    @classmethod
    def start(cls, aside: str, tap: str, delay_us: int) -> Relay:
        """Returns when its tap is there. Raises TestbedFault."""
        argv = [sys.executable, "-P", "-m", "testbed.machines.relay", aside, tap, str(delay_us)]
        told, tells = os.pipe()
        with os.fdopen(told, "rb", buffering=0) as pipe:
            actions = [(os.POSIX_SPAWN_CLOSE, _LIFELINE_FD), (os.POSIX_SPAWN_DUP2, tells, 1)]
            try:
                pid = os.posix_spawn(sys.executable, argv, os.environ, file_actions=actions, setsid=True)
            finally:
                os.close(tells)
            ready, _, _ = select.select([pipe], [], [], READY_S)
            if ready and pipe.read(1):
                with suppress(ProcessLookupError):
                    return cls(aside, delay_us, pid, os.pidfd_open(pid))
        _kill(pid)
        raise TestbedFault(f"the relay before '{tap}' does not start", hint="the broker's log says why")

    @property
    def runs(self) -> bool:
        return not select.select([self.process], [], [], 0)[0]

    def end(self) -> None:
        """Ends it, with its tap and what it holds. Nothing may be asked of it after that."""
        if self.runs:
            _kill(self.pid)
            select.select([self.process], [], [], READY_S)
        os.close(self.process)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _open_tap(name: str) -> int:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI))
    return fd


def main(argv: list[str]) -> int:
    """Relays until it is killed."""
    aside, tap, delay_ns = _open_tap(argv[1]), argv[2], int(argv[3]) * 1000
    back = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    back.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
    back.bind((tap, 0))
    os.write(1, b".")
    held: deque[tuple[int, bytes]] = deque()
    while True:
        wait_s = max(0, held[0][0] - time.monotonic_ns()) / 1e9 if held else None
        if select.select([aside], [], [], wait_s)[0]:
            frame = os.read(aside, _FRAME_BYTES)
            if len(held) < MOST_FRAMES:
                held.append((time.monotonic_ns() + delay_ns, frame))
        while held and held[0][0] <= time.monotonic_ns():
            with suppress(OSError):  # the tap's own queue is full: lost there, as without a relay
                back.send(held.popleft()[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv))
