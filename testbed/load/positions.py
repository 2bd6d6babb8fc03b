"""Owns the lines of a TOML text: which line each key stands on, by its path.

It reads only text that tomllib has accepted, so it needs to know where things are, not whether
they are right.
"""

from __future__ import annotations

import re
from bisect import bisect_right

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n,]|#[^\n]*)*")
_KEY = re.compile(r"[ \t]*(?:\"((?:[^\"\\\n]|\\.)*)\"|'([^'\n]*)'|([A-Za-z0-9_-]+))[ \t]*")
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}'
    r"|'''(?:[^']|'(?!''))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_BARE = re.compile(r"[^,\]}#\n]+")


def positions(text: str) -> dict[Path, int]:
    """Line (from 1) of every table, key and array element: `("timeline", 0, "at")` -> 23."""
    return _Scanner(text).scan()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._breaks = [found.start() for found in re.finditer("\n", text)]
        self._lines: dict[Path, int] = {}
        self._arrays: dict[Path, int] = {}

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        while self._more():
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
        return self._lines

    def _more(self) -> bool:
        self._skip(_BLANK)
        return self._at < len(self._text)

    def _skip(self, shape: re.Pattern[str]) -> None:
        found = shape.match(self._text, self._at)
        if found:
            self._at = found.end()

    def _mark(self, path: Path) -> None:
        self._lines.setdefault(path, bisect_right(self._breaks, self._at - 1) + 1)

    def _keys(self) -> list[str]:
        keys: list[str] = []
        while found := _KEY.match(self._text, self._at):
            keys.append(next(part for part in found.groups() if part is not None))
            self._at = found.end()
            if self._text[self._at : self._at + 1] != ".":
                break
            self._at += 1
        return keys

    def _header(self) -> Path:
        double = self._text.startswith("[[", self._at)
        start = self._at
        self._at += 2 if double else 1
        keys = self._keys()
        end, self._at = self._at + (2 if double else 1), start
        path: Path = ()
        for number, key in enumerate(keys):
            path = (*path, key)
            self._mark(path)
            if double and number == len(keys) - 1:
                self._arrays[path] = self._arrays.get(path, -1) + 1
            if path in self._arrays:
                path = (*path, self._arrays[path])
                self._mark(path)
        self._at = end
        return path

    def _pair(self, table: Path) -> None:
        self._skip(_BLANK)
        start = self._at
        keys = self._keys()
        if not keys:
            self._at += 1
            return
        end, self._at = self._at, start
        for count in range(1, len(keys) + 1):
            self._mark((*table, *keys[:count]))
        self._at = end + 1  # the equals sign
        self._value((*table, *keys))

    def _value(self, path: Path) -> None:
        self._skip(_BLANK)
        opening = self._text[self._at : self._at + 1]
        if opening == "[":
            self._inside("]", path)
        elif opening == "{":
            self._inside("}", path)
        elif opening in ('"', "'"):
            self._skip(_STRING)
        else:
            self._skip(_BARE)

    def _inside(self, closing: str, path: Path) -> None:
        self._at += 1
        count = 0
        while self._more() and self._text[self._at] != closing:
            if closing == "}":
                self._pair(path)
                continue
            self._mark((*path, count))
            self._value((*path, count))
            count += 1
        self._at += 1
