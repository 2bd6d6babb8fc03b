"""Owns the guess how much a build will compile and how long it takes: what the last of its kind did."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from testbed.kernels.record import KernelRecord
from testbed.kernels.store import Store
from testbed.model import KernelSpec, Value

NOTE = "effort.json"


class Effort(Value):
    """Compiled objects, and the seconds they took (0: nobody knows)."""

    objects: int
    seconds: float = 0.0

    @property
    def words(self) -> str:
        """`, about 8 min` where it is known from an earlier build."""
        if self.seconds <= 0:
            return ""
        if self.seconds < 90:
            return f", about {self.seconds:.0f} s"
        return f", about {self.seconds / 60:.0f} min"


WHOLE_TREE, A_SET = Effort(objects=2300), Effort(objects=20)


def note(folder: Path, effort: Effort) -> None:
    """Leaves word beside a built tree."""
    (folder / NOTE).write_text(effort.model_dump_json() + "\n")


def of_tree(trees: Store) -> Effort:
    """What the last built tree took."""
    for _, folder in reversed(trees.entries()):
        with contextlib.suppress(OSError, ValueError):
            return Effort.model_validate_json((folder / NOTE).read_text())
    return WHOLE_TREE


def of_sets(spec: KernelSpec, kernels: Store) -> Effort:
    """What the last kernel of these sets took, else the last one with any."""
    known = list(_patched(kernels))
    chosen = next((record for record in known if record.spec.sets == spec.sets), known[0] if known else None)
    return Effort(objects=chosen.objects, seconds=chosen.seconds) if chosen else A_SET


def _patched(kernels: Store) -> Iterator[KernelRecord]:
    for _, folder in reversed(kernels.entries()):
        with contextlib.suppress(OSError, ValueError):
            record = KernelRecord.model_validate_json((folder / "kernel.json").read_text())
            if record.spec.sets:
                yield record
