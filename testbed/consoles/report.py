"""Owns what is kept of one kernel report, and which lines belong to one that has begun."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from testbed.consoles.facts import MOST_FRAMES, TELLING, TRACE, TRACE_END, Facts, facts_of
from testbed.consoles.sign import Sign

QUIET_S = 10.0
"""A report is over when none of its lines came for so long by the kernel's clock."""
MOST_LINES = 4 * MOST_FRAMES

_END = ("---[ end trace", "---[ end Kernel panic")

# Later first lines about the same thing: kind of the report, then the kinds that join it.
_JOINS = {
    "oops": ("oops",),
    "bug": ("oops",),
    "corruption": ("warning", "bug", "oops"),
    "oom": ("oom", "oom-kill"),
}


@dataclass(frozen=True)
class KernelReport:
    """One thing that the kernel reported: an oops with all its lines is one.

    `number` (from 1) and `offset` are those of the line that `text` is. `stamp_s` is the kernel's own
    time. `said` are the lines that may tell something, each with the sign whose first line it is;
    `reason` is what was said before the first of them.
    """

    sign: Sign
    number: int
    offset: int
    text: str
    stamp_s: float
    said: tuple[tuple[Sign | None, str], ...]
    reason: str = ""

    @property
    def kind(self) -> str:
        return self.sign.kind

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
    """A report whose lines still come; it begins with `message`, on the console shown as `text`."""

    __slots__ = (
        "_died", "_said", "_tracing", "last_s", "number", "offset", "over", "reason", "sign", "stamp_s",
        "text",
    )  # fmt: skip

    def __init__(self, sign: Sign, number: int, offset: int, stamp_s: float, text: str, message: str) -> None:
        self.sign, self.number, self.offset, self.text = sign, number, offset, text
        self.stamp_s = self.last_s = stamp_s
        self.over = False
        self.reason = ""
        self._said: list[tuple[Sign | None, str]] = [(sign, message)]
        self._tracing: bool | None = None
        self._died = " [#" in message

    def joins(self, other: Growing) -> bool:
        """Takes over what `other`, which has just begun, says, if it is about the same thing."""
        if other.sign.kind not in _JOINS.get(self.sign.kind, ()) or len(self._said) >= MOST_LINES:
            return False
        if other.sign.kind == "oops":  # one death each (arch/x86/kernel/dumpstack.c __die_header(), 6.1)
            if self._died or not other._died:
                return False
            self._died = True
        self._said += other._said
        self.last_s = max(self.last_s, other.stamp_s)
        if other.sign.kind == "oom-kill":
            self.sign, self.text = other.sign, other.text
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
            self.sign, self.number, self.offset, self.text, self.stamp_s, tuple(self._said), self.reason
        )
