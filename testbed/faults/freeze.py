"""Owns the frozen machine: its CPUs stand still, its peers hear nothing and are told nothing."""

from __future__ import annotations

from typing import ClassVar

from testbed.faults import FaultTarget, OnMachine


class Freeze(OnMachine):
    """`machine = "C"`: stopped by its hypervisor."""

    kind: ClassVar[str] = "freeze"
    lasting: ClassVar[bool] = True

    def apply(self, target: FaultTarget) -> None:
        target.domain(self.machine).pause()

    def in_force(self, target: FaultTarget) -> bool:
        return target.domain(self.machine).state() == "paused"

    def revert(self, target: FaultTarget) -> None:
        target.domain(self.machine).resume()
