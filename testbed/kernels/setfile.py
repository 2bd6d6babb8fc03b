"""Owns reading set.toml: a TOML file into its model, errors with file, line and key."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from testbed.errors import UsageError, at, nearest

MAX_TOML_BYTES = 64 << 10
Model = TypeVar("Model", bound=BaseModel)


def _line(text: str, location: tuple[str | int, ...]) -> int | None:
    """Where a key stands: its last name at the start of a line, or as a table."""
    for name in reversed([part for part in location if isinstance(part, str)]):
        shape = re.compile(rf"\s*(?:\[+\s*)?\"?{re.escape(name)}\"?\s*(?:=|\])")
        for number, line in enumerate(text.splitlines(), 1):
            if shape.match(line):
                return number
    return None


def load_toml(path: Path, model: type[Model]) -> Model:
    """Reads `path` into `model`. Raises UsageError that names file, line, key and the nearest right key."""
    try:
        content = path.read_bytes()
        if len(content) > MAX_TOML_BYTES:
            raise UsageError(f"is larger than {MAX_TOML_BYTES} bytes", where=str(path))
        text = content.decode()
        return model.model_validate(tomllib.loads(text))
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        found = re.search(r"at line (\d+)", str(error))
        raise UsageError(f"is not TOML: {error}", where=at(path, int(found[1]) if found else None)) from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        hint = ""
        if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
            hint = nearest(str(first["loc"][-1]), model.model_fields)
        message = "unknown key" if first["type"] == "extra_forbidden" else first["msg"]
        raise UsageError(message, hint=hint, where=at(path, _line(text, first["loc"]), key)) from error
