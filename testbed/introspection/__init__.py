"""Looking into a guest without its help: a dump of its memory becomes a snapshot of plain facts.

The dump is read by drgn with the debug information of its kernel, in a process of its own: a dump is
hostile input, and whatever it does to the reader must not reach the controller.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import ValidationError

from testbed import proc
from testbed.errors import TestbedFault
from testbed.snapshot import Snapshot
from testbed.store import MAX_SNAPSHOT_BYTES

READING_S = 120.0
"""A snapshot takes some seconds on a busy host."""


def look(dump: Path, vmlinux: Path, *, number: int, taken_ns: int, paused_ms: int) -> Snapshot:
    """Reads `dump` with the debug information of `vmlinux`.

    What the kernel has not got, or the dump not in order, is listed in `missing`. Raises TestbedFault
    where nothing can be read at all.
    """
    argv = [sys.executable, "-P", "-m", "testbed.introspection.reader", str(dump), str(vmlinux)]
    done = proc.run(["nice", *argv], timeout_s=READING_S)
    if len(done.stdout) > MAX_SNAPSHOT_BYTES:
        raise TestbedFault("the snapshot is too large to be one", where=str(dump))
    try:
        found = Snapshot.model_validate_json(done.stdout)
    except ValidationError as error:
        raise TestbedFault(f"not a snapshot: {error.error_count()} errors", where=str(dump)) from error
    return found.model_copy(update={"number": number, "taken_ns": taken_ns, "paused_ms": paused_ms})


def shell_argv(dump: Path, vmlinux: Path) -> list[str]:
    """The command of a drgn shell on a dump, with our views."""
    return [sys.executable, "-P", "-m", "testbed.introspection.shell", str(dump), str(vmlinux)]
