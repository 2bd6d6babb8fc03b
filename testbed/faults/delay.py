"""Owns the long link: what goes to a machine arrives later. Needs sch_netem in the host's kernel."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from testbed.faults import FaultTarget
from testbed.load import Seconds
from testbed.model import Value


class Delay(Value):
    """`machine = "A"`, `delay = "50ms"`: what A receives on `link`. Stored in seconds."""

    kind: ClassVar[str] = "delay"
    lasting: ClassVar[bool] = True

    machine: str
    delay: Seconds = Field(gt=0)
    link: str = "data"

    @property
    def machines(self) -> tuple[str, ...]:
        return (self.machine,)

    def cuts(self, target: FaultTarget) -> tuple[str, ...]:
        return ()

    def apply(self, target: FaultTarget) -> None:
        target.network.delay(target.tap(self.machine, self.link), self.delay)

    def in_force(self, target: FaultTarget) -> bool:
        return target.network.queues().get(target.tap(self.machine, self.link)) == "netem"

    def revert(self, target: FaultTarget) -> None:
        target.network.delay(target.tap(self.machine, self.link), 0)
