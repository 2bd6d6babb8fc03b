"""Owns the long link: what goes to a machine arrives later. Needs sch_netem in the host's kernel."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from testbed.faults import FaultTarget, OnMachine
from testbed.load import Seconds


class Delay(OnMachine):
    """`machine = "A"`, `delay = "50ms"`: what A receives on `link`. Stored in seconds."""

    kind: ClassVar[str] = "delay"
    lasting: ClassVar[bool] = True

    delay: Seconds = Field(gt=0)
    link: str = "data"

    def apply(self, target: FaultTarget) -> None:
        target.network.delay(target.tap(self.machine, self.link), self.delay)

    def in_force(self, target: FaultTarget) -> bool:
        return target.queue(self.machine, self.link) == "netem"

    def revert(self, target: FaultTarget) -> None:
        target.network.delay(target.tap(self.machine, self.link), 0)
