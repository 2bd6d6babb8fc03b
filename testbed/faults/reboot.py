"""Owns the server that boots anew: it falls silent, and knows nothing of its connections when it is back."""

from __future__ import annotations

from typing import ClassVar

from testbed.faults import FaultTarget, OfServer


class Reboot(OfServer):
    """`machine = "C"` is reset by its hypervisor, and boots at once; healed, it serves the same disk again.

    Healing waits for the boot, if it is not over by then.
    """

    kind: ClassVar[str] = "reboot"
    lasting: ClassVar[bool] = True

    def apply(self, target: FaultTarget) -> None:
        target.server(self.machine).reset()
