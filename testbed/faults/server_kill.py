"""Owns the killed server: its process is gone with its connections, its machine and its disk are not."""

from __future__ import annotations

from typing import ClassVar

from testbed.faults import FaultTarget, OfServer


class ServerKill(OfServer):
    """`machine = "C"`: SIGKILL for what serves; healed, it serves the same disk again, to who asks anew."""

    kind: ClassVar[str] = "server-kill"
    lasting: ClassVar[bool] = True

    def apply(self, target: FaultTarget) -> None:
        target.server(self.machine).kill()
