"""Owns patch sets: a folder of kernel-patches/ with its quilt series, its patches and its set.toml."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from testbed.errors import BuildError, UsageError, at, nearest
from testbed.kernels.patchfile import MAX_PATCH_BYTES, targets
from testbed.load import load_toml
from testbed.model import Value

MAX_SERIES_BYTES = 1 << 20
MAX_PATCHES = 8192
MAX_SET_BYTES = 64 << 20
SERIES = "series"
NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")


TransportKind = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
"""Whether there is one of that name is for those to say who know transports."""
Why = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300)]


class Idea(Value):
    """Whose idea a patch set plays out: person, date, and the mail's subject."""

    who: str
    date: str
    subject: str


class SetFile(Value):
    """A set.toml.

    `bases` are prefixes of base versions; `scenarios` are the playbooks that the set is for: in their
    cells its code should have run. `counters` say where the kernel shows that it did (file or MIB name
    -> meaning), and `standing` names those of them that are above 0 as soon as the set is in force, whether
    its code is needed or not: a level, a setting, what it was told. `expect` maps a playbook to the verdict
    somebody predicts: a hypothesis for the report, which the judge never sees. `counterfactual` says of
    transports why cells over them are none of the history that the set plays: for the report as well. A set
    that names `sets` is a composition: it stands for these, in this order, and has no patches of its own.
    """

    title: str = Field(min_length=1, max_length=200)
    license: str = "GPL-2.0-only"
    idea: tuple[Idea, ...] = Field(min_length=1)
    differs: str
    bases: tuple[str, ...] = Field(min_length=1)
    conflicts: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    standing: tuple[str, ...] = ()
    counters: dict[str, str] = Field(default_factory=dict)
    expect: dict[str, str] = Field(default_factory=dict)
    counterfactual: dict[TransportKind, Why] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _stands_among_the_counters(self) -> SetFile:
        for name in self.standing:
            if name not in self.counters:
                raise ValueError(f"standing: {name!r} is none of its counters")
        return self


@dataclass(frozen=True, slots=True)
class Patch:
    """One patch of a set: its name in the series, its file, its content's hash, and the files it touches."""

    name: str
    path: Path
    sha256: str
    touches: tuple[str, ...]

    def text(self) -> str:
        """The patch as it was hashed, any byte of it. Raises BuildError if the file has changed since."""
        return read_as_hashed(self.path, self.sha256)


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


def read_as_hashed(path: Path, sha256: str) -> str:
    """The text of a patch of that hash: what is built has to be what its kernel is named by."""
    content = _read(path, MAX_PATCH_BYTES)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise BuildError("has changed since the build began", hint="build again", where=str(path))
    return content.decode(errors="surrogateescape")


def parse_series(text: str, path: Path) -> dict[str, int]:
    """The patch names of a quilt series, in order, with their lines. Only `-p1` is known as an option."""
    names: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#", 1)[0].split() if not line.startswith("#") else []
        if not words:
            continue
        name, options = words[0], words[1:]
        if options not in ([], ["-p1"]):
            raise UsageError(
                f"unknown option {' '.join(options)!r}", hint="patches are -p1", where=at(path, number)
            )
        if not _stays_inside(name):
            raise UsageError(
                f"'{name}' is not a file of this folder",
                hint="patches lie beside the series or below it",
                where=at(path, number),
            )
        if name in names:
            raise UsageError(f"'{name}' stands here twice", where=at(path, number))
        names[name] = number
    if len(names) > MAX_PATCHES:
        raise UsageError(f"more than {MAX_PATCHES} patches", where=str(path))
    return names


def _stays_inside(name: str) -> bool:
    """Is it a relative path that goes down only?"""
    parts = name.split("/")
    return "\\" not in name and not any(part in ("", ".", "..") or part[0] == "-" for part in parts)


