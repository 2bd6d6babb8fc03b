"""Owns what is kept of one kernel report, and which lines belong to one that has begun."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from testbed.consoles.facts import MOST_FRAMES, TELLING, TRACE, TRACE_END, Facts, facts_of
from testbed.consoles.sign import Sign
from testbed.consoles.text import MAX_TEXT, clean

QUIET_S = 10.0
"""A report is over when none of its lines came for so long by the kernel's clock."""
MOST_LINES = 4 * MOST_FRAMES

_END = ("---[ end trace", "---[ end Kernel panic")

# Later first lines about the same thing: kind of the report, then the kinds that join it.
_JOINS = {
    "oops": ("oops",),
    "bug": ("bug", "oops"),
    "corruption": ("warning", "bug", "oops"),
    "oom": ("oom", "oom-kill"),
}


@dataclass(frozen=True)
class KernelReport:
    """One thing that the kernel reported: an oops with all its lines is one.

    `number` (from 1) and `offset` are those of the line that `text` shows, which is `message` behind its
    `stamp`; `stamp_s` is the kernel's own time at the first line. `said` are the lines that may tell
    something, each with the sign whose first line it is; `reason` is what was said before all of them.
    """

    sign: Sign
    number: int
    offset: int
    stamp: bytes
    message: str
    stamp_s: float
    said: tuple[tuple[Sign | None, str], ...]
    reason: str = ""

    @property
    def kind(self) -> str:
        return self.sign.kind

    @property
    def text(self) -> str:
        """Its line as the console shows it, safe to show, bounded."""
        return (clean(self.stamp) + self.message)[:MAX_TEXT]

    @property
    def began_s(self) -> float:
        """When that began which the report is about: somebody stands, or waits, since `facts.seconds`."""
        return self.stamp_s - (self.facts.seconds or 0)

    @property
    def facts(self) -> Facts:
        """What it says in its own words."""
        return self._told[0]

    @property
    def trace(self) -> tuple[str, ...]:
        """Its call trace, the innermost function first, without frames that the kernel calls unreliable."""
        return self._told[1]

    @cached_property
    def _told(self) -> tuple[Facts, tuple[str, ...]]:
        return facts_of(self.said, self.reason)


class Growing:
    """A report whose lines still come; it begins with `message` behind `stamp`."""

    __slots__ = (
        "_died", "_said", "_tracing", "last_s", "message", "number", "offset", "over", "reason", "sign",
        "stamp", "stamp_s",
    )  # fmt: skip

    def __init__(
        self, sign: Sign, number: int, offset: int, stamp: bytes, stamp_s: float, message: str
    ) -> None:
        self.sign = sign
        self.number = number
        self.offset = offset
        self.stamp = stamp
        self.stamp_s = self.last_s = stamp_s
        self.message = message
        self.over = False
        self.reason = ""
        self._said: list[tuple[Sign | None, str]] = [(sign, message)]
        self._tracing: bool | None = None
        self._died = " [#" in message

    @property
    def bare(self) -> bool:
        """Whether only its first line is known, and another is to come that says where.

        What BUG() is told is printed before the cut, what WARN() is told after it (include/linux/bug.h
        CHECK_DATA_CORRUPTION(), mm/usercopy.c usercopy_abort(), 6.1).
        """
        return len(self._said) == 1 and not self._died and self.sign.kind in ("bug", "corruption")

    def joins(self, other: Growing) -> bool:
        """Takes over what `other`, which has just begun, says, if it is about the same thing."""
        if other.sign.kind not in _JOINS.get(self.sign.kind, ()) or len(self._said) >= MOST_LINES:
            return False
        if other.sign.kind == "oops":  # one death each (arch/x86/kernel/dumpstack.c __die_header(), 6.1)
            if self._died or not other._died:
                return False
            self._died = True
        elif other.sign.kind in ("bug", "warning") and not self.bare:
            return False
        self._said += other._said
        self.last_s = max(self.last_s, other.stamp_s)
        if other.sign.kind == "oom-kill":
            self.sign, self.stamp, self.message = other.sign, other.stamp, other.message
            self.number, self.offset = other.number, other.offset
        return True

    def take(self, message: str, stamp_s: float) -> None:
        """A line that begins no report: it may belong to this one."""
        if message == TRACE:
            self._tracing = self._tracing is None  # of several, the first
        elif message == TRACE_END:
            self._tracing = False
        elif message.startswith(_END):
            self.over = True
        elif (self._tracing and message[:1] == " ") or message[:4] in TELLING:
            if len(self._said) < MOST_LINES:
                self._said.append((None, message))
        else:
            return
        self.last_s = max(self.last_s, stamp_s)

    def done(self) -> KernelReport:
        """The report as it stands."""
        return KernelReport(
            self.sign,
            self.number,
            self.offset,
            self.stamp,
            self.message,
            self.stamp_s,
            tuple(self._said),
            self.reason,
        )
