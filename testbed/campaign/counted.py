"""Owns what patch sets had counted by the last look into the machine under test."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path

from testbed.kernels import patchset
from testbed.kernels.naming import PATCHES
from testbed.model import Plan
from testbed.snapshot import Snapshot


def counted(plan: Plan, snapshots: Sequence[Snapshot]) -> dict[str, int] | None:
    """The counters of the sets of the machine under test, None if nobody looked.

    Debugfs has numbers of others too.
    """
    if not snapshots:
        return None
    sets = plan.kernel_under_test.spec.sets
    last = max(snapshots, key=lambda one: one.taken_ns)
    return {name: count for name, count in sorted(last.counters.items()) if name.split("/")[0] in sets}


def at_rest(counters: Mapping[str, int] | None, standing: Collection[str] = ()) -> tuple[str, ...]:
    """The sets that have counters, none of which moved, so that their code did not run.

    Empty if nobody looked, as nothing is known. `standing` are counters that are above 0 as soon as their
    set is in force (`set.toml`): they show no more than that, and are left out.
    """
    counters = counters or {}
    moved = {name.split("/")[0] for name, count in counters.items() if count and name not in standing}
    return tuple(sorted({name.split("/")[0] for name in counters} - moved))


@cache
def standing_of(sets: tuple[str, ...], root: Path = PATCHES) -> frozenset[str]:
    """The counters of these sets that say nothing by being above 0; a set that is gone has none."""
    there = set(patchset.known(root)) & set(sets)
    return frozenset(name for each in there for name in patchset.about(each, root).standing)
