"""Owns when to look into the guest, and whether what two looks show lets the waiting end.

A look stops the guest for a fraction of a second; the dump is read in a process of its own while the
guest goes on. It needs nothing of the guest, and where it fails the cell is judged without.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from testbed import history, introspection, proc, store
from testbed.clock import NS, now_ns
from testbed.errors import TestbedError
from testbed.history import Writer
from testbed.model import Judging
from testbed.snapshot import Snapshot
from testbed.waitfor import Examination, examine, next_retransmission_ns, strength

log = logging.getLogger(__name__)

FIRST_S = 3.0
"""After the heal: TCP, whose next retransmission may lie far off, has had its chance to go on by itself."""
MARGIN_S = 1.0
"""After the retransmission's time: for the answer to come, and for the clocks to differ a little."""
AGAIN_S = 5.0
"""Between the first looks, where no retransmission is to come."""
SPREAD = 0.5
"""Of the time that was waited so far: what is waited at least for the next look, so that they spread."""
MOST_LOOKS = 16
"""By that, the last one of them lies an hour after the heal or more."""
COMPRESS_S = 120.0


class Dumpable(Protocol):
    """The guest that is looked into (machines/hypervisor.py)."""

    def dump(self, path: Path) -> None: ...


@dataclass
class Looker:
    """Takes looks while nothing progresses; `step` is called on every beat and never waits.

    `vmlinux` is the debug information of the guest's kernel; without it (a distribution's kernel)
    nothing is looked at.
    """

    guest: Dumpable
    vmlinux: Path | None
    folder: Path
    rules: Judging
    events: Writer
    snapshots: list[Snapshot] = field(default_factory=list)
    last: Examination | None = None
    _begun_ns: int = 0
    _next_ns: int = 0
    _taken: int = 0
    _reading: Future[Snapshot] | None = None
    _examining: Future[Examination] | None = None
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "reading-a-dump"))
    _failed: bool = False

    def begin(self) -> None:
        """The waiting begins now."""
        self._begun_ns = now_ns()
        self._next_ns = self._begun_ns + round(FIRST_S * NS)

    @property
    def proved(self) -> bool:
        return self.last is not None and self.last.proves == "deadlocked"

    def refute(self) -> None:
        """Something moved after the proof: it was none. Looks begin anew, as do the times between them."""
        self.last = None
        self._examining = None
        self.snapshots.clear()
        self.begin()

    def step(self) -> bool:
        """Goes on with the look under way, or takes the next; whether a deadlock has been proved."""
        if self._reading is not None and self._reading.done():
            self._finish()
        if self._examining is not None and self._examining.done():
            self._conclude()
        due = self._reading is None and self._examining is None and now_ns() >= self._next_ns
        if due and not self.proved and not self._failed and self._taken < MOST_LOOKS:
            self.look()
        return self.proved

    def look(self) -> None:
        """Stops the guest for as long as its memory takes to be written down."""
        if self.vmlinux is None or self._reading is not None:
            return
        self._taken += 1
        number, path = self._taken, self.folder / store.dump_name(self._taken)
        taken_ns = now_ns()
        try:
            self.guest.dump(path)
        except TestbedError as error:
            self._give_up(error)
            return
        paused_ms = (now_ns() - taken_ns) // 1_000_000
        self.events.event("look", number=number, paused_ms=paused_ms)
        self._reading = self._pool.submit(
            introspection.look, path, self.vmlinux, number=number, taken_ns=taken_ns, paused_ms=paused_ms
        )

    def look_back(self) -> None:
        """A last look when the waiting is over: for what patch sets have counted, and for SEEN_INSIDE."""
        if self._failed:
            return
        self._finish()
        self._conclude()
        self.look()
        if self._reading is not None:
            self._keep(self._reading)
            self._reading = None

    def _finish(self) -> None:
        if self._reading is not None:
            self._take_in(self._reading)
            self._reading = None

    def _keep(self, reading: Future[Snapshot]) -> Snapshot | None:
        try:
            snapshot = reading.result()
            store.write_snapshot(self.folder, snapshot)
        except TestbedError as error:
            self._give_up(error)
            return None
        return snapshot

    def _take_in(self, reading: Future[Snapshot]) -> None:
        snapshot = self._keep(reading)
        if snapshot is None:
            return
        self.snapshots.append(snapshot)
        self._next_ns = self._next_look_ns()
        if len(self.snapshots) > 1:
            self._examine()

    def _examine(self) -> None:
        """Beside the waiting: to read a long history takes seconds, in which nobody would watch."""
        self.events.flush()
        looks = tuple(self.snapshots)
        self._examining = self._pool.submit(_examined, looks, self.folder / store.HISTORY, self.rules)

    def _conclude(self) -> None:
        if self._examining is None:
            return
        found = self.last = self._examining.result()
        self._examining = None
        self.events.event(
            "examined", first=found.first, second=found.second, proves=found.proves, why=found.sentence[:2000]
        )

    def _next_look_ns(self) -> int:
        """After a retransmission that some look foretold, so that a pair tells back-off from a deadlock.

        If one is past and yet nothing proved, what lacks (as a second answer) may come before the next.
        """
        told = (next_retransmission_ns(each, frozenset(self.rules.devices)) for each in self.snapshots)
        due_ns = min((at_ns + round(MARGIN_S * NS) for at_ns in told if at_ns is not None), default=0)
        now = now_ns()
        soon_ns = due_ns if due_ns > now else now + round(AGAIN_S * NS)
        return max(soon_ns, now + round(SPREAD * (now - self._begun_ns)))

    def _give_up(self, error: TestbedError) -> None:
        log.warning("no look into the guest: %s", error)
        self._failed = True
        self.events.event("look.failed", message=str(error)[:1000])

    def close(self, *, keep: bool) -> None:
        """Waits for the reading under way; compresses the dumps, or drops them where they prove nothing."""
        self._finish()
        self._conclude()
        self._pool.shutdown(wait=True)
        pair = (self.last.first, self.last.second) if self.last is not None else range(self._taken + 1)
        wanted = {store.dump_name(number) for number in pair} if keep else set()
        for path in sorted(self.folder.glob("dump-*.elf")):
            if path.name in wanted:
                proc.run(["nice", "gzip", "-1", "-f", str(path)], timeout_s=COMPRESS_S, check=False)
            else:
                path.unlink(missing_ok=True)


def _examined(looks: tuple[Snapshot, ...], path: Path, rules: Judging) -> Examination:
    """What the latest look shows together with the one before it that proves most."""
    seen = history.read(path)
    return max((examine(first, looks[-1], seen, rules) for first in looks[:-1]), key=strength)
