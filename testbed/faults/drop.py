"""Owns the silent drop: frames between two machines vanish, their carriers stay."""

from __future__ import annotations

from typing import ClassVar

from testbed.faults import Block, Direction, FaultTarget
from testbed.machines.wire import Flow


class Drop(Block):
    """`between = ["A", "C"]`; `direction` is "forth" (A to C only), "back" (C to A only) or "both".

    With "back" requests pass and replies are lost.
    """

    kind: ClassVar[str] = "drop"
    lasting: ClassVar[bool] = True

    between: tuple[str, str]
    direction: Direction = "both"
    link: str = "data"

    @property
    def machines(self) -> tuple[str, ...]:
        return self.between

    def cuts(self, target: FaultTarget) -> tuple[str, ...]:
        return target.covered(self._flows(target))

    def apply(self, target: FaultTarget) -> None:
        target.network.block(self.block, self._flows(target))

    def _flows(self, target: FaultTarget) -> tuple[Flow, ...]:
        return target.between(self.between, self.link, self.direction)

    @property
    def block(self) -> str:
        return ".".join(("drop", self.link, *self.between, self.direction))
