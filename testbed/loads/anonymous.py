"""Owns the anonymous load: memory beyond RAM, touched at random, that proves its integrity."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field

from testbed.errors import TestbedFault
from testbed.load import Count, Memory, Seconds, Share
from testbed.loads import LoadContext, Needed, agent
from testbed.model import PlannedMachine, Value
from testbed.transports import Guest
from testbed.units import PAGE_BYTES


class Anonymous(Value):
    """`memory` is a size or a multiple ("1.35x"), shared out among `processes`.

    A multiple is one `of` the machine's RAM, or of MemAvailable as measured when the machine is
    ready: under a distribution's kernel, which keeps more for itself, the plan asks for the latter.
    """

    kind: ClassVar[str] = "anonymous"
    page_kind: ClassVar[str] = "anonymous"
    finish: ClassVar[Literal["sweep", "exit"] | None] = "sweep"
    progress: ClassVar[tuple[str, ...]] = ("work_units",)
    kernel_options: ClassVar[tuple[str, ...]] = ()

    memory: Memory
    of: Literal["RAM", "MemAvailable"] = "RAM"
    processes: Count = Field(default=1, ge=1, le=64)
    order: Literal["random", "linear"] = "random"
    pause: Seconds = 0.0

    def parts(self, *, prebuilt: bool) -> tuple[Self, ...]:
        if isinstance(self.memory, Share):
            share = Share(times=round(self.memory.times / self.processes, 6))
            of = "MemAvailable" if prebuilt else self.of
            part = self.model_copy(update={"memory": share, "of": of, "processes": 1})
        else:
            part = self.model_copy(update={"memory": self.memory // self.processes, "processes": 1})
        return (part,) * self.processes

    def needs(self) -> tuple[Needed, ...]:
        return ()

    def devices(self, machine: PlannedMachine) -> tuple[str, ...]:
        return ()

    def prepare(self, guest: Guest, context: LoadContext) -> None:
        pass

    def argv(self, slot: int, context: LoadContext) -> list[str]:
        options: dict[str, object] = {"bytes": self._bytes(context), "seed": context.own_seed()}
        options["order"] = self.order
        if self.pause:
            options["pause-us"] = round(self.pause * 1e6)
        return agent("anonymous", slot, options)

    def least_bytes(self, machine: PlannedMachine) -> int:
        if not isinstance(self.memory, Share):
            return self.memory
        # Before the machine runs nobody knows how much of its RAM is available.
        return int(machine.memory_bytes * self.memory.times) if self.of == "RAM" else 0

    def _bytes(self, context: LoadContext) -> int:
        if not isinstance(self.memory, Share):
            return max(PAGE_BYTES, self.memory)
        whole = context.machine.memory_bytes if self.of == "RAM" else context.available_bytes
        if whole is None:
            raise TestbedFault(f"MemAvailable of '{context.machine.name}' was not measured")
        return max(PAGE_BYTES, int(whole * self.memory.times) // PAGE_BYTES * PAGE_BYTES)
