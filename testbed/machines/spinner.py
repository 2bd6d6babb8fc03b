"""Owns the spinner: a process that keeps a core busy with nothing, for at most so many seconds."""

from __future__ import annotations

import sys
import time


def main(argv: list[str]) -> int:
    """Spins for so many seconds; a look at the clock now and then, so that most of it is no system call."""
    end_s = time.monotonic() + float(argv[1])
    while time.monotonic() < end_s:
        for _ in range(1_000_000):
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
