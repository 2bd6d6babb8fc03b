"""Owns reading kept dumps anew: what today's reader sees in the memory of a cell that was played before."""

from __future__ import annotations

import gzip
import shutil
import tempfile
from pathlib import Path

from testbed import introspection, kernels, store
from testbed.errors import UsageError
from testbed.snapshot import Snapshot


def look_again(folder: Path) -> int:
    """Reads every kept dump of the cell again and replaces its snapshot; how many there were.

    A look whose dump was not kept stays as it is. Raises UsageError where the kernel's debug information
    is not in the cache any more.
    """
    plan = store.read_plan(folder)
    planned = plan.kernel_under_test
    old = {each.number: each for each in store.read_snapshots(folder)[0]}
    dumps = {number: path for number in old if (path := folder / f"{store.dump_name(number)}.gz").is_file()}
    if not dumps:
        return 0
    kernel = kernels.cached(planned.digest)
    if kernel is None or kernel.vmlinux is None:
        raise UsageError(
            f"the debug information of kernel {planned.digest} is not in the cache",
            hint="build it again from the same inputs: testbed build " + planned.spec.name,
            where=str(folder),
        )
    for number, path in dumps.items():
        store.write_snapshot(folder, _read(path, kernel.vmlinux, old[number]))
    return len(dumps)


def _read(dump: Path, vmlinux: Path, old: Snapshot) -> Snapshot:
    with tempfile.NamedTemporaryFile(suffix=".elf") as plain:
        with gzip.open(dump) as packed:
            shutil.copyfileobj(packed, plain)
        plain.flush()
        return introspection.look(
            Path(plain.name), vmlinux, number=old.number, taken_ns=old.taken_ns, paused_ms=old.paused_ms
        )
