"""Owns the pulled plug: a machine's NIC loses its carrier, and the machine is told."""

from __future__ import annotations

from typing import ClassVar

from testbed.faults import FaultTarget
from testbed.model import Value


class Carrier(Value):
    """`machine = "C"`: its cable on `link` is pulled."""

    kind: ClassVar[str] = "carrier"
    lasting: ClassVar[bool] = True

    machine: str
    link: str = "data"

    @property
    def machines(self) -> tuple[str, ...]:
        return (self.machine,)

    def cuts(self, target: FaultTarget) -> tuple[str, ...]:
        return ()

    def apply(self, target: FaultTarget) -> None:
        target.domain(self.machine).set_link(target.tap(self.machine, self.link), False)

    def in_force(self, target: FaultTarget) -> bool:
        return not target.domain(self.machine).link(target.tap(self.machine, self.link))

    def revert(self, target: FaultTarget) -> None:
        target.domain(self.machine).set_link(target.tap(self.machine, self.link), True)
