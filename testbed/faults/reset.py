"""Owns the refusal: the packets of a connection are answered with a TCP reset, in place of silence."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from testbed.errors import UsageError
from testbed.faults import FaultTarget, OnFlows
from testbed.machines.wire import Flow


class Reset(OnFlows):
    """`flow = "swap"`, or `between = ["A", "C"]`: who sends is told that there is no such connection.

    Nothing of it arrives, and the other end is told the same as soon as it sends.
    """

    kind: ClassVar[str] = "reset"
    lasting: ClassVar[bool] = True
    needs_tcp: ClassVar[bool] = True

    def cuts(self, target: FaultTarget) -> tuple[str, ...]:
        return target.covered(self._segments(target))

    def apply(self, target: FaultTarget) -> None:
        target.network.reset(self.block, self._segments(target))

    def _segments(self, target: FaultTarget) -> tuple[Flow, ...]:
        flows = self.flows(target)
        if any(flow.protocol == "udp" for flow in flows):
            raise UsageError(
                f"'{self.flow}' is not TCP: there is nothing to reset", hint="use a drop instead"
            )
        return tuple(replace(flow, protocol="tcp") for flow in flows)
