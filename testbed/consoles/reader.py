"""Owns the way through a console: bytes in, reports out, in constant memory and linear time."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from testbed.consoles.recognition import Numbered, candidates, known
from testbed.consoles.report import QUIET_S, Growing, KernelReport
from testbed.consoles.text import MAX_LINE, MAX_STAMP, STAMP, clean

MOST_OF_A_KIND = 1000
"""Of each kind the first and the last so many reports are kept; all are counted."""
MOST_OPEN = 64
MOST_SEEN = 10_000
CHUNK_BYTES = 1 << 18
_CUT = b"------------[ cut here ]------------"
_ALL_OVER = (b"sysrq: ", b"Linux version ")
"""What a user asked for, and what a boot begins with, belongs to no report."""
_ASIDE = (_CUT, *_ALL_OVER)


class Reader:
    """Feed it the console in pieces of any size; it hands out each report when that is over.

    A report is over at its last line, when another begins in its place, or when the kernel prints
    nothing of it for a while. With CONFIG_PRINTK_CALLER the lines of each printing task or CPU are
    grouped on their own; else a report's lines are those that follow it. A line that was printed before
    (a panic replays the buffer, a user runs `dmesg`) begins no report.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self.kernel_lines = 0
        self._last_stamp: bytes | None = None
        self._rest = b""
        self._counted = 0
        self._newlines = 0
        self._open: dict[bytes, Growing] = {}
        self._cuts: dict[bytes, str] = {}
        self._seen: set[tuple[bytes, str]] = set()
        self._seen_before: set[tuple[bytes, str]] = set()
        self._over: list[KernelReport] = []

    @property
    def last_s(self) -> float | None:
        """The time of the last kernel line, by the kernel's clock; None as long as there was none."""
        return None if self._last_stamp is None else float(self._last_stamp)

    def feed(self, data: bytes) -> list[KernelReport]:
        """Reads on; returns the reports that are over by now."""
        self.bytes += len(data)
        self._read(self._rest + data, last=False)
        return self._take_over()

    def end(self) -> list[KernelReport]:
        """Nothing more will come: what is still open is over, a line without its end is a line."""
        self._read(self._rest, last=True)
        for caller in list(self._open):
            self._close(caller)
        return self._take_over()

    @property
    def open(self) -> tuple[KernelReport, ...]:
        """The reports whose lines may still come, as they stand."""
        return tuple(growing.done() for growing in self._open.values())

    def _take_over(self) -> list[KernelReport]:
        over, self._over = self._over, []
        return over

    # --- from bytes to kernel lines

    def _read(self, buffer: bytes, *, last: bool) -> None:
        """Reads every kernel line whose end is known; the rest waits for the next piece."""
        base = self.bytes - len(buffer)
        done = 0
        for stamp in STAMP.finditer(buffer):
            at = stamp.end()
            end = buffer.find(b"\n", at, at + MAX_LINE)
            if end < 0:
                end = at + MAX_LINE
                if end > len(buffer) and not last:
                    done = stamp.start()
                    break
            done = at
            self.kernel_lines += 1
            self._last_stamp = stamp[1]
            message = buffer[at:end]
            possible = candidates(message)
            if possible or self._open or self._cuts or message.startswith(_ASIDE):
                self._line(buffer, base, stamp, message, possible)
        else:
            # A stamp may be cut in two by the end of the piece.
            done = max(done, buffer.rfind(b"\n") + 1, len(buffer) - MAX_STAMP)
        self._number(buffer, base, done)
        self._rest = buffer[done:]

    def _number(self, buffer: bytes, base: int, upto: int) -> int:
        """The number of the line that begins, or goes on, at this place of the buffer."""
        self._newlines += buffer.count(b"\n", self._counted - base, upto)
        self._counted = base + upto
        return self._newlines + 1

    # --- from kernel lines to reports

    def _line(
        self, buffer: bytes, base: int, stamp: re.Match[bytes], message: bytes, possible: list[Numbered]
    ) -> None:
        caller, stamp_s = stamp[2] or b"", float(stamp[1])
        if self._open:
            self._close_stale(stamp_s)
        found = known(message, possible) if possible else None
        if found is None:
            self._no_sign(caller, stamp_s, message)
            return
        sign, text = found
        number = self._number(buffer, base, stamp.start())
        new = Growing(sign, number, base + stamp.start(), stamp[0], stamp_s, text)
        growing = self._open.get(caller)
        is_new = self._is_new(stamp[1], text)
        if is_new and growing is not None and growing.joins(new):
            return
        self._close(caller)
        if self._cuts:
            new.reason = self._cuts.pop(caller, "")
        if not is_new:
            return
        if len(self._open) >= MOST_OPEN:
            self._close(next(iter(self._open)))
        self._open[caller] = new

    def _no_sign(self, caller: bytes, stamp_s: float, message: bytes) -> None:
        growing = self._open.get(caller)
        if message.startswith(_CUT):
            if growing is not None and not growing.bare:
                self._close(caller)
            if len(self._cuts) < MOST_OPEN:
                self._cuts[caller] = ""
            return
        if message.startswith(_ALL_OVER):
            for each in list(self._open):
                self._close(each)
            return
        text = clean(message)
        if caller in self._cuts:
            # What WARN() was told to say comes between the cut and the WARNING (kernel/panic.c, 6.1).
            if self._cuts[caller]:
                del self._cuts[caller]
            else:
                self._cuts[caller] = text[:120]
        if growing is not None:
            growing.take(text, stamp_s)
            if growing.over:
                self._close(caller)

    def _is_new(self, stamp: bytes, text: str) -> bool:
        """Whether these words were not printed at this very moment before; two generations are remembered."""
        key = (stamp, text)
        if key in self._seen or key in self._seen_before:
            return False
        if len(self._seen) >= MOST_SEEN:
            self._seen_before, self._seen = self._seen, set()
        self._seen.add(key)
        return True

    def _close_stale(self, stamp_s: float) -> None:
        """Time that goes back ends nothing: a CPU that is stuck with interrupts off has an old clock."""
        for caller, growing in list(self._open.items()):
            if stamp_s - growing.last_s >= QUIET_S:
                self._close(caller)

    def _close(self, caller: bytes) -> None:
        growing = self._open.pop(caller, None)
        if growing is not None:
            self._over.append(growing.done())


