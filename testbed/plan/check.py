"""Owns the checking of files without kernels: every form and variant is planned, and thrown away."""

from __future__ import annotations

from testbed.configuration import Topology
from testbed.model import KernelSpec, PlannedKernel
from testbed.plan.cell import Kernels, idle, plan
from testbed.plan.labels import Choices
from testbed.plan.needs import sets_needed
from testbed.plan.playbook import MAIN, PlaybookFile

_NOTHING = "0" * 24


def check_topology(topology: Topology) -> None:
    """Raises UsageError with file, line and key."""
    for prebuilt in (False, True):
        idle(topology, _kernels(prebuilt), _NOTHING)


def check_playbook(file: PlaybookFile, topology: Topology) -> int:
    """Plans every form with every variant; returns how many. Raises UsageError with file, line and key."""
    count = 0
    for form in file.forms or ("",):
        for variant in (MAIN, *file.opening.variants):
            sets = sets_needed(file, variant)
            for prebuilt in (False,) if sets else (False, True):
                plan(topology, file, _kernels(prebuilt, sets), _NOTHING, Choices(form=form, variant=variant))
            count += 1
    return count


def _kernels(prebuilt: bool, sets: tuple[str, ...] = ()) -> Kernels:
    spec = KernelSpec(base="debian" if prebuilt else "6.1", sets=sets, prebuilt=prebuilt)
    kernel = PlannedKernel(spec=spec, digest=_NOTHING)
    return Kernels(kernel, kernel)
