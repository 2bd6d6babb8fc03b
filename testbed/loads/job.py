"""Owns the plain job: one command, run once, judged by its exit status."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from testbed.loads import LoadContext, OneProcess, agent


class Job(OneProcess):
    """`command` is run without a shell."""

    kind: ClassVar[str] = "job"
    page_kind: ClassVar[str] = "job"
    finish: ClassVar[Literal["sweep", "exit"] | None] = "exit"

    command: tuple[str, ...] = Field(min_length=1)

    def argv(self, slot: int, context: LoadContext) -> list[str]:
        log = f"/run/{context.load.name}.log"
        return [*agent("job", slot, {"log": log}), "--", *self.command]
