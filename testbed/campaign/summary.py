"""Owns the table of a campaign: proportions with their intervals, times to recover, and the controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from testbed.campaign.expectation import Cell
from testbed.judge.values import OUTCOMES
from testbed.model import Outcome
from testbed.units import show_seconds

CONFIDENCE = 0.95

State = Literal["sound", "void", "unchecked"]
ControlState = Literal["held", "failed", "open"]


@dataclass(frozen=True, slots=True)
class Proportion:
    """`count` of `of` cells, with the Wilson interval at 95 %."""

    outcome: Outcome
    count: int
    of: int
    low: float
    high: float

    @property
    def words(self) -> str:
        return f"{self.outcome} {self.share} at {CONFIDENCE * 100:.0f} %"

    @property
    def share(self) -> str:
        """`5 of 5; 57-100 %`."""
        return f"{self.count} of {self.of}; {self.low * 100:.0f}\N{EN DASH}{self.high * 100:.0f} %"


@dataclass(frozen=True, slots=True)
class Times:
    """Times to recover of the cells that recovered; `censored` more did not within `bound_s`.

    The median is Kaplan and Meier's, None where half of the cells never got there.
    """

    median_s: float | None
    seen_s: tuple[float, ...]
    censored: int
    bound_s: float

    @property
    def words(self) -> str:
        if not self.seen_s and not self.censored:
            return "\N{EM DASH}"
        not_within = (
            f"{self.censored} of {len(self.seen_s) + self.censored} not within {show_seconds(self.bound_s)}"
        )
        if self.median_s is None:
            return f"no median: {not_within}"
        median = f"median {show_seconds(round(self.median_s, 1))}"
        if len(self.seen_s) > 1:
            low, high = (show_seconds(round(value, 1)) for value in (min(self.seen_s), max(self.seen_s)))
            median += f" ({low} to {high})"
        return f"{median}; {not_within}" if self.censored else median


@dataclass(frozen=True, slots=True)
class Row:
    """Repeats of one cell. `conclusive` are those that count; the other cells decide nothing."""

    playbook: str
    form: str
    variant: str
    transport: str
    nic: str
    kernel: str
    expect: str | None
    cells: tuple[Cell, ...]
    conclusive: int
    proportions: tuple[Proportion, ...]
    times: Times
    is_control: bool

    @property
    def place(self) -> str:
        """What the repeats have in common, but for the kernel: playbook, form, variant, transport and NIC."""
        parts = (self.playbook, self.form, self.variant, self.transport, self.nic)
        return " \N{MIDDLE DOT} ".join(part for part in parts if part)

    @property
    def confounders(self) -> tuple[str, ...]:
        """What in the kernel's configuration may have decided instead, of all its cells."""
        return tuple(dict.fromkeys(each for cell in self.cells for each in cell.confounders))

    @property
    def inconclusive(self) -> int:
        return len(self.cells) - self.conclusive

    @property
    def words(self) -> str:
        """`recovered 5 of 5; 57-100 % at 95 %`, every outcome that was seen, and what does not count."""
        told = [proportion.words for proportion in self.proportions]
        if self.inconclusive:
            told.append(f"{self.inconclusive} inconclusive, not counted")
        return " \N{MIDDLE DOT} ".join(told) or "no cell"


@dataclass(frozen=True, slots=True)
class Control:
    """A cell whose outcome does not hang on the question: if it is wrong, so is the table."""

    row: Row
    state: ControlState
    statement: str


@dataclass(frozen=True, slots=True)
class Summary:
    """The table, and whether its controls carry it."""

    rows: tuple[Row, ...]
    controls: tuple[Control, ...]
    state: State
    statement: str


def wilson(count: int, of: int) -> tuple[float, float]:
    """Wilson's interval of a proportion, at 95 %."""
    from scipy.stats import binomtest  # a second to import: only where a table is made

    interval = binomtest(count, of).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def median_time(seen_s: Sequence[float], censored_s: Sequence[float]) -> float | None:
    """Kaplan and Meier's median: the first time by which half have recovered; None if half never did."""
    if not seen_s:
        return None
    from scipy.stats import CensoredData, ecdf

    survival = ecdf(CensoredData(uncensored=list(seen_s), right=list(censored_s))).sf
    pairs = zip(survival.quantiles, survival.probabilities, strict=True)
    return next((float(t) for t, left in pairs if left <= 0.5 + 1e-9), None)


def summarise(cells: Sequence[Cell]) -> Summary:
    """The table of all cells, repeats of one cell in one row."""
    ordered = sorted(cells, key=lambda cell: (*_key(cell), cell.plan.labels.repeat, str(cell.folder)))
    rows = tuple(_row(tuple(group)) for _, group in groupby(ordered, key=_key))
    controls = tuple(_control(row) for row in rows if row.is_control)
    return Summary(rows, controls, *_state(controls))


def _key(cell: Cell) -> tuple[bool, str, str, str, str, str, str]:
    labels = cell.plan.labels
    place = labels.playbook, labels.form, labels.variant, labels.transport, labels.nic, labels.kernel
    return cell.is_control, *place


def _row(cells: tuple[Cell, ...]) -> Row:
    labels = cells[0].plan.labels
    counted = [cell.verdict for cell in cells if cell.verdict.outcome != "inconclusive"]
    proportions = []
    for outcome in OUTCOMES:
        count = sum(verdict.outcome == outcome for verdict in counted)
        if count:
            proportions.append(Proportion(outcome, count, len(counted), *wilson(count, len(counted))))
    seen = tuple(v.time_to_recover_s for v in counted if v.time_to_recover_s is not None)
    censored = [v.observed_s or v.bound_s for v in counted if v.censored]
    bound_s = max((verdict.bound_s for verdict in counted), default=0.0)
    return Row(
        playbook=labels.playbook,
        form=labels.form,
        variant=labels.variant,
        transport=labels.transport,
        nic=labels.nic,
        kernel=labels.kernel,
        expect=labels.expect,
        cells=cells,
        conclusive=len(counted),
        proportions=tuple(proportions),
        times=Times(median_time(seen, censored), seen, len(censored), bound_s),
        is_control=cells[0].is_control,
    )


def _control(row: Row) -> Control:
    name = f"{row.playbook}, variant '{row.variant}' on {row.kernel} (expected: {row.expect})"
    results = [cell.met for cell in row.cells]
    if "not met" in results:
        return Control(row, "failed", f"Failed: {name} came out as {row.words}.")
    if "met" in results:
        return Control(row, "held", f"Held: {name}: {row.words}.")
    return Control(row, "open", f"Open: {name} was inconclusive.")


def _state(controls: tuple[Control, ...]) -> tuple[State, str]:
    failed = [control for control in controls if control.state == "failed"]
    if failed:
        return (
            "void",
            f"This table is void: {_count(len(failed))} failed, so the testbed can not be trusted here.",
        )
    still_open = [control for control in controls if control.state == "open"]
    if still_open:
        return "unchecked", f"This table is not backed yet: {_count(len(still_open))} decided nothing."
    if not controls:
        return "unchecked", "This table is not backed: no control was run beside it."
    return "sound", f"The controls held ({len(controls)} of {len(controls)})."


def _count(number: int) -> str:
    return "one control" if number == 1 else f"{number} controls"
