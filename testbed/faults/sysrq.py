"""Owns the key pressed on a machine's serial console: what the kernel does then can not be taken back."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from testbed.errors import TestbedFault
from testbed.faults import FaultTarget
from testbed.model import Value


class Sysrq(Value):
    """`machine = "A"`, `key = "c"` (panic) or `"f"` (the OOM killer takes one): BREAK, then the key.

    Read back by the kernel's own word on the console, which it gives at any console level
    (6.1, drivers/tty/sysrq.c `__handle_sysrq`). A deed, not a state: it can not be healed.
    """

    kind: ClassVar[str] = "sysrq"
    lasting: ClassVar[bool] = False

    machine: str
    key: str = Field(pattern=r"^[a-z0-9]$")

    @property
    def machines(self) -> tuple[str, ...]:
        return (self.machine,)

    def cuts(self, target: FaultTarget) -> tuple[str, ...]:
        return ()

    def apply(self, target: FaultTarget) -> None:
        if not target.domain(self.machine).sysrq(self.key):
            raise TestbedFault(
                f"'{self.machine}' did not answer to SysRq-{self.key}",
                hint="its kernel needs MAGIC_SYSRQ_SERIAL",
            )

    def in_force(self, target: FaultTarget) -> bool:
        return False

    def revert(self, target: FaultTarget) -> None:
        pass
