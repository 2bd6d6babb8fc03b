"""Owns the way to the steady state: memory is filled and some of it swapped out, or it is said who failed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from testbed.clock import NS, now_ns
from testbed.errors import TestbedFault
from testbed.history import Writer
from testbed.model import PlannedLoad
from testbed.run.endings import Ending
from testbed.run.observe import Observer
from testbed.witnesses.page import State

FILL_BOUND_S = 60.0
SWAPPING_BOUND_S = 10.0
GOES_ON_S = 2.0
"""What is looked at to tell whether the machine lives moves several times in that."""


@dataclass(frozen=True, slots=True)
class Way:
    """That of the machine under test, while nothing has been done to it yet.

    A machine that stops on it has failed by itself. That is no fault of the testbed's, but `unsteady` in the
    history: `missing` is "memory" or "swap", `lives` whether its witness goes on nevertheless, `console`
    whether its kernel has said that nothing more will come, `bound_s` how long was waited at most; besides,
    how many pages were filled of how many, and how many were swapped in and out.
    """

    subject: str
    observer: Observer
    history: Writer
    ending: Ending
    cpu_scale: float

    def reached(self, fillers: Sequence[PlannedLoad]) -> bool:
        """Raises TestbedFault where the machine lives and yet nothing was done that it was told to do."""
        return self._fills(fillers) and self._swaps()

    def swap_used_kib(self) -> int:
        """So much of the swap is taken. What is written to it may be on its way still: see `swapped`."""
        return self._own("vmsampler.swap_total_kib") - self._own("vmsampler.swap_free_kib")

    def swapped(self) -> dict[str, int]:
        """Pages that went in and out so far."""
        return {f"{name}_pages": self._own(f"vmsampler.{name}") for name in ("pswpin", "pswpout")}

    def _fills(self, fillers: Sequence[PlannedLoad]) -> bool:
        def values(name: str) -> tuple[int, ...]:
            return tuple(self.observer.value(f"{load.machine}/{load.name}.{name}") for load in fillers)

        def filled() -> bool:
            pairs = zip(values("pages_filled"), values("pages_total"), strict=True)
            return all(done >= total > 0 for done, total in pairs)

        def failed() -> bool:
            return State.FAILED in values("state")

        bound_s = FILL_BOUND_S * self.cpu_scale
        self._wait(bound_s, lambda: filled() or failed())
        if filled():
            return True
        lives = self._goes_on("machine.beats")
        done, total = sum(values("pages_filled")), sum(values("pages_total"))
        if failed():
            self._check_own(lives, f"a load gave up before any fault: {os.strerror(max(values('error')))}")
        elif not done:
            self._check_own(
                lives, f"the loads did not fill their memory before any fault: waited {bound_s:.0f} s"
            )
        self._miss("memory", lives, bound_s, filled_pages=done, total_pages=total)
        return False

    def _swaps(self) -> bool:
        bound_s = SWAPPING_BOUND_S * self.cpu_scale
        self._wait(bound_s, lambda: self.swap_used_kib() > 0)
        if self.swap_used_kib() > 0:
            return True
        lives = self._goes_on("vmsampler.samples")
        self._check_own(lives, f"no swap was used before any fault: waited {bound_s:.0f} s")
        self._miss("swap", lives, bound_s)
        return False

    def _wait(self, seconds: float, met: Callable[[], bool]) -> None:
        self.observer.until(now_ns() + round(seconds * NS), lambda: met() or self.ending.came())

    def _goes_on(self, name: str) -> bool:
        before = self._own(name)
        end_ns = now_ns() + round(GOES_ON_S * self.cpu_scale * NS)
        return self.observer.until(end_ns, lambda: self._own(name) != before)

    def _check_own(self, lives: bool, otherwise: str) -> None:
        """Raises TestbedFault for a machine that lives, and whose kernel has said nothing final."""
        if lives and not self.ending.came():
            raise TestbedFault(otherwise, hint="see the consoles in the result folder")

    def _miss(self, missing: str, lives: bool, bound_s: float, **pages: int) -> None:
        self.history.event(
            "unsteady",
            missing=missing,
            lives=lives,
            console=self.ending.came(),
            bound_s=bound_s,
            **pages,
            **self.swapped(),
        )

    def _own(self, name: str) -> int:
        return self.observer.value(f"{self.subject}/{name}")
