"""Owns the state of apt's package lists: what was asked of apt holds for as long as they are the same."""

from __future__ import annotations

from pathlib import Path

from testbed.errors import MissingCapability

LISTS = Path("/var/lib/apt/lists")
REMEDY = "on Debian run as root: apt-get update; elsewhere give an image of your own"

State = tuple[tuple[str, int, int], ...]
"""Name, size and time of each list."""


def lists_state() -> State:
    """Raises MissingCapability if there is no list."""
    try:
        entries = [(p.name, p.stat()) for p in LISTS.iterdir() if "Packages" in p.name]
    except OSError:
        entries = []
    if not entries:
        raise MissingCapability(
            "apt knows of no packages: the guest image and the kernel 'debian' are made of Debian's",
            hint=REMEDY,
        )
    return tuple(sorted((name, status.st_size, status.st_mtime_ns) for name, status in entries))
