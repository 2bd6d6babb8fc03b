"""Owns the silent drop: frames between two machines vanish, their carriers stay."""

from __future__ import annotations

from typing import ClassVar, Literal

from testbed.faults import FaultTarget
from testbed.machines.wire import Flow
from testbed.model import Value


class Drop(Value):
    """`between = ["A", "C"]`; `direction` is "forth" (A to C only), "back" (C to A only) or "both".

    With "back" requests pass and replies are lost.
    """

    kind: ClassVar[str] = "drop"
    lasting: ClassVar[bool] = True

    between: tuple[str, str]
    direction: Literal["both", "forth", "back"] = "both"
    link: str = "data"

    @property
    def machines(self) -> tuple[str, ...]:
        return self.between

    def cuts(self, target: FaultTarget) -> tuple[str, ...]:
        return target.covered(self._flows(target))

    def apply(self, target: FaultTarget) -> None:
        target.network.block(self._name, self._flows(target))

    def in_force(self, target: FaultTarget) -> bool:
        return self._name in target.network.blocked()

    def revert(self, target: FaultTarget) -> None:
        target.network.unblock(self._name)

    def _flows(self, target: FaultTarget) -> tuple[Flow, ...]:
        forth = Flow(target.tap(self.between[0], self.link), target.tap(self.between[1], self.link))
        return {"both": (forth, forth.back), "forth": (forth,), "back": (forth.back,)}[self.direction]

    @property
    def _name(self) -> str:
        return ".".join(("drop", self.link, *self.between, self.direction))
