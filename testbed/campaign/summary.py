"""Owns the table of a campaign: what repeats come to, which kernels differ, and whether the controls hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from testbed.campaign.comparison import Comparison, compare
from testbed.campaign.expectation import Cell
from testbed.campaign.observation import mixed, of_cell
from testbed.campaign.repeats import Repeats, repeats_of
from testbed.campaign.until_clear import Note, Stop, families_of

State = Literal["sound", "void", "unchecked"]
ControlState = Literal["held", "failed", "open"]


@dataclass(frozen=True, slots=True)
class Row:
    """Repeats of one cell: what they come to, and the cells themselves."""

    repeats: Repeats
    expect: str | None
    cells: tuple[Cell, ...]
    is_control: bool

    @property
    def kernel(self) -> str:
        return self.repeats.kernel

    @property
    def place(self) -> str:
        return self.repeats.place.words

    @property
    def confounders(self) -> tuple[str, ...]:
        """What in the kernel's configuration may have decided instead, of all its cells."""
        return tuple(dict.fromkeys(each for cell in self.cells for each in cell.confounders))

    @property
    def counterfactual(self) -> tuple[str, ...]:
        """Why its cells are none of the history that the kernel plays."""
        return tuple(dict.fromkeys(each for cell in self.cells for each in cell.counterfactual))

    @property
    def words(self) -> str:
        return self.repeats.words


@dataclass(frozen=True, slots=True)
class Control:
    """A cell whose outcome does not hang on the question: if it is wrong, so is the table."""

    row: Row
    state: ControlState
    statement: str


@dataclass(frozen=True, slots=True)
class Summary:
    """The table, and whether its controls carry it.

    `stops` say of what was played until clear how that ended, `cautions` what does not belong together.
    """

    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]
    stops: tuple[Stop, ...]
    cautions: tuple[str, ...]
    controls: tuple[Control, ...]
    state: State
    statement: str

    @property
    def counterfactual(self) -> tuple[str, ...]:
        """The reasons of all rows, each once."""
        return tuple(dict.fromkeys(each for row in self.rows for each in row.counterfactual))


def summarise(cells: Sequence[Cell], notes: Sequence[Note] = ()) -> Summary:
    """The table of all cells, repeats of one cell in one row; `notes` are those of their folder."""
    ordered = sorted(cells, key=lambda cell: (*_key(cell), cell.plan.labels.repeat, str(cell.folder)))
    rows = tuple(_row(tuple(group), notes) for _, group in groupby(ordered, key=_key))
    questions = [row.repeats for row in rows if not row.is_control]
    controls = tuple(_control(row) for row in rows if row.is_control)
    return Summary(
        rows,
        compare(questions, families_of(notes)),
        _stops(questions, notes),
        _cautions(questions),
        controls,
        *_state(controls),
    )


def state_of(cells: Sequence[Cell]) -> State:
    """What the controls among the cells say, without the numbers of a table."""
    ordered = sorted((cell for cell in cells if cell.is_control), key=_key)
    return _state_of([_control_state(tuple(group)) for _, group in groupby(ordered, key=_key)])


def _key(cell: Cell) -> tuple[bool, str, str, str, str, str, str]:
    labels = cell.plan.labels
    place = labels.playbook, labels.form, labels.variant, labels.transport, labels.nic, labels.kernel
    return cell.is_control, *place


def _row(cells: tuple[Cell, ...], notes: Sequence[Note]) -> Row:
    labels = cells[0].plan.labels
    always = any(note.covers(labels) for note in notes)
    repeats = repeats_of([of_cell(cell) for cell in cells], always=always)
    return Row(repeats, labels.expect, cells, cells[0].is_control)


def _stops(rows: Sequence[Repeats], notes: Sequence[Note]) -> tuple[Stop, ...]:
    found = []
    for note in notes:
        covered = [row for row in rows if note.covers(row.observations[0].labels)]
        if covered:
            found.append(note.stop(covered))
    return tuple(found)


def _cautions(rows: Sequence[Repeats]) -> tuple[str, ...]:
    return tuple(
        f"{place.words}: {caution}"
        for place, group in groupby(rows, key=lambda row: row.place)
        for caution in mixed([one for row in group for one in row.observations])
    )


def _control_state(cells: Sequence[Cell]) -> ControlState:
    results = [cell.met for cell in cells]
    return "failed" if "not met" in results else "held" if "met" in results else "open"


def _control(row: Row) -> Control:
    place = row.repeats.place
    name = f"{place.playbook}, variant '{place.variant}' on {row.kernel} (expected: {row.expect})"
    state = _control_state(row.cells)
    statement = {
        "failed": f"Failed: {name} came out as {row.words}.",
        "held": f"Held: {name}: {row.words}.",
        "open": f"Open: {name} was inconclusive.",
    }[state]
    return Control(row, state, statement)


def _state_of(states: Sequence[ControlState]) -> State:
    return "void" if "failed" in states else "sound" if states and "open" not in states else "unchecked"


def _state(controls: tuple[Control, ...]) -> tuple[State, str]:
    states = [control.state for control in controls]
    state = _state_of(states)
    if state == "void":
        failed = _count(states.count("failed"))
        return state, f"This table is void: {failed} failed, so the testbed can not be trusted here."
    if state == "sound":
        return state, f"The controls held ({len(controls)} of {len(controls)})."
    if controls:
        still_open = _count(states.count("open"))
        return state, f"This table is not backed yet: {still_open} decided nothing."
    return state, "This table is not backed: no control was run beside it."


def _count(number: int) -> str:
    return "one control" if number == 1 else f"{number} controls"
