"""Owns the drop of one conversation: the swap's packets vanish, all others between the machines pass."""

from __future__ import annotations

from typing import ClassVar

from testbed.faults import FaultTarget
from testbed.model import Value


class FlowDrop(Value):
    """`flow = "swap"` drops both directions of the swap's socket, `flow = "swap.replies"` one."""

    kind: ClassVar[str] = "flow"
    lasting: ClassVar[bool] = True

    flow: str

    @property
    def machines(self) -> tuple[str, ...]:
        return ()

    def cuts(self, target: FaultTarget) -> tuple[str, ...]:
        return target.covered(target.named_flows(self.flow))

    def apply(self, target: FaultTarget) -> None:
        target.network.block(self._name, target.named_flows(self.flow))

    def in_force(self, target: FaultTarget) -> bool:
        return self._name in target.network.blocked()

    def revert(self, target: FaultTarget) -> None:
        target.network.unblock(self._name)

    @property
    def _name(self) -> str:
        return f"flow.{self.flow}"
