"""Owns what patch sets had counted by the last look into the machine under test."""

from __future__ import annotations

from collections.abc import Sequence

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
