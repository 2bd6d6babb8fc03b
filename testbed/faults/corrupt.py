"""Owns the bad cable: packets arrive damaged, and it is the receiver that finds out and throws them away."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from testbed.faults import FaultTarget, OnFlows


class Corrupt(OnFlows):
    """`flow = "swap"`, or `between = ["A", "C"]`; `share = 0.02` of the packets, picked at random.

    Unlike a drop it costs the receiver the memory and the time to take them in. Every one is found out
    by its checksums: wrong data never comes through (see `bitflip`). With virtio-net there are none to find
    it by: it hands on packets, several in one, whose checksums are computed behind the damage.
    """

    kind: ClassVar[str] = "corrupt"
    lasting: ClassVar[bool] = True

    needs_checksums: ClassVar[bool] = True

    share: float = Field(ge=0.0001, le=1)

    def cuts(self, target: FaultTarget) -> tuple[str, ...]:
        return ()

    def apply(self, target: FaultTarget) -> None:
        target.network.damage(self.block, self.flows(target), self.share)
