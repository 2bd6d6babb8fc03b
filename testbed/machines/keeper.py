"""Owns nothing but a lifeline: keeps a lab alive after the command that made it, until the lab ends.

Started by sandbox.py as `python -m testbed.machines.keeper` with the lifeline as descriptor 3.
"""

from __future__ import annotations

import select
import signal
import sys

LIFELINE_FD = 3


def main() -> int:
    """Waits until nobody reads the lifeline any more: then the lab is gone."""
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    poll = select.poll()
    poll.register(LIFELINE_FD, 0)
    poll.poll()
    return 0


if __name__ == "__main__":
    sys.exit(main())
