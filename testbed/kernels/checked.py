"""Owns what checks of patch sets found, as files that are kept: one for each set and base."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from testbed import store
from testbed.errors import UsageError
from testbed.kernels.checking import STEPS, Check
from testbed.model import Value

MOST_BYTES = 1 << 20
Checks = Mapping[tuple[str, str], "Checked"]


class Checked(Value):
    """What was found of a set on one base, on a day (UTC).

    `content` is the hash of the patches that were looked at (patchset.content); of others it says nothing.
    `source` is what they were applied to, as "linux-source-6.1 6.1.192-2".
    """

    name: str
    base: str
    content: str
    source: str
    day: str
    checks: tuple[Check, ...]

    def of(self, step: str) -> Check | None:
        return next((check for check in self.checks if check.step == step), None)


def keep(folder: Path, found: Checked) -> Path:
    """Writes it; steps that were not reached this time stay as they were found, if nothing else changed."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{found.name}@{found.base}.json"
    before = _read(path) if path.exists() else None
    if before is not None and (before.content, before.source) == (found.content, found.source):
        steps = [found.of(step) or before.of(step) for step in STEPS]
        found = found.model_copy(update={"checks": tuple(step for step in steps if step is not None)})
    store.write_json(path, found.model_dump(mode="json"))
    return path


def kept(folder: Path) -> Checks:
    """All that a folder has, by set and base; none if there is no folder. Raises UsageError."""
    found = [_read(path) for path in sorted(folder.glob("*@*.json"))]
    return {(one.name, one.base): one for one in found}


def _read(path: Path) -> Checked:
    try:
        with path.open("rb") as file:
            return Checked.model_validate_json(file.read(MOST_BYTES))
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except ValidationError as error:
        hint = "testbed patches check --keep writes such"
        what = f"is no check of a patch set: {error.errors()[0]['msg']}"
        raise UsageError(what, hint=hint, where=str(path)) from error
