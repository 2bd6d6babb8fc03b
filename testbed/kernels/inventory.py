"""Owns looking through a kernel's source in a tar: is it one, which version, and what is its content's hash.

A tar is input like any other: its members are counted and measured, and none may lie, or point, outside.
"""

from __future__ import annotations

import hashlib
import lzma
import posixpath
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import UsageError

MAX_MEMBERS = 250_000
MAX_BYTES = 4 << 30
MAX_MAKEFILE_BYTES = 1 << 20
_VERSION = re.compile(r"(VERSION|PATCHLEVEL|SUBLEVEL|EXTRAVERSION)[ \t]*=[ \t]*([A-Za-z0-9._-]{0,32})[ \t]*")


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a tar holds: the kernel's version as its Makefile says, and a hash over names and contents.

    Two tars of one content have one hash, however they were packed.
    """

    version: str
    sha256: str


def version_of(makefile: str) -> str | None:
    """`6.12.1-rc1` out of the text of a kernel's top Makefile; None if it is not one."""
    said: dict[str, str] = {}
    for line in makefile.splitlines()[:20]:
        if found := _VERSION.fullmatch(line):
            said.setdefault(found.group(1), found.group(2))
    numbers = [said.get(name, "") for name in ("VERSION", "PATCHLEVEL", "SUBLEVEL")]
    if not all(number.isdigit() for number in numbers[:2]):
        return None
    return ".".join(number for number in numbers if number.isdigit()) + said.get("EXTRAVERSION", "")


def _inside(name: str, path: Path) -> tuple[str, str]:
    """A member's top folder, and its path below it."""
    plain = posixpath.normpath(name)
    if name.startswith("/") or plain.startswith(".."):
        raise UsageError(f"its member '{name[:200]}' lies outside", where=str(path))
    top, _, below = plain.partition("/")
    return top, below


def _check_link(member: tarfile.TarInfo, below: str, path: Path) -> None:
    base = posixpath.dirname(below) if member.issym() else ""
    target = member.linkname if member.issym() else _inside(member.linkname, path)[1]
    if target.startswith("/") or posixpath.normpath(posixpath.join(base, target)).startswith(".."):
        raise UsageError(f"its link '{member.name[:200]}' points outside", where=str(path))


def _line(tar: tarfile.TarFile, member: tarfile.TarInfo, below: str, path: Path) -> tuple[str, bytes]:
    """What decides of one member, in words, and its content if it is the top Makefile."""
    if member.issym() or member.islnk():
        _check_link(member, below, path)
        return f"l {below} {member.linkname}", b""
    file = tar.extractfile(member) if member.isreg() else None
    if file is None:
        raise UsageError(f"its member '{member.name[:200]}' is no file, folder or link", where=str(path))
    digest, kept = hashlib.sha256(), b""
    while chunk := file.read(1 << 20):
        digest.update(chunk)
        if below == "Makefile" and len(kept) < MAX_MAKEFILE_BYTES:
            kept += chunk
    return f"f {below} {bool(member.mode & 0o100):d} {digest.hexdigest()}", kept


def _members(tar: tarfile.TarFile, path: Path) -> Iterator[tuple[tarfile.TarInfo, str]]:
    """All but folders, with their paths in the tree. git keeps no empty folders, so they do not count."""
    top, count, size = None, 0, 0
    for member in tar:
        count, size = count + 1, size + member.size
        if count > MAX_MEMBERS or size > MAX_BYTES:
            raise UsageError(
                f"holds more than {MAX_MEMBERS} files or {MAX_BYTES >> 30} GiB",
                hint="a kernel's source is smaller",
                where=str(path),
            )
        folder, below = _inside(member.name, path)
        if top not in (None, folder):
            raise UsageError(
                f"has several folders at its top: '{top}', '{folder}'",
                hint="a kernel's tarball has one, as linux-6.12",
                where=str(path),
            )
        top = folder
        if below and not member.isdir():
            yield member, below
        tar.members = []  # type: ignore[attr-defined]  # a stream: nobody goes back, and 90,000 members take space


def read(path: Path) -> Inventory:
    """Looks through a tar (plain, gzip, bzip2, xz). Raises UsageError if no kernel can be built of it."""
    lines, makefile = [], b""
    try:
        with tarfile.open(path, "r|*") as tar:
            for member, below in _members(tar, path):
                line, kept = _line(tar, member, below, path)
                lines.append(line)
                makefile = kept or makefile
    except (tarfile.TarError, EOFError, OSError, lzma.LZMAError, zlib.error, ValueError) as error:
        raise UsageError(
            f"cannot be read as a tarball: {error}",
            hint="known are .tar, .tar.gz, .tar.bz2 and .tar.xz",
            where=str(path),
        ) from error
    version = version_of(makefile.decode(errors="replace"))
    if version is None:
        raise UsageError(
            "is no kernel's source: no Makefile at its top that names VERSION and PATCHLEVEL", where=str(path)
        )
    return Inventory(version, hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest())
