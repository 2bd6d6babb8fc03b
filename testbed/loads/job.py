"""Owns the plain job: one command, run once, judged by its exit status."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field

from testbed.loads import LoadContext, Needed, agent
from testbed.model import PlannedMachine, Value
from testbed.transports import Guest


class Job(Value):
    """`command` is run without a shell."""

    kind: ClassVar[str] = "job"
    page_kind: ClassVar[str] = "job"
    finish: ClassVar[Literal["sweep", "exit"] | None] = "exit"
    progress: ClassVar[tuple[str, ...]] = ()

    command: tuple[str, ...] = Field(min_length=1)

    def parts(self, *, prebuilt: bool) -> tuple[Self, ...]:
        return (self,)

    def needs(self) -> tuple[Needed, ...]:
        return ()

    def devices(self, machine: PlannedMachine) -> tuple[str, ...]:
        return ()

    def prepare(self, guest: Guest, context: LoadContext) -> None:
        pass

    def argv(self, slot: int, context: LoadContext) -> list[str]:
        log = f"/run/{context.load.name}.log"
        return [*agent("job", slot, {"log": log}), "--", *self.command]
