"""Owns the reading of a guest's console file while it grows. What it says is hostile input."""

from __future__ import annotations

import os
from pathlib import Path

from testbed.printable import printable

STEP_BYTES = 256 * 1024


class Console:
    """A console file, read on from where the last reading ended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._at = 0

    @property
    def size(self) -> int:
        """Bytes written so far, 0 before the first."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def new(self, limit: int = STEP_BYTES) -> bytes:
        """What was written since the last call, at most `limit` bytes; the rest comes with the next call."""
        try:
            with self.path.open("rb") as file:
                data = os.pread(file.fileno(), limit, self._at)
        except FileNotFoundError:
            return b""
        self._at += len(data)
        return data

    def tail(self, limit: int = 4000) -> str:
        """The end of the console, for a message; control characters are made visible."""
        try:
            with self.path.open("rb") as file:
                data = os.pread(file.fileno(), limit, max(0, self.size - limit))
        except FileNotFoundError:
            return ""
        text = data.decode(errors="replace").replace("\r\n", "\n")
        return printable(text, "\n")
