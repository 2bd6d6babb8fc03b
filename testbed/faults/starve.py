"""Owns the starved machine: its CPUs share one core of the host with a crowd that keeps it busy."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from testbed.faults import FaultTarget, OnMachine
from testbed.load import Count
from testbed.machines.crowd import MOST_SPINNERS


class Starve(OnMachine):
    """`machine = "A"` gets one part of a core, each of `spinners` another: the host is too busy for it."""

    kind: ClassVar[str] = "starve"
    lasting: ClassVar[bool] = True

    spinners: Count = Field(default=16, ge=1, le=MOST_SPINNERS)

    def apply(self, target: FaultTarget) -> None:
        target.network.crowd(self.machine, target.domain(self.machine).vcpu_threads(), self.spinners)

    def in_force(self, target: FaultTarget) -> bool:
        return target.network.crowds().get(self.machine) == self.spinners

    def revert(self, target: FaultTarget) -> None:
        target.network.disperse(self.machine)
