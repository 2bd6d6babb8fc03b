"""Owns what the judge says: outcomes, findings, preconditions, the verdict, and how it is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from pydantic import Field, ValidationError

from testbed import store
from testbed.errors import UsageError
from testbed.model import Outcome, Value
from testbed.waitfor import Examination

JUDGE_VERSION = 15

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

Says = Literal[
    "corrupt",
    "crashed",
    "broken",
    "io-error",
    "oom-killed",
    "fragmented",
    "unknown",
    "doubt",
    "deadlocked",
    "network-down",
    "contended",
    "server-down",
    "orphaned",
    "livelocked",
    "starved",
    "stalled",
    "slow",
    "recovered",
    "note",
]
"""What a finding argues for: an outcome, or

- `broken`: the run did not come to its end (a fault of the testbed, an interruption);
- `unknown`: a detector failed; `doubt`: the evidence does not carry a verdict;
- `orphaned`: requests that the device's driver will never end: an I/O error that it keeps to itself;
- `contended`: the host was too busy for a verdict that says slow or dead;
- `note`: worth knowing, decides nothing.
"""


class ConsoleLine(Value):
    """A kernel line that matters. `number` counts from 1; `at_s` is None if no sample tells."""

    machine: str
    number: int
    kind: str
    text: str
    at_s: float | None


class Finding(Value):
    """One statement of one detector, with the numbers and console lines that carry it.

    Times are seconds since the timeline began, as everywhere in a verdict.
    """

    detector: str
    says: Says
    statement: str
    from_s: float | None = None
    to_s: float | None = None
    numbers: dict[str, float] = Field(default_factory=dict)
    lines: tuple[ConsoleLine, ...] = ()


class Precondition(Value):
    """Something that must have been so before the heal for the cell to count."""

    name: str
    met: bool
    statement: str
    numbers: dict[str, float] = Field(default_factory=dict)


UnderOutcome = Literal["went on", "slow", "stood still", "in doubt"]
"""`in doubt`: slow, or still, beside a host that was too busy to tell."""


class Under(Value):
    """How it went from the heal on under `loads`, which were stopped only `observed_s` later.

    `time_to_recover_s` runs from the heal to the first progress that went on under them, if there was one.
    """

    loads: tuple[str, ...]
    outcome: UnderOutcome
    observed_s: float
    time_to_recover_s: float | None
    rate: float | None


class Verdict(Value):
    """What the evidence says of one cell.

    `time_to_recover_s` runs from the heal to the first progress that went on; None with
    `censored` means: not within the `observed_s` that were watched. Rates are of the first
    progress witness, in units a second. `testbed_fault` is set where the testbed failed, and
    then the outcome is no verdict on the kernel. `examination` is what the looks into the guest show.
    `under` is the first of two judgements where something was kept up through the heal. `measures` are
    numbers by name that decide nothing by themselves (judge/measures.py).
    """

    judge_version: int = JUDGE_VERSION
    outcome: Outcome
    reason: str
    time_to_recover_s: float | None = None
    censored: bool = False
    observed_s: float | None = None
    bound_s: float
    sweep_s: float | None = None
    rate_before: float | None = None
    rate_after: float | None = None
    preconditions: tuple[Precondition, ...] = ()
    findings: tuple[Finding, ...] = ()
    testbed_fault: str | None = None
    examination: Examination | None = None
    under: Under | None = None
    measures: dict[str, float] = Field(default_factory=dict)


def write_verdict(folder: Path, verdict: Verdict) -> None:
    store.write_json(folder / store.VERDICT, verdict.model_dump(mode="json"))


def read_verdict(folder: Path) -> Verdict:
    """Raises UsageError where there is none, or one that this version does not read."""
    path = folder / store.VERDICT
    try:
        return Verdict.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise UsageError(
            "this result was not judged yet", hint=f"run 'testbed judge {folder}'", where=str(path)
        ) from error
    except ValidationError as error:
        raise UsageError(
            f"not a verdict that this version reads ({error.error_count()} errors)",
            hint=f"run 'testbed judge {folder}' to judge it anew",
            where=str(path),
        ) from error
