"""Owns the word written into one of the kernel's files at a moment: a setting, or a trigger."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from testbed.loads import LoadContext, OneProcess, agent


class Write(OneProcess):
    """`file = "/proc/sys/kernel/printk"`, `text = "1"`: opened beforehand, written when it is started."""

    kind: ClassVar[str] = "write"
    page_kind: ClassVar[str] = "deed"

    file: str = Field(pattern=r"^/(proc|sys)/[ -~]{1,200}$")
    text: str = Field(pattern=r"^[ -~]{1,100}$")

    def argv(self, slot: int, context: LoadContext) -> list[str]:
        return agent("deed-write", slot, {"file": self.file, "text": self.text})
