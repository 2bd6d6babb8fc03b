"""Owns the drgn shell: drgn's own, with our views of tasks, requests, sockets and memory at hand."""

from __future__ import annotations

import sys
from typing import Any

from drgn.cli import run_interactive

from testbed.introspection.reader import program, snapshot
from testbed.introspection.reading import Reading
from testbed.snapshot import Snapshot

BANNER = """
look() is what the testbed reads in it now: look().tasks, .requests, .sockets, .nics, .zones, .locks, ...
"""


def main(memory: str, vmlinux: str) -> None:
    prog = program(memory, vmlinux)

    def look() -> Snapshot:
        return snapshot(Reading(prog))

    def names(given: dict[str, Any]) -> dict[str, Any]:
        return given | {"look": look}

    run_interactive(prog, banner_func=lambda banner: banner + BANNER, globals_func=names)


if __name__ == "__main__":
    main(*sys.argv[1:3])
