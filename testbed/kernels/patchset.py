"""Owns patch sets: a folder of kernel-patches/ with its quilt series, its patches and its set.toml."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from testbed.errors import UsageError, at, nearest
from testbed.kernels.patchfile import MAX_PATCH_BYTES, targets
from testbed.load import load_toml
from testbed.model import Value

MAX_SERIES_BYTES = 64 << 10
MAX_PATCHES = 256
NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")


class Idea(Value):
    """Whose idea a patch set plays out: person, date, and the mail's subject."""

    who: str
    date: str
    subject: str


class SetFile(Value):
    """A set.toml.

    `bases` are prefixes of base versions; `counters` say where the kernel shows that the set's code
    ran (file or MIB name -> meaning); `expect` maps a playbook (or `default`) to the verdict somebody
    predicts: a hypothesis for the report, which the judge never sees.
    """

    title: str = Field(min_length=1, max_length=200)
    license: str = "GPL-2.0-only"
    idea: tuple[Idea, ...] = Field(min_length=1)
    differs: str
    bases: tuple[str, ...] = Field(min_length=1)
    conflicts: tuple[str, ...] = ()
    counters: dict[str, str] = Field(default_factory=dict)
    expect: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Patch:
    """One patch of a set: its file, its content's hash, and the files of the tree it touches."""

    path: Path
    sha256: str
    touches: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PatchSet:
    """A set as read from its folder."""

    name: str
    folder: Path
    about: SetFile
    patches: tuple[Patch, ...]


def known(root: Path) -> tuple[str, ...]:
    """The names of the sets under `root`."""
    return tuple(sorted(path.parent.name for path in root.glob("*/set.toml")))


def _read(path: Path, limit: int) -> bytes:
    try:
        if path.stat().st_size > limit:
            raise UsageError(f"is larger than {limit} bytes", where=str(path))
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=str(path)) from error


def parse_series(text: str, path: Path) -> tuple[str, ...]:
    """The patch names of a quilt series, in order. Only `-p1` is known as an option."""
    names: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#", 1)[0].split() if not line.startswith("#") else []
        if not words:
            continue
        name, options = words[0], words[1:]
        if options not in ([], ["-p1"]):
            raise UsageError(
                f"unknown option {' '.join(options)!r}", hint="patches are -p1", where=at(path, number)
            )
        if "/" in name or name in (".", "..") or "\\" in name or name.startswith("-"):
            raise UsageError(
                f"'{name}' is not a file of this folder",
                hint="patches lie beside the series",
                where=at(path, number),
            )
        if name in names:
            raise UsageError(f"'{name}' stands here twice", where=at(path, number))
        names.append(name)
    if len(names) > MAX_PATCHES:
        raise UsageError(f"more than {MAX_PATCHES} patches", where=str(path))
    return tuple(names)


def _patch(folder: Path, name: str, series: Path) -> Patch:
    path = folder / name
    if path.is_symlink() or not path.is_file():
        beside = [file.name for file in folder.glob("*.patch")]
        raise UsageError(f"no file '{name}' in the folder", hint=nearest(name, beside), where=str(series))
    content = _read(path, MAX_PATCH_BYTES)
    return Patch(path, hashlib.sha256(content).hexdigest(), targets(content.decode(errors="replace"), path))


def load(name: str, root: Path) -> PatchSet:
    """Reads the set `name` under `root`. Every error names file, line and key."""
    if not NAME.fullmatch(name) or not (root / name / "set.toml").is_file():
        raise UsageError(
            f"no patch set '{name}' in {root}", hint=nearest(name, (*known(root), "stock")), where=str(root)
        )
    folder = root / name
    about = load_toml(folder / "set.toml", SetFile)
    series = folder / "series"
    names = parse_series(_read(series, MAX_SERIES_BYTES).decode(errors="replace"), series)
    return PatchSet(name, folder, about, tuple(_patch(folder, entry, series) for entry in names))


def check_together(sets: Sequence[PatchSet], base: str) -> None:
    """Refuses sets that do not go together, or not on this base."""
    names = [each.name for each in sets]
    for each in sets:
        if names.count(each.name) > 1:
            raise UsageError(f"patch set '{each.name}' is named twice")
        clash = sorted(set(each.about.conflicts) & set(names))
        if clash:
            raise UsageError(
                f"'{each.name}' conflicts with '{clash[0]}'",
                hint="run them as two kernels",
                where=at(each.folder / "set.toml", key="conflicts"),
            )
        if not any(
            base == prefix or base.startswith(prefix.rstrip(".") + ".") for prefix in each.about.bases
        ):
            raise UsageError(
                f"'{each.name}' is not made for base {base}",
                hint="made for: " + ", ".join(each.about.bases),
                where=at(each.folder / "set.toml", key="bases"),
            )
