"""Owns how plans, verdicts and tables look on a terminal, and as JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from testbed.campaign import matrix as matrices
from testbed.campaign.expectation import Cell
from testbed.campaign.matrix import Matrix
from testbed.campaign.play import Played
from testbed.campaign.summary import CONFIDENCE, Row, Summary
from testbed.doctor import Check
from testbed.model import Plan
from testbed.units import show_bytes, show_seconds

COLOURS = {
    "recovered": "green",
    "slow": "yellow",
    "inconclusive": "magenta",
}
FAILED = "red"
MET = {"met": "[green]as expected[/]", "not met": "[red]not as expected[/]", "inconclusive": "", "none": ""}


def outcome(name: str) -> str:
    """An outcome in its colour."""
    return f"[{COLOURS.get(name, FAILED)}]{name}[/]"


def cell(one: Cell) -> str:
    """One line, and the reason on the next."""
    recover = one.verdict.time_to_recover_s
    after = f" after {show_seconds(round(recover, 1))}" if recover is not None else ""
    lines = [
        f"{escape(one.plan.cell)}: {outcome(one.verdict.outcome)}{after}  {MET[one.met]}",
        f"  [dim]{escape(one.verdict.reason)}[/]",
        *(f"  [yellow]confounder[/] [dim]{escape(each)}[/]" for each in one.confounders),
    ]
    return "\n".join(lines)


def played(one: Played) -> str:
    kept = "" if one.fresh else "  [dim](kept from an earlier run)[/]"
    return cell(Cell(one.folder, one.plan, one.verdict)) + kept


def cell_json(one: Cell) -> dict[str, Any]:
    return {
        "cell": one.plan.cell,
        "folder": str(one.folder),
        "expect": one.plan.labels.expect,
        "met": one.met,
        "confounders": list(one.confounders),
        "verdict": one.verdict.model_dump(mode="json"),
    }


def summary(table: Summary) -> RenderableType:
    """The table of verdicts, made to be read at 80 columns, then what the controls say of it."""
    parts: list[RenderableType] = []
    for place, rows in groupby(table.rows, key=lambda row: row.place):
        drawn = Table(box=None, pad_edge=False, header_style="dim")
        drawn.add_column("  kernel", no_wrap=True)
        drawn.add_column("outcome", no_wrap=True)
        drawn.add_column("time to recover")
        drawn.add_column("expected")
        for row in rows:
            drawn.add_row(
                f"  {escape(row.kernel)}",
                "\n".join(_proportions(row)),
                row.times.words,
                escape(row.expect or "\N{EM DASH}"),
            )
        parts += ["", f"[bold]{escape(place)}[/]", drawn]
    for kernel in dict.fromkeys(row.kernel for row in table.rows if row.confounders):
        parts.append(f"[yellow]{escape(kernel)} has confounders, named above and in its report.[/]")
    if table.rows:
        parts.append(f"[dim]In brackets: the interval at {CONFIDENCE * 100:.0f} %, after Wilson.[/]")
    return Group(*parts, f"Controls: {escape(table.statement)}")


def matrix(one: Matrix) -> str:
    """The confusion matrix as it is kept, what matters in colour."""
    text = escape(matrices.as_text(one)).rstrip()
    first, *rest = (escape(statement) for statement in one.statements)
    text = text.replace(first, f"[{'green' if one.all_right else FAILED}]{first}[/]")
    if one.falsely_deadlocked:
        text = text.replace(rest[0], f"[bold {FAILED}]{rest[0]}[/]")
    return text


def _proportions(row: Row) -> list[str]:
    """A line an outcome: `recovered 5 of 5 (57-100 %)`."""
    lines = [
        f"{outcome(each.outcome)} {each.count} of {each.of} "
        f"[dim]({each.low * 100:.0f}\N{EN DASH}{each.high * 100:.0f} %)[/]"
        for each in row.proportions
    ]
    if row.inconclusive:
        lines.append(f"[magenta]{row.inconclusive} inconclusive[/]")
    return lines or [escape(row.words)]


def summary_json(table: Summary, cells: Sequence[Cell], index: Path) -> dict[str, Any]:
    return {
        "report": str(index),
        "controls": {"state": table.state, "statement": table.statement},
        "rows": [
            {
                "playbook": row.playbook,
                "form": row.form,
                "variant": row.variant,
                "transport": row.transport,
                "nic": row.nic,
                "kernel": row.kernel,
                "expect": row.expect,
                "words": row.words,
                "times": row.times.words,
            }
            for row in table.rows
        ],
        "cells": [cell_json(one) for one in cells],
    }


def plan(one: Plan) -> RenderableType:
    """What would be done, in time."""
    table = Table(title=one.cell, title_justify="left", box=None)
    table.add_column("at", justify="right")
    table.add_column("deed")
    table.add_column("what")
    for event in one.events:
        table.add_row(show_seconds(event.at_s), event.do, escape(_deed(one, event.name)))
    table.add_row(
        show_seconds(one.judging.begin_at_s), "judge", f"within {show_seconds(one.judging.bound_s)}"
    )
    machines = ", ".join(
        f"{m.name} {show_bytes(m.memory_bytes)} on {one.kernels[m.kernel].spec.label}" for m in one.machines
    )
    inputs = "\n".join(f"  {name}: {value}" for name, value in sorted(one.inputs.items()))
    return Group(table, f"machines: {machines}", f"inputs:\n{inputs}")


def _deed(one: Plan, name: str) -> str:
    """`cut: drop, between A C, direction both`; of a load its name alone."""
    fault = next((fault for fault in one.faults if fault.name == name), None)
    if fault is None:
        return name
    said = {
        key: " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        for key, value in fault.options.items()
    }
    return ", ".join([f"{name}: {fault.kind}", *(f"{key} {value}" for key, value in said.items())])


def check_json(check: Check) -> dict[str, Any]:
    return {
        "name": check.name,
        "ok": check.ok,
        "needed": check.needed,
        "detail": check.detail,
        "remedy": check.remedy,
    }


def checks(found: Sequence[Check]) -> RenderableType:
    """A line a capability; under each lack its remedy."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for check in found:
        mark = "[green]ok[/]" if check.ok else ("[red]lacking[/]" if check.needed else "[yellow]without[/]")
        detail = escape(check.detail)
        if not check.ok and check.remedy:
            detail += f"\n[dim]{escape(check.remedy)}[/]"
        table.add_row(mark, check.name, detail)
    return table
