"""Owns the full disk: the server has no room for what it has not written yet, and answers so."""

from __future__ import annotations

from typing import ClassVar

from testbed.faults import FaultTarget, OnServed


class DiskFull(OnServed):
    """`machine = "C"`: a file takes all the room there is beside the served one, which must grow.

    What was written before can be read, and written again. It cuts nothing: the server answers.
    """

    kind: ClassVar[str] = "disk-full"
    lasting: ClassVar[bool] = True
    needs_store: ClassVar[bool] = True

    def apply(self, target: FaultTarget) -> None:
        target.server(self.machine).fill()

    def in_force(self, target: FaultTarget) -> bool:
        return target.server(self.machine).is_full()

    def revert(self, target: FaultTarget) -> None:
        target.server(self.machine).empty()
