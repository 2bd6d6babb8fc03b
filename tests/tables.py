"""Cells and rows for tables, made of verdicts alone: no folder lies behind them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from histories import judging, plan_of

from testbed.campaign.expectation import Cell
from testbed.campaign.observation import of_cell
from testbed.campaign.outcomes import wedged
from testbed.campaign.repeats import Repeats, repeats_of
from testbed.judge import Verdict
from testbed.model import Outcome

EN = "\N{EN DASH}"


def cell(outcome: Outcome, repeat: int = 1, time_s: float | None = None, **labels: Any) -> Cell:
    recovered = outcome in ("recovered", "slow")
    verdict = Verdict(
        outcome=outcome,
        reason="",
        time_to_recover_s=(10.0 + repeat if time_s is None else time_s) if recovered else None,
        censored=wedged(outcome),
        observed_s=60 if wedged(outcome) else 20,
        bound_s=60,
    )
    plan = plan_of(judging(), repeat=repeat, **labels)
    return Cell(Path(f"/nowhere/{plan.labels.kernel}-{repeat}"), plan, verdict)


def cells(kernel: str, *outcomes: Outcome, **labels: Any) -> list[Cell]:
    return [cell(outcome, repeat, kernel=kernel, **labels) for repeat, outcome in enumerate(outcomes, 1)]


def row(kernel: str, *outcomes: Outcome, always: bool = False, **labels: Any) -> Repeats:
    return repeats_of([of_cell(one) for one in cells(kernel, *outcomes, **labels)], always=always)


WENT: Sequence[Outcome] = ("recovered",) * 5
WEDGED: Sequence[Outcome] = ("stalled", "starved", "deadlocked", "livelocked", "stalled")
