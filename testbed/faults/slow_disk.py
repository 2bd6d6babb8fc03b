"""Owns the slow disk: its machine may read and write it at a bounded rate, and waits for the rest."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from testbed.faults import FaultTarget, OnMachine
from testbed.load import Bps


class SlowDisk(OnMachine):
    """`machine = "A"`, `disk = "swap"`, `rate = "8Mbit/s"`: by its hypervisor. Nothing is lost.

    QEMU gives no less than a request at a time: one larger than a second's share makes the next wait.
    """

    kind: ClassVar[str] = "slow-disk"
    lasting: ClassVar[bool] = True

    disk: str
    rate: Bps = Field(ge=8)

    @property
    def holds(self) -> str:
        return f"disk '{self.disk}' of '{self.machine}'"

    def apply(self, target: FaultTarget) -> None:
        target.domain(self.machine).limit_disk(self.disk, self._bytes_per_s)

    def in_force(self, target: FaultTarget) -> bool:
        return target.domain(self.machine).disk_limit(self.disk) == self._bytes_per_s

    def revert(self, target: FaultTarget) -> None:
        target.domain(self.machine).limit_disk(self.disk, 0)

    @property
    def _bytes_per_s(self) -> int:
        return self.rate // 8
