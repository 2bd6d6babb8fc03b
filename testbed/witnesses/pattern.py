"""Owns the anonymous load's pages in a guest's memory: found by their pattern, with no guest's help.

On the swap server they are what it holds for its client: whoever changes one there makes it lie.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from testbed.errors import TestbedFault
from testbed.units import PAGE_BYTES

PATTERN_STEP = 0x9E3779B97F4A7C15
"""What one word of a page's pattern is beyond the last (testbed/guest/proof.c)."""
FIRST_PATTERN_WORD = 2
LAST_WORD = PAGE_BYTES // 8 - 1
MOST_GENERATION = 0xFFFF
VICTIM_WORD = 256
FLIP = 1 << 21
"""The one bit of that word that `flip` turns over."""

_WORD = (1 << 64) - 1
_STEP_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class LoadPage:
    """A page that carries the pattern, at `offset` of the guest's memory; `flipped`: but for the one bit."""

    offset: int
    flipped: bool


def load_pages(fd: int) -> Iterator[LoadPage]:
    """Every page with the pattern in the file behind a guest's memory; what it never touched is skipped.

    Copies are found that nobody reads any more, too: the guest does not clear what it frees.
    """
    for start, end in _extents(fd):
        for at in range(start, end, _STEP_BYTES):
            data = os.pread(fd, min(_STEP_BYTES, end - at), at)
            words = memoryview(data[: len(data) // PAGE_BYTES * PAGE_BYTES]).cast("Q")
            for first in range(0, len(words), PAGE_BYTES // 8):
                flipped = _pattern(words, first)
                if flipped is not None:
                    yield LoadPage(at + first * 8, flipped)


def flip(fd: int, page: LoadPage) -> None:
    """Turns the bit over, to and fro. Raises TestbedFault if it does not read back."""
    at = page.offset + VICTIM_WORD * 8
    (word,) = struct.unpack("<Q", os.pread(fd, 8, at))
    turned = struct.pack("<Q", word ^ FLIP)
    os.pwrite(fd, turned, at)
    if os.pread(fd, 8, at) != turned:
        raise TestbedFault(f"the word at {at:#x} of a guest's memory does not stay as it was written")


def _pattern(words: memoryview[int], first: int) -> bool | None:
    """Whether the page at `first` has its bit flipped; None: it is no page of the load."""
    base = words[first + FIRST_PATTERN_WORD]
    if words[first + FIRST_PATTERN_WORD + 1] != (base + PATTERN_STEP) & _WORD:
        return None
    if words[first + LAST_WORD] != _expected(base, LAST_WORD):
        return None
    if not 0 < words[first + 1] <= MOST_GENERATION:
        return None
    difference = words[first + VICTIM_WORD] ^ _expected(base, VICTIM_WORD)
    return difference == FLIP if difference in (0, FLIP) else None


def _expected(base: int, word: int) -> int:
    return (base + (word - FIRST_PATTERN_WORD) * PATTERN_STEP) & _WORD


def _extents(fd: int) -> Iterator[tuple[int, int]]:
    """The parts of a sparse file that hold data, cut to whole pages."""
    at = 0
    while True:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        at = os.lseek(fd, start, os.SEEK_HOLE)
        yield start // PAGE_BYTES * PAGE_BYTES, -(-at // PAGE_BYTES) * PAGE_BYTES
