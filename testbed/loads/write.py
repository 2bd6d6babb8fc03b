"""Owns the word written into one of the kernel's files at a moment: a setting, or a trigger."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field

from testbed.loads import LoadContext, Needed, agent
from testbed.model import PlannedMachine, Value
from testbed.transports import Guest


class Write(Value):
    """`file = "/proc/sys/kernel/printk"`, `text = "1"`: opened beforehand, written when it is started."""

    kind: ClassVar[str] = "write"
    page_kind: ClassVar[str] = "deed"
    finish: ClassVar[Literal["sweep", "exit"] | None] = None
    progress: ClassVar[tuple[str, ...]] = ()

    file: str = Field(pattern=r"^/(proc|sys)/[ -~]{1,200}$")
    text: str = Field(pattern=r"^[ -~]{1,100}$")

    def parts(self, *, prebuilt: bool) -> tuple[Self, ...]:
        return (self,)

    def needs(self) -> tuple[Needed, ...]:
        return ()

    def devices(self, machine: PlannedMachine) -> tuple[str, ...]:
        return ()

    def prepare(self, guest: Guest, context: LoadContext) -> None:
        pass

    def argv(self, slot: int, context: LoadContext) -> list[str]:
        return agent("deed-write", slot, {"file": self.file, "text": self.text})
