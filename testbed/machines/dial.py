"""Owns the hand-over of a guest's socket to ssh(1): its ProxyCommand, with ProxyUseFdpass.

Called as `python -m testbed.machines.dial BROKER ADDRESS PORT`, standard output being ssh's socket.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from testbed.machines.client import Broker


def main() -> int:
    """Connects inside the lab, passes the connected socket up, and leaves."""
    place, address, port = sys.argv[1:4]
    with (
        Broker(Path(place)).connect(address, int(port)) as connection,
        socket.socket(fileno=sys.stdout.fileno()) as ssh,
    ):
        socket.send_fds(ssh, [b"\0"], [connection.fileno()])
        ssh.detach()
    return 0


if __name__ == "__main__":
    sys.exit(main())