@dataclass(frozen=True, slots=True)
class Reading:
    """What a whole console says. `counts` has every report, `reports` at most 2 * MOST_OF_A_KIND a kind."""

    reports: tuple[KernelReport, ...]
    counts: Mapping[str, int]
    bytes: int
    kernel_lines: int
    last_s: float | None


def read(console: bytes | Iterable[bytes]) -> Reading:
    """Reads a console to its end, whole or in pieces."""
    pieces = _pieces(console) if isinstance(console, bytes) else console
    reader = Reader()
    first: list[KernelReport] = []
    last: dict[str, deque[KernelReport]] = {}
    counts: dict[str, int] = {}

    def keep(reports: Iterable[KernelReport]) -> None:
        for report in reports:
            kind = report.sign.kind
            count = counts[kind] = counts.get(kind, 0) + 1
            if count <= MOST_OF_A_KIND:
                first.append(report)
            else:
                if kind not in last:
                    last[kind] = deque(maxlen=MOST_OF_A_KIND)
                last[kind].append(report)

    for piece in pieces:
        keep(reader.feed(piece))
    keep(reader.end())
    found = [report for kept in (first, *last.values()) for report in kept]
    found.sort(key=lambda report: report.offset)
    return Reading(tuple(found), counts, reader.bytes, reader.kernel_lines, reader.last_s)


def _pieces(console: bytes) -> Iterator[bytes]:
    for start in range(0, len(console), CHUNK_BYTES):
        yield console[start : start + CHUNK_BYTES]
