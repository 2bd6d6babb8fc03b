"""Owns what a kernel's report means for a verdict, in which words, and when it was written."""

from __future__ import annotations

import bisect
from collections.abc import Mapping

from testbed.consoles import Facts, KernelReport
from testbed.history import Point
from testbed.judge.values import Says

SAYS: Mapping[str, Says] = {
    **dict.fromkeys(("panic", "oops", "bug", "corruption", "kasan", "kfence", "kmsan"), "crashed"),
    **dict.fromkeys(("swap-error", "io-error"), "io-error"),
    "oom-kill": "oom-killed",
}
"""By kind of report; all other kinds are notes."""


def says(kind: str) -> Says:
    """What a report of this kind argues for, if it is the subject's and came in the cell's time."""
    return SAYS.get(kind, "note")


def written_ns(sizes: tuple[Point, ...], offset: int) -> int | None:
    """When the file grew past `offset`, by the samples of its size; None if no sample says."""
    index = bisect.bisect_right(sizes, offset, key=lambda point: point[1])
    return sizes[index][0] if index < len(sizes) else None


def told(report: KernelReport) -> str:
    """The facts of a report in a few words: `kworker/0:1H (pid 88), in nbd_queue_rq, for 20 s`."""
    facts = report.facts
    if report.kind == "oom-kill":  # the rest is about who asked for memory, and not about who was killed
        return _who(facts)
    parts = [_who(facts), _where(facts), _what(facts)]
    return ", ".join(part for part in parts if part)


def _who(facts: Facts) -> str:
    if facts.server is not None:
        return f"server {facts.server}"
    if facts.device is not None:
        return f"device {facts.device}"
    if facts.task is None:
        return f"CPU {facts.cpu}" if facts.cpu is not None else ""
    return facts.task if facts.pid is None else f"{facts.task} (pid {facts.pid})"


def _where(facts: Facts) -> str:
    found = f"in {facts.function}" if facts.function is not None else ""
    if facts.where is not None:
        found += f" at {facts.where}"
    return found.strip()


def _what(facts: Facts) -> str:
    parts = []
    if facts.seconds is not None:
        parts.append(f"for {facts.seconds} s")
    if facts.order is not None and facts.mode is not None:
        parts.append(f"order {facts.order}, {facts.mode.partition('(')[2].rstrip(')')}")
    if facts.cache is not None:
        parts.append(f"cache {facts.cache}")
    if facts.address is not None:
        parts.append(f"address {facts.address}")
    if facts.operation is not None:
        parts.append(facts.operation.lower())
    return ", ".join(parts)
