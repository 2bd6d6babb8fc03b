"""Owns the sampling of a guest's witness page: the slots that the plan gave out, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from testbed.witnesses import Readings
from testbed.witnesses.page import State, WitnessPage


@dataclass(frozen=True)
class SlotWitness:
    """`A/anonymous`, ... for each slot of a machine; `slots` gives number and kind by name."""

    machine: str
    page: WitnessPage
    slots: Mapping[str, tuple[int, str]]
    every_ticks: int = 1

    @property
    def name(self) -> str:
        return f"{self.machine}/page"

    def read(self) -> Readings:
        read = {name: self.page.read(slot, kind) for name, (slot, kind) in self.slots.items()}
        # Any other number is told as it is: a guest that scribbles over its page is no fault of the testbed.
        return {
            f"{self.machine}/{name}": values
            for name, values in read.items()
            if values["state"] != State.ABSENT
        }
