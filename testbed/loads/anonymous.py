"""Owns the anonymous load: memory beyond RAM, touched in some order, that proves its integrity."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from testbed.errors import TestbedFault
from testbed.load import Count, Memory, Seconds, Share
from testbed.loads import LoadContext, Needed, agent, disk_folder, mount_disk
from testbed.model import PlannedLoad, PlannedMachine, Value
from testbed.transports import Guest
from testbed.units import PAGE_BYTES

FIRST_PORT = 7800
"""On the loopback; each process listens at its slot's own."""


class Anonymous(Value):
    """`memory` is a size or a multiple ("1.35x"), shared out among `processes`.

    A multiple is one `of` the machine's RAM, or of MemAvailable as measured when the machine is
    ready: under a distribution's kernel, which keeps more for itself, the plan asks for the latter.

    With `order = "exchange"` the processes stand in a ring, and each waits for a page of the one before it
    for every page that it works on. `mapped` is the share of the memory that is no anonymous one but clean
    pages of a file on `disk`, a disk of the machine's own: they are read and verified, and never written.
    """

    kind: ClassVar[str] = "anonymous"
    page_kind: ClassVar[str] = "anonymous"
    finish: ClassVar[Literal["sweep", "exit"] | None] = "sweep"
    progress: ClassVar[tuple[str, ...]] = ("work_units",)
    kernel_options: ClassVar[tuple[str, ...]] = ()

    memory: Memory
    of: Literal["RAM", "MemAvailable"] = "RAM"
    processes: Count = Field(default=1, ge=1, le=64)
    order: Literal["random", "linear", "exchange"] = "random"
    mapped: float = Field(default=0.0, ge=0, le=0.9)
    disk: str | None = None
    pause: Seconds = 0.0

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if self.mapped and self.disk is None:
            raise ValueError("'mapped' needs a disk for the file: disk = \"cache\"")
        return self

    def parts(self, *, prebuilt: bool) -> tuple[Self, ...]:
        if isinstance(self.memory, Share):
            share = Share(times=round(self.memory.times / self.processes, 6))
            of = "MemAvailable" if prebuilt else self.of
            part = self.model_copy(update={"memory": share, "of": of, "processes": 1})
        else:
            part = self.model_copy(update={"memory": self.memory // self.processes, "processes": 1})
        return (part,) * self.processes

    def needs(self) -> tuple[Needed, ...]:
        return (("mapped", "disk", self.disk),) if self.mapped and self.disk else ()

    def devices(self, machine: PlannedMachine) -> tuple[str, ...]:
        return ()

    def prepare(self, guest: Guest, context: LoadContext) -> None:
        if self.mapped and self.disk:
            mount_disk(guest, context, self.disk)

    def argv(self, slot: int, context: LoadContext) -> list[str]:
        size = self._bytes(context)
        options: dict[str, object] = {"bytes": size, "seed": context.own_seed()}
        options["order"] = self.order
        if self.mapped and self.disk:
            mapped = int(size * self.mapped) // PAGE_BYTES * PAGE_BYTES
            options |= {"mapped": mapped, "file": f"{disk_folder(self.disk)}/{context.load.name}"}
        if self.order == "exchange":
            last, following = self._neighbours(context)
            options |= {"port": FIRST_PORT + slot, "next-port": FIRST_PORT + following.slot}
            options["last-seed"] = context.seed_of(last)
        if self.pause:
            options["pause-us"] = round(self.pause * 1e6)
        return agent("anonymous", slot, options)

    def least_bytes(self, machine: PlannedMachine) -> int:
        if not isinstance(self.memory, Share):
            return self.memory
        # Before the machine runs nobody knows how much of its RAM is available.
        return int(machine.memory_bytes * self.memory.times) if self.of == "RAM" else 0

    def _neighbours(self, context: LoadContext) -> tuple[PlannedLoad, PlannedLoad]:
        """The one before and the one after it among all of its machine that exchange: one ring for all."""
        ring = [
            load
            for load in context.plan.loads
            if load.machine == context.load.machine
            and load.kind == self.kind
            and load.options["order"] == "exchange"
        ]
        own = next(number for number, load in enumerate(ring) if load.name == context.load.name)
        return ring[own - 1], ring[(own + 1) % len(ring)]

    def _bytes(self, context: LoadContext) -> int:
        if not isinstance(self.memory, Share):
            return max(PAGE_BYTES, self.memory)
        whole = context.machine.memory_bytes if self.of == "RAM" else context.available_bytes
        if whole is None:
            raise TestbedFault(f"MemAvailable of '{context.machine.name}' was not measured")
        return max(PAGE_BYTES, int(whole * self.memory.times) // PAGE_BYTES * PAGE_BYTES)
