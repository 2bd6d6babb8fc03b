"""Owns the writer: a file written over and over, as fast as the kernel lets it, so up to its dirty limit."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from testbed.load import Bytes
from testbed.loads import LoadContext, Needed, OneProcess, agent, disk_folder, mount_disk
from testbed.transports import Guest


class Writer(OneProcess):
    """`bytes` of a file, through the page cache: on `disk`, one of the machine's own, or `file`.

    `file` is one on a file system of the transport's (`stack = ["ext4"]`, `swap = false`). The limit is the
    machine's: `sysctl = { "vm.dirty_bytes" = 16777216 }`. Locked in memory, so that it waits for what it
    writes alone. Its counts are no progress of swap; a playbook that asks for them names them in `progress`.
    """

    kind: ClassVar[str] = "writer"
    page_kind: ClassVar[str] = "writer"

    disk: str | None = None
    file: str | None = Field(default=None, pattern=r"^/run/[ -~]{1,200}$")
    bytes: Bytes = Field(default=64 << 20, ge=64 << 10, le=1 << 40)

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if (self.disk is None) == (self.file is None):
            raise ValueError("wants one of 'disk' and 'file', to write on: disk = \"cache\"")
        return self

    def needs(self) -> tuple[Needed, ...]:
        return (("disk", "disk", self.disk),) if self.disk else ()

    def prepare(self, guest: Guest, context: LoadContext) -> None:
        if self.disk:
            mount_disk(guest, context, self.disk)

    def argv(self, slot: int, context: LoadContext) -> list[str]:
        file = self.file if self.disk is None else f"{disk_folder(self.disk)}/{context.load.name}"
        return agent("writer", slot, {"file": file, "bytes": self.bytes})
