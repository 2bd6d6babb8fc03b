"""Owns single patches as texts: what one touches, where its hunks stand, and what is not to be applied.

`patch` takes more for a diff than is read here: one that is indented, or quoted with `- `, a context diff, a
script for ed. Therefore it is given what was read, and nothing else of the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from testbed.errors import UsageError, at

MAX_PATCH_BYTES = 4 << 20
_HEADER = re.compile(r"(?:---|\+\+\+|rename from|rename to|copy from|copy to) ([^\t\n]+)")
_GIT = re.compile(r"diff --git (\S+) (\S+)$")
_MORE = re.compile(
    r"(?:(?:old|new|new file) mode 100(?:644|755)|deleted file mode 100(?:644|755)"
    r"|index [0-9a-f]+\.\.[0-9a-f]+(?: 100(?:644|755))?|(?:dis)?similarity index \d+%)$"
)
"""What git's headers hold besides names."""
_LINK = re.compile(r"(?:(?:old|new|new file|deleted file) mode|index \S+)\s+12\d{4}$")
_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_BINARY = re.compile(r"GIT binary patch$|Binary files .* differ$")


@dataclass(frozen=True, slots=True)
class Hunk:
    """One hunk: the file it changes, its number in that file, and its line in the patch and in the file."""

    target: str
    number: int
    patch_line: int
    old_line: int
    body: tuple[str, ...]

    @property
    def expects(self) -> tuple[str, ...]:
        """The lines that it takes for granted."""
        return tuple(line[1:] for line in self.body if line[:1] in (" ", "-", ""))

    @property
    def adds(self) -> tuple[str, ...]:
        return tuple(line[1:] for line in self.body if line.startswith("+"))


@dataclass(frozen=True, slots=True)
class Content:
    """What a patch holds: files in the order in which it names them, and its hunks.

    `diff` is for `patch`: headers and hunks at the lines where they stand, all other lines empty.
    """

    targets: tuple[str, ...]
    hunks: tuple[Hunk, ...]
    diff: str


def _check_path(name: str, *, strip: bool, where: str) -> str | None:
    """The path inside the tree; None for /dev/null. Refuses what would leave it."""
    name = name.strip().strip('"')
    if name == "/dev/null":
        return None
    parts = PurePosixPath(name).parts
    inside = parts[1:] if strip else parts
    if name.startswith("/") or ".." in parts or not inside or "\\" in name or inside[0] == ".git":
        raise UsageError(
            f"'{name}' leaves the kernel tree",
            hint="paths in a patch are relative, as `a/net/core/sock.c` (patch -p1)",
            where=where,
        )
    return "/".join(inside)


class _Reader:
    """The state of reading one patch from its first line to its last."""

    def __init__(self, text: str, path: Path) -> None:
        self.path = path
        self.found: dict[str, None] = {}
        self.hunks: list[Hunk] = []
        self._lines = text.split("\n")
        self._read = [""] * len(self._lines)
        self._number = 0
        self._old = self._new = ""

    def read(self) -> None:
        while self._number < len(self._lines):
            line = self._next()
            if shape := _HUNK.match(line):
                self._hunk(shape, self._number)
            else:
                self._header(line, at(self.path, self._number))

    @property
    def diff(self) -> str:
        return "\n".join(self._read)

    def _next(self) -> str:
        self._number += 1
        return self._lines[self._number - 1]

    def _take(self) -> None:
        """The current line is for `patch`."""
        self._read[self._number - 1] = self._lines[self._number - 1]

    def _header(self, line: str, where: str) -> None:
        """A line outside of all hunks."""
        if _LINK.match(line):
            raise UsageError("makes or changes a symbolic link", hint="leave links alone", where=where)
        if _BINARY.match(line):
            raise UsageError(
                "is a binary patch", hint="a kernel's patch changes text; leave the file out", where=where
            )
        if header := _HEADER.match(line):
            if line.endswith("\r"):
                raise _crlf(where)
            name = _check_path(header.group(1), strip=line[0] in "-+", where=where)
            self._take()
            if name:
                self.found[name] = None
            if line.startswith("---"):
                self._old, self._new = name or "", ""
            elif line.startswith("+++"):
                self._new = name or ""
        elif git := _GIT.match(line):
            for name in git.groups():
                _check_path(name, strip=True, where=where)
            self._take()
        elif _MORE.match(line):
            self._take()

    def _hunk(self, shape: re.Match[str], start: int) -> None:
        where, target = at(self.path, start), self._new or self._old
        if not target:
            raise UsageError(
                "a hunk of no file", hint="`--- a/FILE` and `+++ b/FILE` stand before one", where=where
            )
        self._take()
        old, new = (int(count) if count else 1 for count in (shape.group(2), shape.group(4)))
        body: list[str] = []
        while old > 0 or new > 0:
            if self._number >= len(self._lines):
                raise UsageError("ends in the middle of a hunk", hint="was it cut off?", where=where)
            line = self._next()
            if line[:1] not in ("", "\r", " ", "-", "+", "\\"):
                raise UsageError(
                    "a hunk is shorter than its head says", hint="was it edited by hand?", where=where
                )
            old -= line[:1] in ("", "\r", " ", "-")
            new -= line[:1] in ("", "\r", " ", "+")
            body.append(line)
            self._take()
        if body and all(line.endswith("\r") for line in body if not line.startswith("\\")):
            raise _crlf(where)
        if self._lines[self._number : self._number + 1] == ["\\ No newline at end of file"]:
            body.append(self._next())
            self._take()
        number = 1 + sum(hunk.target == target for hunk in self.hunks)
        self.hunks.append(Hunk(target, number, start, int(shape.group(1)), tuple(body)))


def _crlf(where: str) -> UsageError:
    return UsageError(
        "its lines end with CR LF, and the kernel's do not",
        hint="a mail program or an editor did that: take the patch as it was sent, or convert it",
        where=where,
    )


def read(text: str, path: Path) -> Content:
    """Reads a patch. Refuses paths that leave the tree, links, binary patches, CR LF and hunks cut short."""
    reader = _Reader(text, path)
    reader.read()
    if not reader.found:
        raise UsageError("touches no file", hint="a patch is a unified diff for patch -p1", where=str(path))
    return Content(tuple(reader.found), tuple(reader.hunks), reader.diff)


def targets(text: str, path: Path) -> tuple[str, ...]:
    """The files that a patch touches, in order."""
    return read(text, path).targets
