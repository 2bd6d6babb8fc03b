"""Owns what was kept of many cells: the result folders of campaigns, or the summaries that were committed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from testbed import store
from testbed.campaign.counted import counted
from testbed.campaign.expectation import Cell, confounders_of
from testbed.campaign.observation import Observation, digest, observed, of_cell
from testbed.campaign.until_clear import Note, read_notes
from testbed.errors import UsageError
from testbed.judge.values import UnderOutcome, read_verdict
from testbed.model import Labels, Outcome, Plan

MOST_SUMMARY_BYTES = 1 << 20
MOST_CELLS = 10_000


@dataclass(frozen=True, slots=True)
class Found:
    """A cell and where it is kept, as a summary or itself; `history` is the hash of what was recorded.

    `counters` are those of patch sets at the last look, None where nobody looked or they were not kept.
    """

    observation: Observation
    path: Path
    history: str
    counters: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Collected:
    """Cells of many folders, and the notes of what was played until clear."""

    cells: tuple[Found, ...] = ()
    notes: tuple[Note, ...] = ()

    @property
    def observations(self) -> tuple[Observation, ...]:
        return tuple(cell.observation for cell in self.cells)


class _Under(BaseModel):
    """What is read of the first of two judgements."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    outcome: UnderOutcome


class _Says(BaseModel):
    """What is read of a finding."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    says: str


class _Judged(BaseModel):
    """What is read of a summary's verdict."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    judge_version: int = 1
    outcome: Outcome
    time_to_recover_s: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    observed_s: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    bound_s: float = Field(ge=0, allow_inf_nan=False)
    measures: dict[str, float] = {}
    under: _Under | None = None
    findings: tuple[_Says, ...] = ()


class _Summary(BaseModel):
    """What is read of a summary (campaign/export.py writes it)."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    folder: str
    labels: Labels
    verdict: _Judged
    rules: dict[str, Any]
    inputs: dict[str, str]
    until_clear: Note | None = None
    surroundings: dict[str, Any] = {}
    sha256: dict[str, str] = {}
    counters: dict[str, int] | None = None

    @property
    def requires(self) -> tuple[str, ...]:
        """The preconditions among its rules."""
        return self._listed("requires")

    @property
    def ends_too(self) -> tuple[str, ...]:
        """The jobs of other machines among them whose end was part of the proof."""
        return self._listed("ends_too")

    def _listed(self, rule: str) -> tuple[str, ...]:
        """None where nothing readable is said of it."""
        found = self.rules.get(rule)
        return tuple(str(each) for each in found) if isinstance(found, list) else ()


def read(folder: Path) -> Collected:
    """All judged cells of a campaign's folder, of a folder of campaigns, or of a folder of summaries.

    Of what sets had counted nothing is read.
    Raises UsageError if there is none, or one that this version does not read.
    """
    if (folder / store.VERDICT).exists():
        raise UsageError("is a single cell", where=str(folder), hint="name the folder that it lies in")
    finished = store.result_folders(folder)
    summaries = [] if finished else sorted(folder.glob("*.json"))
    if not finished and not summaries:
        finished = store.result_folders(folder, "*/*")
    if not finished and not summaries:
        raise UsageError(
            "holds no judged cell and no summary",
            where=str(folder),
            hint="as in: testbed compare results/flood-short, or results/summaries",
        )
    _bounded(folder, len(finished) + len(summaries))
    if finished:
        cells = tuple(_found(path, store.read_plan(path)) for path in finished)
        parents = sorted({path.parent for path in finished})
        return together(Collected(cells, tuple(note for parent in parents for note in read_notes(parent))))
    return together(_told(summaries))


def summaries_below(root: Path) -> Collected:
    """All summaries in a folder and below it; not the corpus, which was chosen by its outcomes."""
    paths = [path for path in sorted(root.rglob("*.json")) if not (path.parent / store.PLAN).exists()]
    _bounded(root, len(paths))
    return _told(paths)


def campaigns(folders: Iterable[Path]) -> Collected:
    """All judged cells of campaigns' folders; one that is not there has none."""
    cells: list[Found] = []
    notes: list[Note] = []
    for folder in folders:
        paths = store.result_folders(folder)
        _bounded(folder, len(paths))
        for path in paths:
            plan = store.read_plan(path)
            cells.append(_found(path, plan, counted(plan, store.read_snapshots(path)[0])))
        notes += read_notes(folder)
    return Collected(tuple(cells), tuple(notes))


def together(*parts: Collected) -> Collected:
    """A cell that was kept twice, as itself and as its summary, is one: what comes first stays.

    Its name alone does not tell: the first repeats of two campaigns have one name, and are two cells.
    """
    by_identity: dict[tuple[str, str], Found] = {}
    for one in (cell for part in parts for cell in part.cells):
        by_identity.setdefault((one.observation.name, one.history), one)
    cells = sorted(by_identity.values(), key=lambda one: (one.observation.name, str(one.path)))
    return Collected(tuple(cells), tuple(dict.fromkeys(note for part in parts for note in part.notes)))


def _found(path: Path, plan: Plan, counters: Mapping[str, int] | None = None) -> Found:
    return Found(of_cell(Cell(path, plan, read_verdict(path))), path, _history(path), counters)


def _told(paths: Iterable[Path]) -> Collected:
    told = [(path, _summary(path)) for path in paths]
    cells = [
        Found(_of_summary(one), path, one.sha256.get(store.HISTORY, ""), one.counters) for path, one in told
    ]
    return Collected(tuple(cells), tuple(one.until_clear for _, one in told if one.until_clear))


def _bounded(folder: Path, count: int) -> None:
    if count > MOST_CELLS:
        raise UsageError(f"holds over {MOST_CELLS} cells", where=str(folder), hint="name a campaign of it")


def _history(folder: Path) -> str:
    try:
        with (folder / store.HISTORY).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError("no history: is this a result folder?", where=str(folder)) from error


def _summary(path: Path) -> _Summary:
    """Raises UsageError if `path` is no summary that this version reads."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_SUMMARY_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=str(path)) from error
    if len(data) > MOST_SUMMARY_BYTES:
        raise UsageError("is too large for a summary", where=str(path), hint="testbed export writes such")
    try:
        return _Summary.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise UsageError(
            f"not a summary that this version reads: {key}: {first['msg']}",
            where=str(path),
            hint="testbed export writes such",
        ) from error


def _of_summary(told: _Summary) -> Observation:
    return observed(
        told.folder,
        told.labels,
        told.verdict,
        inputs={**told.inputs, "rules": digest(told.rules)},
        confounders=confounders_of(told.surroundings, "under-test"),
        requires=told.requires,
        ends_too=told.ends_too,
    )
