"""Owns the history: one append-only log of a cell's events and samples, written by one writer.

A file of JSON lines. Each has `t` (host CLOCK_MONOTONIC, ns) and `kind`:

- `event`: `what` happened (`fault.applied`, `load.started`, ...) and its fields;
- `sample`: `of` a source (`A/anonymous`, `A/memory`, `wire/swap`) the integer values `v` that
  changed since the source's last sample: a value that is not repeated is unchanged.
"""

from __future__ import annotations

import bisect
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from testbed.clock import NS, now_ns
from testbed.errors import TestbedFault

MAX_LINE_BYTES = 1 << 16
LEAST, MOST = -(1 << 63), (1 << 64) - 1
"""Of a value: 64 bits, with a sign or without. No counter has more, and what is longer is damage."""
Point = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at `t_ns`, with its fields."""

    t_ns: int
    what: str
    fields: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.fields.get("name", ""))


class Writer:
    """The one writer of a history file. Every event is on disk before the call returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("xb", buffering=1 << 16)
        self._last: dict[str, dict[str, int]] = {}

    def event(self, what: str, **fields: Any) -> int:
        """Appends an event and returns its time. Raises TestbedFault if the disk refuses it."""
        t_ns = now_ns()
        self._append({"t": t_ns, "kind": "event", "what": what, **fields})
        self.flush()
        return t_ns

    def sample(self, source: str, values: Mapping[str, int]) -> None:
        """Appends what changed; the first sample of a source is whole."""
        before = self._last.setdefault(source, {})
        changed = {key: value for key, value in values.items() if before.get(key) != value}
        if changed:
            before.update(changed)
            self._append({"t": now_ns(), "kind": "sample", "of": source, "v": changed})

    def _append(self, record: Mapping[str, Any]) -> None:
        try:
            self._file.write(json.dumps(record, separators=(",", ":")).encode() + b"\n")
        except OSError as error:
            raise _unwritten(self._path, error) from error

    def flush(self) -> None:
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise _unwritten(self._path, error) from error

    def close(self) -> None:
        """Idempotent; what was written stays, even if the last flush fails."""
        if not self._file.closed:
            try:
                self._file.close()
            except OSError as error:
                raise _unwritten(self._path, error) from error


def _unwritten(path: Path, error: OSError) -> TestbedFault:
    return TestbedFault(
        f"cannot write the history: {error.strerror}",
        where=str(path),
        hint="free some disk space; what was saved before is kept",
    )


@dataclass(frozen=True, slots=True)
class History:
    """A history as read: events in order, and a series of (t_ns, value) for each `SOURCE.FIELD`."""

    events: tuple[Event, ...] = ()
    values: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)
    damaged_lines: int = 0
    last_ns: int = 0

    def series(self, name: str) -> tuple[Point, ...]:
        """Points at which `name` changed; empty if it was never seen."""
        return self.values.get(name, ())

    def value_at(self, name: str, t_ns: int) -> int | None:
        """The value in force at `t_ns`, None before the first sample."""
        points = self.series(name)
        index = bisect.bisect_right(points, t_ns, key=lambda point: point[0])
        return points[index - 1][1] if index else None

    def within(self, name: str, from_ns: int, to_ns: int) -> tuple[Point, ...]:
        """The points of a series after `from_ns`, up to and with `to_ns`."""
        points = self.series(name)
        start = bisect.bisect_right(points, from_ns, key=lambda point: point[0])
        end = bisect.bisect_right(points, to_ns, key=lambda point: point[0])
        return points[start:end]

    def growth(self, name: str, from_ns: int, to_ns: int) -> int | None:
        """By how much a counter rose in the span; None if it was not seen by its end."""
        after = self.value_at(name, to_ns)
        if after is None:
            return None
        before = self.value_at(name, from_ns)
        if before is None:
            before = self.series(name)[0][1]
        return max(0, after - before)

    def rises(self, names: Iterable[str], from_ns: int, to_ns: int) -> tuple[int, ...]:
        """The times in the span at which any of the counters rose, in order."""
        times = set()
        for name in names:
            last = self.value_at(name, from_ns)
            for t_ns, value in self.within(name, from_ns, to_ns):
                if last is not None and value > last:
                    times.add(t_ns)
                last = value
        return tuple(sorted(times))

    def events_of(self, what: str) -> Iterator[Event]:
        return (event for event in self.events if event.what == what)

    def first(self, what: str, name: str | None = None) -> Event | None:
        """The first event `what` (of `name`), None if it never happened."""
        return next((e for e in self.events_of(what) if name is None or e.name == name), None)

    def seconds(self, from_ns: int, to_ns: int) -> float:
        return (to_ns - from_ns) / NS


def read(path: Path) -> History:
    """Reads a history. A damaged line (a cell that was killed, a lying disk) is counted, never fatal."""
    events: list[Event] = []
    sources: dict[str, dict[str, list[Point]]] = {}
    damaged = 0
    last_ns = 0
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE_BYTES):
            record = _record(line)
            if record is None or record["t"] < last_ns:
                damaged += 1
                continue
            t_ns: int = record.pop("t")
            last_ns = t_ns
            if record["kind"] == "event":
                del record["kind"]
                events.append(Event(t_ns, record.pop("what"), record))
            else:
                fields = sources.setdefault(record["of"], {})
                for key, value in record["v"].items():
                    fields.setdefault(key, []).append((t_ns, value))
    values = {
        f"{source}.{key}": tuple(points)
        for source, fields in sources.items()
        for key, points in fields.items()
    }
    return History(tuple(events), values, damaged, last_ns)


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = from_json(line)
    except ValueError:
        return None
    if not isinstance(record, dict) or type(record.get("t")) is not int:
        return None
    if not 0 <= record["t"] <= MOST:
        return None
    if record.get("kind") == "event" and isinstance(record.get("what"), str):
        return record
    values = record.get("v")
    if (
        record.get("kind") != "sample"
        or not isinstance(record.get("of"), str)
        or not isinstance(values, dict)
    ):
        return None
    if not set(map(type, values.values())) <= {int}:
        return None
    return record if all(LEAST <= value <= MOST for value in values.values()) else None
