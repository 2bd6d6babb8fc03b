"""Owns the pulled plug: a machine's NIC loses its carrier, and the machine is told."""

from __future__ import annotations

from typing import ClassVar

from testbed.faults import FaultTarget, OnMachine


class Carrier(OnMachine):
    """`machine = "C"`: its cable on `link` is pulled."""

    kind: ClassVar[str] = "carrier"
    lasting: ClassVar[bool] = True

    link: str = "data"

    @property
    def holds(self) -> str:
        return f"the cable of '{self.machine}' on '{self.link}'"

    def apply(self, target: FaultTarget) -> None:
        target.domain(self.machine).set_link(target.tap(self.machine, self.link), False)

    def in_force(self, target: FaultTarget) -> bool:
        return not target.domain(self.machine).link(target.tap(self.machine, self.link))

    def revert(self, target: FaultTarget) -> None:
        target.domain(self.machine).set_link(target.tap(self.machine, self.link), True)
