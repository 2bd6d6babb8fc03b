"""Owns the watching: reads every witness in turn and appends what changed to the history."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from testbed.clock import NS, now_ns
from testbed.errors import TestbedFault
from testbed.history import Writer
from testbed.witnesses import Witness

TICK_S = 0.25
FLUSH_EVERY_TICKS = 8


@dataclass(frozen=True, slots=True)
class View:
    """What the live display shows: latest value of every `SOURCE.FIELD`, and where we are."""

    stage: str
    since_s: float
    latest: Mapping[str, int]
    faults: tuple[str, ...]


Listener = Callable[[View], None]


@dataclass
class Observer:
    """Samples witnesses on a steady beat while the main thread waits for its next deed.

    A witness that fails twice in a row is a fault of the testbed, not of a guest: witnesses read
    shared memory, the broker and QEMU, none of which depend on a guest's health.
    """

    history: Writer
    witnesses: Sequence[Witness]
    listener: Listener
    stage: str = "starting"
    faults: tuple[str, ...] = ()
    latest: dict[str, int] = field(default_factory=dict)
    _started_ns: int = field(default_factory=now_ns)
    _next_ns: int = 0
    _ticks: int = 0
    _failed: set[str] = field(default_factory=set)

    def enter(self, stage: str) -> None:
        """Names the stage for the display."""
        self.stage = stage
        self._show()

    def until(self, end_ns: int, met: Callable[[], bool] | None = None) -> bool:
        """Samples until `end_ns`, or until `met` says yes, asked after every sample.

        Returns whether `met` did. At least one sample is taken.
        """
        while True:
            self.tick()
            if met is not None and met():
                return True
            if now_ns() >= end_ns:
                return False
            time.sleep(max(0.0, (min(self._next_ns, end_ns) - now_ns()) / NS))

    def tick(self) -> None:
        """Takes one sample of every witness that is due."""
        for witness in self.witnesses:
            if self._ticks % witness.every_ticks == 0:
                self._sample(witness)
        self._ticks += 1
        if self._ticks % FLUSH_EVERY_TICKS == 0:
            self.history.flush()
        self._next_ns = now_ns() + round(TICK_S * NS)
        self._show()

    def value(self, name: str) -> int:
        """Latest value of `SOURCE.FIELD`, 0 before it was seen."""
        return self.latest.get(name, 0)

    def _sample(self, witness: Witness) -> None:
        try:
            readings = witness.read()
        except OSError as error:
            if witness.name in self._failed:
                raise TestbedFault(f"witness '{witness.name}' failed twice in a row: {error}") from error
            self._failed.add(witness.name)
            return
        self._failed.discard(witness.name)
        for source, values in readings.items():
            self.history.sample(source, values)
            self.latest.update({f"{source}.{key}": value for key, value in values.items()})

    def _show(self) -> None:
        since_s = (now_ns() - self._started_ns) / NS
        self.listener(View(self.stage, since_s, self.latest, self.faults))
