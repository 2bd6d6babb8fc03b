"""Owns the slow link: what goes to a machine is limited to a bit rate, the excess is dropped."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from testbed.faults import FaultTarget, OnQueue
from testbed.load import Bps


class Rate(OnQueue):
    """`machine = "A"`, `rate = "10Mbit/s"`: what A receives on `link`. Stored in bit/s.

    The kernel has it in whole bytes a second, and in 32 bits: both the rate and, of a low one, how long it
    saves up for a frame (6.1, include/uapi/linux/pkt_sched.h, struct tc_tbf_qopt).
    """

    kind: ClassVar[str] = "rate"
    lasting: ClassVar[bool] = True

    rate: Bps = Field(ge=1000, le=30_000_000_000)

    def apply(self, target: FaultTarget) -> None:
        target.network.limit_rate(target.tap(self.machine, self.link), self.rate)

    def in_force(self, target: FaultTarget) -> bool:
        return target.queue(self.machine, self.link).bits_per_s == self.rate // 8 * 8

    def revert(self, target: FaultTarget) -> None:
        target.network.limit_rate(target.tap(self.machine, self.link), 0)
