"""Owns writing cpio archives (newc), the form that the kernel unpacks as its first root."""

from __future__ import annotations

import gzip
import stat
from dataclasses import dataclass

_TRAILER = "TRAILER!!!"


@dataclass(frozen=True, slots=True)
class Entry:
    """One member: `mode` with its file type; `device` (major, minor) of device nodes only."""

    name: str
    mode: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)


def directory(name: str) -> Entry:
    return Entry(name, stat.S_IFDIR | 0o755)


def program(name: str, content: bytes) -> Entry:
    return Entry(name, stat.S_IFREG | 0o755, content)


def file(name: str, content: bytes) -> Entry:
    return Entry(name, stat.S_IFREG | 0o644, content)


def device(name: str, major: int, minor: int) -> Entry:
    return Entry(name, stat.S_IFCHR | 0o600, device=(major, minor))


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _member(entry: Entry, inode: int) -> bytes:
    """Documentation/driver-api/early-userspace/buffer-format.rst of the kernel."""
    name = entry.name.encode() + b"\0"
    fields = (
        inode, entry.mode, 0, 0, 1, 0, len(entry.content), 0, 0, *entry.device, len(name), 0
    )  # fmt: skip
    header = b"070701" + b"".join(b"%08X" % value for value in fields)
    return _padded(header + name) + _padded(entry.content)


def archive(entries: list[Entry]) -> bytes:
    """A gzipped archive, the same bytes for the same entries."""
    members = [_member(entry, number) for number, entry in enumerate([*entries, Entry(_TRAILER, 0)], 1)]
    return gzip.compress(b"".join(members), compresslevel=6, mtime=0)
