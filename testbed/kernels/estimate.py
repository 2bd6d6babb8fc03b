"""Owns the guess how much a build will compile and how long it takes: what the last of its kind did."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterator, Mapping, Sequence
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


class _Note(Value):
    """What stands beside a built tree: what it took, and what was built."""

    effort: Effort
    inputs: dict[str, str]


WHOLE_TREE, A_SET = Effort(objects=1700), Effort(objects=5)
_KIND = ("configuration", "source")
"""The inputs that make builds alike, the one that counts for more first."""


def note(folder: Path, effort: Effort, inputs: Mapping[str, str]) -> None:
    """Leaves word beside a built tree."""
    (folder / NOTE).write_text(_Note(effort=effort, inputs=dict(inputs)).model_dump_json() + "\n")


def of_tree(inputs: Mapping[str, str], trees: Store) -> Effort:
    """What the last built tree took that is most like this one."""
    found = []
    for _, folder in reversed(trees.entries()):
        with contextlib.suppress(OSError, ValueError):
            found.append(_Note.model_validate_json((folder / NOTE).read_text()))
    return max(found, key=lambda one: _alike(one.inputs, inputs)).effort if found else WHOLE_TREE


def of_sets(spec: KernelSpec, inputs: Mapping[str, str], kernels: Store) -> Effort:
    """What the last kernel of these sets took, of the like if there is one; else the median of other sets."""
    known = list(_patched(kernels))
    if not known:
        return A_SET
    same = [one for one in known if one.spec.sets == spec.sets]
    most = max(_alike(one.inputs, inputs) for one in same or known)
    nearest = [one for one in same or known if _alike(one.inputs, inputs) == most]
    chosen = nearest[0] if same else _median(nearest)
    return Effort(objects=chosen.objects, seconds=chosen.seconds)


def _alike(inputs: Mapping[str, str], others: Mapping[str, str]) -> tuple[bool, ...]:
    return tuple(inputs.get(name) == others.get(name) for name in _KIND)


def _median(records: Sequence[KernelRecord]) -> KernelRecord:
    middle = statistics.median_low([one.objects for one in records])
    return next(one for one in records if one.objects == middle)


def _patched(kernels: Store) -> Iterator[KernelRecord]:
    for _, folder in reversed(kernels.entries()):
        with contextlib.suppress(OSError, ValueError):
            record = KernelRecord.model_validate_json((folder / "kernel.json").read_text())
            if record.spec.sets:
                yield record
