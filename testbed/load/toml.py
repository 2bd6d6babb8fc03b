"""Owns the way from a TOML file to a model: bounded reading, validation, and errors with their place."""

from __future__ import annotations

import hashlib
import json
import re
import stat
import tomllib
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, PrivateAttr, ValidationError
from pydantic_core import ErrorDetails

from testbed.errors import UsageError, at, nearest
from testbed.load.positions import positions
from testbed.model import Value
from testbed.paths import PROJECT

TOPOLOGIES = PROJECT / "topologies"
PLAYBOOKS = PROJECT / "playbooks"
CLAIMS = PROJECT / "claims.toml"
MAX_TOML_BYTES = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")

M = TypeVar("M", bound=BaseModel)
KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Source:
    """A TOML file as read: its tree, and the line of every key.

    `moved` says of parts of the tree where in the file they really stand.
    """

    path: Path
    tree: Mapping[str, Any]
    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    moved: Mapping[KeyPath, KeyPath] = field(default_factory=dict)

    def where(self, *key: str | int) -> str:
        """`file:line: key`, the line being that of the nearest table if the key is not there."""
        return at(shown(self.path), self.lines.get(self.known(key)), spell(self._real(key)))

    def known(self, key: KeyPath) -> KeyPath:
        """As much of a key's path as there is in the file."""
        real = self._real(key)
        return next((real[:count] for count in range(len(real), 0, -1) if real[:count] in self.lines), ())

    def _real(self, key: KeyPath) -> KeyPath:
        for count in range(len(key), 0, -1):
            if key[:count] in self.moved:
                return (*self.moved[key[:count]], *key[count:])
        return key

    @property
    def digest(self) -> str:
        """Hash of what the file says; its comments and its layout do not count."""
        text = json.dumps(self.tree, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


class Configuration(Value):
    """Base of the models of whole files: each knows where it was read."""

    _source: Source | None = PrivateAttr(default=None)

    @property
    def source_file(self) -> Source:
        return self._source or Source(Path("-"), {})

    def where(self, *key: str | int) -> str:
        """`file:line: key`, for errors found after loading."""
        return self.source_file.where(*key)


def spell(key: KeyPath) -> str:
    """`("timeline", 2, "at")` -> `timeline[2].at`."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in key]
    return "".join(parts).removeprefix(".")


def shown(path: Path) -> Path:
    """The path as short as it can be said from here."""
    try:
        return _seen_from(path, Path.cwd())
    except OSError:
        return path


@lru_cache(maxsize=256)
def _seen_from(path: Path, folder: Path) -> Path:
    whole = folder / path
    return whole.relative_to(folder) if whole.is_relative_to(folder) else path


def names(folder: Path) -> tuple[str, ...]:
    """What a folder of TOML files offers."""
    return tuple(sorted(path.stem for path in folder.glob("*.toml")))


def find_file(name: str, folder: Path, *, where: str = "", only_names: bool = False) -> Path:
    """The file called `name` in `folder`, or the path that `name` is; `only_names` refuses paths.

    Raises UsageError with the nearest name. A link that leads out of the folder is refused.
    """
    if not only_names and ("/" in name or name.endswith(".toml")):
        return Path(name)
    path = folder / f"{name}.toml"
    if not _NAME.fullmatch(name) or not path.is_file():
        plural = folder.name
        kind = f"{plural[:-3]}y" if plural.endswith("ies") else plural.removesuffix("s")
        raise UsageError(f"no {kind} '{name}'", hint=nearest(name, names(folder)), where=where)
    if folder.resolve() not in path.resolve().parents:
        raise UsageError(f"'{path.name}' leads out of {shown(folder)}", where=where)
    return path


def load_toml(path: Path, model: type[M]) -> M:
    """Reads `path` into `model`. Raises UsageError that names file, line, key and the nearest right key."""
    return validate(read_toml(path), model)


def read_toml(path: Path) -> Source:
    """Reads a regular file of at most MAX_TOML_BYTES. Raises UsageError with file and line."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UsageError("is not a file", where=str(shown(path)))
        with path.open("rb") as file:
            content = file.read(MAX_TOML_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot be read: {why}", where=str(shown(path))) from error
    if len(content) > MAX_TOML_BYTES:
        raise UsageError(f"is larger than {MAX_TOML_BYTES} bytes", where=str(shown(path)))
    try:
        text = content.decode()
        return Source(path, *_parsed(text))
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UsageError("is not UTF-8", where=at(shown(path), line)) from error
    except RecursionError as error:
        raise UsageError("is nested too deeply", where=str(shown(path))) from error
    except tomllib.TOMLDecodeError as error:
        found = re.search(r" \(at line (\d+), column \d+\)", str(error))
        line = int(found[1]) if found else content.count(b"\n") + 1
        said = str(error).replace(found[0], "") if found else str(error)
        raise UsageError(f"is not TOML: {said}", where=at(shown(path), line)) from error


# Kept, since a table of claims asks for the same playbook many times. Nobody writes into a file's tree.
@lru_cache(maxsize=32)
def _parsed(text: str) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    return tomllib.loads(text), positions(text)


def validate(
    source: Source,
    model: type[M],
    tree: Mapping[str, Any] | None = None,
    *,
    below: KeyPath = (),
    also: tuple[str, ...] = (),
) -> M:
    """Makes a model of a file's tree, or of the part `tree` that stands at `below` in it.

    `also` are keys that stand in the same table and that somebody else reads: right names for hints.
    """
    try:
        value = model.model_validate(source.tree if tree is None else tree)
    except ValidationError as error:
        raise _usage_error(source, model, error.errors(), below, also) from error
    if isinstance(value, Configuration):
        value._source = source
    return value


def _usage_error(
    source: Source, model: type[BaseModel], errors: list[ErrorDetails], below: KeyPath, also: tuple[str, ...]
) -> UsageError:
    # A misspelt key is the cause of the one that is missing, so it is told first.
    first = next((each for each in errors if each["type"] == "extra_forbidden"), errors[0])
    key = (*below, *(part for part in first["loc"] if part != "[key]"))
    if first["type"] != "missing":
        key = source.known(key)
    hint = ""
    message = first["msg"]
    if first["type"] == "extra_forbidden":
        message = "unknown key"
        known = keys_at(model, first["loc"][:-1]) + (also if len(first["loc"]) == 1 else ())
        hint = nearest(str(first["loc"][-1]), known)
    elif first["type"] == "missing":
        message = "is missing"
    elif first["type"] == "literal_error":
        message = f"{first['input']!r} is none of {first['ctx']['expected']}"
        hint = nearest(str(first["input"]), re.findall(r"'([^']*)'", first["ctx"]["expected"]))
    elif first["type"] == "value_error":
        message = message.removeprefix("Value error, ")
    elif first["loc"] and first["loc"][-1] == "[key]":
        message = f"'{first['loc'][-2]}' is not a name that can stand here: {message}"
    if len(errors) > 1:
        message += f" (and {len(errors) - 1} more)"
    return UsageError(message, hint=hint, where=source.where(*key))


def keys_at(model: type[BaseModel], location: KeyPath) -> tuple[str, ...]:
    """The keys that may stand in the table at `location` below `model`."""
    current: Any = model
    for part in location:
        current = _step(current, part)
    found = _model_in(current)
    if found is None:
        return ()
    return tuple(info.alias or name for name, info in found.model_fields.items())


def _step(current: Any, part: str | int) -> Any:
    found = _model_in(current)
    if found is not None:
        by_key = {info.alias or name: info.annotation for name, info in found.model_fields.items()}
        return by_key.get(str(part))
    for option in _options(current):
        if get_origin(option) in (dict, tuple, list):
            inner = [argument for argument in get_args(option) if argument is not Ellipsis]
            return inner[-1] if inner else None
    return None


def _options(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) in (Union, types.UnionType):
        return get_args(annotation)
    return (annotation,)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    for option in _options(annotation):
        if isinstance(option, type) and issubclass(option, BaseModel):
            return option
    return None
