"""Owns the long link: what goes to a machine arrives later. Needs sch_netem in the host's kernel."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from testbed.faults import FaultTarget
from testbed.model import Value
from testbed.units import parse_seconds


def _seconds(value: Any) -> Any:
    return parse_seconds(value) if isinstance(value, str) else value


class Delay(Value):
    """`machine = "A"`, `delay = "50ms"`: what A receives on `link`. Stored in seconds."""

    kind: ClassVar[str] = "delay"

    machine: str
    delay: Annotated[float, BeforeValidator(_seconds), Field(gt=0)]
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