def _patch(folder: Path, name: str, where: str) -> Patch:
    path = folder / name
    if not path.is_file() or path.resolve() != folder.resolve() / name:  # a link somewhere on the way
        there = [str(file.relative_to(folder)) for file in folder.rglob("*.patch")]
        raise UsageError(f"no file '{name}' in the folder", hint=nearest(name, there), where=where)
    content = _read(path, MAX_PATCH_BYTES)
    touches = targets(content.decode(errors="replace"), path)
    return Patch(name, path, hashlib.sha256(content).hexdigest(), touches)


def read_series(series: Path) -> tuple[Patch, ...]:
    """The patches of a quilt series that lies beside them, or above."""
    names = parse_series(_read(series, MAX_SERIES_BYTES).decode(errors="replace"), series)
    patches, size = [], 0
    for name, line in names.items():
        patches.append(_patch(series.parent, name, at(series, line)))
        size += patches[-1].path.stat().st_size
        if size > MAX_SET_BYTES:
            raise UsageError(f"its patches are larger than {MAX_SET_BYTES} bytes", where=at(series, line))
    return tuple(patches)


def is_made_for(prefix: str, base: str) -> bool:
    """Does a base, as "6.12" or "6.12.3~0123456789ab", begin with this version, by whole numbers?"""
    version = base.partition("~")[0]
    return version == prefix or version.startswith((prefix.rstrip(".") + ".", prefix + "-"))


def is_for(about: SetFile, base: str) -> bool:
    """Is a set made for a base?"""
    return any(is_made_for(prefix, base) for prefix in about.bases)


def series_for(folder: Path, base: str) -> Path:
    """The series for a base: of `series-PREFIX` the longest prefix that fits, else `series`."""
    own = [path for path in folder.glob(f"{SERIES}-*") if is_made_for(path.name[len(SERIES) + 1 :], base)]
    return max(own, key=lambda path: len(path.name), default=folder / SERIES)


def about(name: str, root: Path) -> SetFile:
    """The set.toml of a set."""
    if not NAME.fullmatch(name) or not (root / name / "set.toml").is_file():
        raise UsageError(
            f"no patch set '{name}' in {root}", hint=nearest(name, (*known(root), "stock")), where=str(root)
        )
    return load_toml(root / name / "set.toml", SetFile)


def composition(sets: tuple[str, ...], root: Path) -> str | None:
    """The name of the composition that stands for these sets in this order, if there is one."""
    if not sets:
        return None
    return next((name for name in known(root) if about(name, root).sets == sets), None)


def load(name: str, root: Path, base: str = "") -> PatchSet:
    """Reads the set `name` under `root`, with its series for `base`. Every error names file, line and key."""
    said, folder = about(name, root), root / name
    if said.sets:
        if folder.joinpath(SERIES).exists():
            raise UsageError(
                "a composition has no series of its own", where=at(folder / "set.toml", key="sets")
            )
        return PatchSet(name, folder, said, ())
    return PatchSet(name, folder, said, read_series(series_for(folder, base)))


def content(sets: Sequence[PatchSet]) -> str:
    """A hash over the patches of sets, in their order: what was found of them is of these patches."""
    told = "\n".join(f"{patch.name} {patch.sha256}" for each in sets for patch in each.patches)
    return hashlib.sha256(told.encode()).hexdigest()


def check_together(sets: Sequence[PatchSet], base: str) -> None:
    """Refuses sets that do not go together, or not on this base."""
    for objection in objections(sets, base):
        raise objection


def objections(sets: Sequence[PatchSet], base: str) -> Iterator[UsageError]:
    """What their set.toml files say against these sets together, or on this base."""
    names = [each.name for each in sets]
    for each in {each.name: each for each in sets}.values():
        if names.count(each.name) > 1:
            yield UsageError(f"patch set '{each.name}' is named twice")
        for clash in sorted(set(each.about.conflicts) & set(names)):
            yield UsageError(
                f"'{each.name}' conflicts with '{clash}'",
                hint="run them as two kernels",
                where=at(each.folder / "set.toml", key="conflicts"),
            )
        if not is_for(each.about, base):
            yield UsageError(
                f"'{each.name}' is not made for base {base}",
                hint="made for: " + ", ".join(each.about.bases),
                where=at(each.folder / "set.toml", key="bases"),
            )
