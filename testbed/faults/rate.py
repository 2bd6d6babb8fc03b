"""Owns the slow link: what goes to a machine is limited to a bit rate, the excess is dropped."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from testbed.faults import FaultTarget, OnMachine
from testbed.load import Bps


class Rate(OnMachine):
    """`machine = "A"`, `rate = "10Mbit/s"`: what A receives on `link`. Stored in bit/s."""

    kind: ClassVar[str] = "rate"
    lasting: ClassVar[bool] = True

    rate: Bps = Field(gt=0)
    link: str = "data"

    def apply(self, target: FaultTarget) -> None:
        target.network.limit_rate(target.tap(self.machine, self.link), self.rate)

    def in_force(self, target: FaultTarget) -> bool:
        return target.queue(self.machine, self.link) == "tbf"

    def revert(self, target: FaultTarget) -> None:
        target.network.limit_rate(target.tap(self.machine, self.link), 0)
