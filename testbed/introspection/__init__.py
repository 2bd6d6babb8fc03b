"""Looking into a guest without its help: its memory becomes a snapshot of plain facts.

It is read by drgn with the debug information of its kernel, in a process of its own: a guest's memory is
hostile input, and whatever it does to the reader must not reach the controller.

Memory is given as a dump's path, which a verdict asks for: all of one moment. Or as the descriptor of the
file behind a running guest's RAM, which stays the caller's: the guest goes on meanwhile.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from pydantic import ValidationError

from testbed import proc
from testbed.errors import TestbedFault
from testbed.snapshot import Snapshot
from testbed.store import MAX_SNAPSHOT_BYTES

DESCRIPTOR = "fd:"
"""What stands before a descriptor on a command line."""
READING_S = 120.0
"""A snapshot takes some seconds on a busy host."""


def look(memory: Path | int, vmlinux: Path, *, number: int, taken_ns: int, paused_ms: int) -> Snapshot:
    """Reads `memory` with the debug information of `vmlinux`.

    What the kernel has not got, or the memory not in order, is listed in `missing`. Raises TestbedFault
    where nothing can be read at all.
    """
    argv = ["nice", *_argv("reader", memory, vmlinux)]
    done = proc.run(argv, timeout_s=READING_S, pass_fds=[memory] if isinstance(memory, int) else [])
    where = "the running guest" if isinstance(memory, int) else str(memory)
    if len(done.stdout) > MAX_SNAPSHOT_BYTES:
        raise TestbedFault("the snapshot is too large to be one", where=where)
    try:
        found = Snapshot.model_validate_json(done.stdout)
    except ValidationError as error:
        raise TestbedFault(f"not a snapshot: {error.error_count()} errors", where=where) from error
    return found.model_copy(update={"number": number, "taken_ns": taken_ns, "paused_ms": paused_ms})


def become_shell(memory: Path | int, vmlinux: Path) -> NoReturn:
    """Replaces this process by a drgn shell on `memory`, with our views."""
    if isinstance(memory, int):
        os.set_inheritable(memory, True)
    argv = _argv("shell", memory, vmlinux)
    os.execv(argv[0], argv)


def _argv(what: str, memory: Path | int, vmlinux: Path) -> list[str]:
    given = f"{DESCRIPTOR}{memory}" if isinstance(memory, int) else str(memory)
    return [sys.executable, "-P", "-m", f"testbed.introspection.{what}", given, str(vmlinux)]
