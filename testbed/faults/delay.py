"""Owns the long link: what goes to a machine arrives later."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from testbed.faults import FaultTarget, OnQueue
from testbed.load import Seconds


class Delay(OnQueue):
    """`machine = "A"`, `delay = "50ms"`: what A receives on `link`. Stored in seconds.

    By netem, which has it in 32 bits of 64 ns (6.1, include/uapi/linux/pkt_sched.h, struct tc_netem_qopt);
    where the host's kernel has none, by a relay (machines/relay.py).
    """

    kind: ClassVar[str] = "delay"
    lasting: ClassVar[bool] = True

    delay: Seconds = Field(ge=1e-6, le=240)

    def apply(self, target: FaultTarget) -> None:
        target.network.delay(target.tap(self.machine, self.link), self.delay)

    def in_force(self, target: FaultTarget) -> bool:
        return round(target.queue(self.machine, self.link).delay_s * 1e6) == round(self.delay * 1e6)

    def revert(self, target: FaultTarget) -> None:
        target.network.delay(target.tap(self.machine, self.link), 0)
