"""Owns what patch sets had counted by the last look into the machine under test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from testbed.model import Plan
from testbed.snapshot import Snapshot


def counted(plan: Plan, snapshots: Sequence[Snapshot]) -> dict[str, int] | None:
    """The counters of the sets of the machine under test, None if nobody looked.

    Debugfs has numbers of others too.
    """
    if not snapshots:
        return None
    sets = plan.kernels[plan.machine(plan.judging.subject).kernel].spec.sets
    last = max(snapshots, key=lambda one: one.taken_ns)
    return {name: count for name, count in sorted(last.counters.items()) if name.split("/")[0] in sets}


def at_rest(counters: Mapping[str, int] | None) -> tuple[str, ...]:
    """The sets that have counters, none of which moved, so that their code did not run.

    Empty if nobody looked, as nothing is known. A counter that is above 0 from the start (a pool's pages, the
    sockets that a set found) shows that the set is in force, and no more.
    """
    counters = counters or {}
    moved = {name.split("/")[0] for name, count in counters.items() if count}
    return tuple(sorted({name.split("/")[0] for name in counters} - moved))
