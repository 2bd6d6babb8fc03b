"""Owns the result folder of a cell: its file names, how they are written, what the judge may read."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from testbed import history
from testbed.errors import TestbedFault, UsageError
from testbed.model import Judging, Plan
from testbed.snapshot import Snapshot

PLAN = "plan.json"
HISTORY = "history.jsonl"
ENVIRONMENT = "environment.json"
VERDICT = "verdict.json"
REPORT = "report.html"
UNFINISHED = ".unfinished-"
"""In the name of a folder whose cell was cut short: it is kept, and is none of its campaign's."""
MAX_SNAPSHOTS = 16
MAX_SNAPSHOT_BYTES = 8 << 20
MAX_CONSOLE_BYTES = 64 << 20


def result_folders(folder: Path, below: str = "*", having: str = VERDICT) -> list[Path]:
    """The folders of cells below `folder` that have such a file and were not cut short, in a stable order."""
    found = (path.parent for path in sorted(folder.glob(f"{below}/{having}")))
    return [path for path in found if UNFINISHED not in path.name]


def console_name(machine: str) -> str:
    return f"console-{machine}.log"


def snapshot_name(number: int) -> str:
    return f"snapshot-{number:02d}.json"


def dump_name(number: int) -> str:
    """A memory dump, ELF; compressed, `.gz` follows."""
    return f"dump-{number:02d}.elf"


def write_snapshot(folder: Path, snapshot: Snapshot) -> None:
    write_atomically(folder / snapshot_name(snapshot.number), snapshot.model_dump_json().encode())


def write_atomically(path: Path, data: bytes) -> None:
    """Writes beside `path` and renames: a reader sees the old file or the new one, never half."""
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise TestbedFault(
            f"cannot write: {error.strerror}",
            where=str(path),
            hint="free some disk space; what was saved before is kept",
        ) from error


def write_json(path: Path, value: Any) -> None:
    write_atomically(path, json.dumps(value, indent=1, sort_keys=True).encode() + b"\n")


def write_plan(folder: Path, plan: Plan) -> None:
    """Makes the result folder and puts the plan into it, before anything boots."""
    folder.mkdir(parents=True)
    write_json(folder / PLAN, plan.model_dump(mode="json"))


def read_plan(folder: Path) -> Plan:
    with _a_plan(folder):
        return Plan.model_validate(_read_json(folder / PLAN))


@contextmanager
def _a_plan(folder: Path) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValidationError) as error:
        raise UsageError("not a plan that this version reads", where=str(folder / PLAN)) from error


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise UsageError("no such file: is this a result folder?", where=str(path)) from error
    except ValueError as error:
        raise UsageError(f"not JSON: {error}", where=str(path)) from error


def read_environment(folder: Path) -> dict[str, Any]:
    """What was recorded of the surroundings; empty if that is missing or damaged: no verdict rests on it."""
    try:
        found = json.loads((folder / ENVIRONMENT).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the judge sees: its rules, the history, the consoles by machine, snapshots. No labels."""

    judging: Judging
    history: history.History
    consoles: dict[str, bytes]
    snapshots: tuple[Snapshot, ...] = ()
    damaged_snapshots: int = 0


def read_evidence(folder: Path) -> Evidence:
    """Reads a result folder for the judge, leaving every label behind."""
    with _a_plan(folder):
        rules = Judging.model_validate(_read_json(folder / PLAN)["judging"])
    consoles = {}
    for path in sorted(folder.glob("console-*.log")):
        with path.open("rb") as file:
            consoles[path.stem.removeprefix("console-")] = file.read(MAX_CONSOLE_BYTES)
    snapshots, damaged = read_snapshots(folder)
    try:
        return Evidence(rules, history.read(folder / HISTORY), consoles, snapshots, damaged)
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=str(folder / HISTORY)) from error


def read_snapshots(folder: Path) -> tuple[tuple[Snapshot, ...], int]:
    """The snapshots in order of time, and how many could not be read: one that is damaged is left out."""
    found, damaged = [], 0
    for path in sorted(folder.glob("snapshot-*.json"))[:MAX_SNAPSHOTS]:
        with path.open("rb") as file:
            data = file.read(MAX_SNAPSHOT_BYTES)
        try:
            found.append(Snapshot.model_validate_json(data))
        except ValidationError:
            damaged += 1
    return tuple(sorted(found, key=lambda snapshot: snapshot.taken_ns)), damaged
