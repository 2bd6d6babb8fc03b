"""Owns the drop of one conversation: the swap's packets vanish, all others between the machines pass."""

from __future__ import annotations

from typing import ClassVar

from testbed.faults import Block, FaultTarget


class FlowDrop(Block):
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
        target.network.block(self.block, target.named_flows(self.flow))

    @property
    def block(self) -> str:
        return f"flow.{self.flow}"
