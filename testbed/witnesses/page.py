"""Owns the reading of a witness page: its layout, parsed from the guest's header, and its slots."""

from __future__ import annotations

import mmap
import os
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from pathlib import Path
from types import MappingProxyType, TracebackType

from testbed.errors import TestbedFault, UsageError, nearest

HEADER = Path(__file__).parent.parent / "guest" / "witness.h"
WORD_BYTES = 8
OWN_SLOTS = {"machine": 0, "blocksampler": 1, "vmsampler": 2}
"""The testbed's own, by kind, in every guest's page (testbed/guest/witness.h); loads have those behind."""

_BLOCK = re.compile(r"^enum (\w+) \{\n(.*?)^\};", re.MULTILINE | re.DOTALL)
_ENTRY = re.compile(r"^\t([A-Z0-9_]+) = (\d+),\s*/\* ([\w/ ]+): (.+) \*/$", re.MULTILINE)


class State(IntEnum):
    """What a slot's process is at (enum witness_state)."""

    ABSENT = 0
    STARTING = 1
    READY = 2
    RUNNING = 3
    DONE = 4
    FAILED = 5


class Control(IntEnum):
    """What the host asks of a slot's process (enum witness_control)."""

    NONE = 0
    RUN = 1
    SWEEP = 2
    STOP = 3
    QUIT = 4


@dataclass(frozen=True, slots=True)
class Field:
    """One word of a slot: where it stands, and what it counts in which unit."""

    name: str
    word: int
    unit: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Layout:
    """The page's layout: the fields of each kind, those that all kinds share included."""

    slot_words: int
    slots: int
    kinds: Mapping[str, int]
    fields: Mapping[str, Mapping[str, Field]]

    @property
    def page_bytes(self) -> int:
        return self.slot_words * self.slots * WORD_BYTES

    def fields_of(self, kind: str) -> Mapping[str, Field]:
        """The fields of a slot of `kind`. Raises UsageError with the right names for a wrong one."""
        if kind not in self.fields:
            raise UsageError(f"no kind of witness '{kind}'", hint=nearest(kind, self.fields))
        return self.fields[kind]


def parse_layout(header: str) -> Layout:
    """Reads witness.h. Raises TestbedFault where the header and this reader disagree."""
    blocks = {name: _parse_block(name, body) for name, body in _BLOCK.findall(header)}
    try:
        size = {field.name: field.word for field in blocks.pop("witness_size")}
        kinds = {field.name.removeprefix("KIND_").lower(): field.word for field in blocks.pop("witness_kind")}
        for states, block in ((State, "witness_state"), (Control, "witness_control")):
            _check_same(states, blocks.pop(block))
        common = _named("slot", blocks.pop("slot_field"))
        own = {kind: _named(kind, blocks.pop(f"{kind}_field")) for kind in kinds}
    except KeyError as error:
        raise TestbedFault(f"witness.h has no enum {error.args[0]}") from error
    if blocks:
        raise TestbedFault(f"witness.h has an enum that belongs to no kind: {', '.join(blocks)}")
    fields = MappingProxyType({kind: MappingProxyType(common | own[kind]) for kind in kinds})
    return Layout(size["SLOT_WORDS"], size["PAGE_SLOTS"], MappingProxyType(kinds), fields)


@cache
def layout() -> Layout:
    """The layout that the guests' agent is built with."""
    return parse_layout(HEADER.read_text())


def _parse_block(name: str, body: str) -> tuple[Field, ...]:
    entries = tuple(Field(entry, int(word), unit, text) for entry, word, unit, text in _ENTRY.findall(body))
    lines = [line for line in body.splitlines() if line.strip()]
    if len(entries) != len(lines):
        raise TestbedFault(f"witness.h: a line of enum {name} has not the form 'NAME = N, /* unit: text */'")
    if len({entry.word for entry in entries}) != len(entries):
        raise TestbedFault(f"witness.h: two entries of enum {name} have one number")
    return entries


def _named(prefix: str, entries: tuple[Field, ...]) -> dict[str, Field]:
    def short(name: str) -> str:
        if not name.startswith(f"{prefix.upper()}_"):
            raise TestbedFault(f"witness.h: {name} does not begin with its kind, {prefix.upper()}_")
        return name.removeprefix(f"{prefix.upper()}_").lower()

    return {short(e.name): Field(short(e.name), e.word, e.unit, e.meaning) for e in entries}


def _check_same(known: type[IntEnum], entries: tuple[Field, ...]) -> None:
    in_header = {entry.name.partition("_")[2]: entry.word for entry in entries}
    if in_header != {member.name: member.value for member in known}:
        raise TestbedFault(f"witness.h and {known.__name__} of this reader disagree: {in_header}")


class WitnessPage:
    """A guest's witness page, mapped from the descriptor of its shared memory; a context manager.

    Needs nothing of the guest: no packet, no system call, no allocation there. Words are read one
    by one; two of them may be one step of the guest apart. The descriptor stays the caller's.
    """

    def __init__(self, fd: int, page_layout: Layout | None = None) -> None:
        self.layout = page_layout or layout()
        size = os.fstat(fd).st_size
        if size < self.layout.page_bytes:
            raise TestbedFault(f"the witness page has {size} bytes instead of {self.layout.page_bytes}")
        self._map = mmap.mmap(fd, self.layout.page_bytes, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)

    def read(self, slot: int, kind: str) -> dict[str, int]:
        """All fields of the slot, by name; the layout is that of `kind`, whatever the slot says it is."""
        words = struct.unpack_from(f"<{self.layout.slot_words}Q", self._map, self._offset(slot, 0))
        return {name: words[field.word] for name, field in self.layout.fields_of(kind).items()}

    def state(self, slot: int) -> State:
        """Raises TestbedFault if the guest has put nonsense there."""
        number = self._word(slot, "state")
        try:
            return State(number)
        except ValueError as error:
            raise TestbedFault(f"witness slot {slot} has the state {number}, which is none") from error

    def control(self, slot: int, value: Control) -> None:
        """Asks the slot's process for something; it notices within 50 ms if it is not blocked."""
        struct.pack_into("<Q", self._map, self._offset(slot, self._common("control")), value)

    def clear(self, slot: int) -> None:
        """Empties the slot, for a new process; only while none has it."""
        start, size = self._offset(slot, 0), self.layout.slot_words * WORD_BYTES
        self._map[start : start + size] = bytes(size)

    def close(self) -> None:
        self._map.close()

    def __enter__(self) -> WitnessPage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _common(self, name: str) -> int:
        return self.layout.fields["machine"][name].word

    def _word(self, slot: int, name: str) -> int:
        word: int = struct.unpack_from("<Q", self._map, self._offset(slot, self._common(name)))[0]
        return word

    def _offset(self, slot: int, word: int) -> int:
        if not 0 <= slot < self.layout.slots:
            raise UsageError(f"the witness page has slots 0 to {self.layout.slots - 1}, not {slot}")
        return (slot * self.layout.slot_words + word) * WORD_BYTES
