"""Owns how plans, verdicts and tables look on a terminal, and as JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from testbed.campaign import matrix as matrices
from testbed.campaign.comparison import Comparison
from testbed.campaign.expectation import Cell
from testbed.campaign.matrix import Matrix
from testbed.campaign.outcomes import counts, went_on
from testbed.campaign.play import Played
from testbed.campaign.repeats import AT, Repeats
from testbed.campaign.summary import Summary
from testbed.doctor import Check
from testbed.model import Outcome, Plan
from testbed.units import show_bytes, show_seconds

FAILED = "red"
MET = {"met": "[green]as expected[/]", "not met": "[red]not as expected[/]", "inconclusive": "", "none": ""}


ALWAYS = f"the interval of the share {AT}, at every look"
FAMILY = f"p is adjusted after Holm for all comparisons here; each interval is {AT} for itself."


def outcome(name: Outcome) -> str:
    """An outcome in its colour."""
    if not counts(name):
        colour = "magenta"
    elif went_on(name):
        colour = "green" if name == "recovered" else "yellow"
    else:
        colour = FAILED
    return f"[{colour}]{name}[/]"


def cell(one: Cell) -> str:
    """One line, and the reason on the next."""
    recover = one.verdict.time_to_recover_s
    after = f" after {show_seconds(round(recover, 1))}" if recover is not None else ""
    lines = [
        f"{escape(one.plan.cell)}: {outcome(one.verdict.outcome)}{after}  {MET[one.met]}",
        f"  [dim]{escape(one.verdict.reason)}[/]",
        *(f"  [yellow]counterfactual[/] [dim]{escape(each)}[/]" for each in one.counterfactual),
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
        "counterfactual": list(one.counterfactual),
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
                f"  {escape(row.kernel)}" + ("\n  [yellow]counterfactual[/]" if row.counterfactual else ""),
                "\n".join(_result(row.repeats)),
                row.repeats.recovery.words,
                escape(row.expect or "\N{EM DASH}"),
            )
        parts += ["", f"[bold]{escape(place)}[/]", drawn]
    parts += [f"[yellow]Counterfactual:[/] {escape(each)}." for each in table.counterfactual]
    for kernel in dict.fromkeys(row.kernel for row in table.rows if row.confounders):
        parts.append(f"[yellow]{escape(kernel)} has confounders, named above and in its report.[/]")
    parts += [f"[yellow]{escape(caution)}[/]" for caution in table.cautions]
    parts += _statistics(table)
    return Group(*parts, f"Controls: {escape(table.statement)}")


def _result(repeats: Repeats) -> list[str]:
    """`wedged 0 of 5 (0-43 %)`, and under it a line for each outcome."""
    wedged = repeats.wedged
    colour = FAILED if wedged.tally.hits else "green"
    lines = [f"[{colour}]wedged {wedged.count}[/] [dim]({wedged.span})[/]"] if wedged.tally.of else []
    lines += [f"  {outcome(name)} {count}" for name, count in repeats.outcomes]
    return lines


def _statistics(table: Summary) -> list[str]:
    """What the intervals are, how a run until clear ended, and which kernels differ."""
    told = []
    if any(not row.repeats.wedged.always for row in table.rows):
        told.append(f"[dim]In brackets: the interval of the share {AT}, after Wilson.[/]")
    if any(row.repeats.wedged.always for row in table.rows):
        told.append(f"[dim]In brackets, where played until clear: {ALWAYS}.[/]")
    for stop in table.stops:
        where = f"{stop.place.words}: " if len(table.stops) > 1 else ""
        told.append(escape(f"{where}{stop.statement}"))
    findings = [one.finding for one in table.comparisons if one.finding]
    told += [f"{escape(finding)}." for finding in findings]
    others = len(table.comparisons) - len(findings)
    if others:
        pairs = "one pair" if others == 1 else f"{others} pairs"
        told.append(f"[dim]No difference is shown between {pairs} of kernels: testbed compare says more.[/]")
    return told


def comparison(one: Comparison) -> str:
    """Two lines: the shares, and the times."""
    colour = "bold" if one.shown else "default"
    return f"[{colour}]{escape(one.words)}.[/]\n  [dim]times to recover: {escape(one.times_words)}[/]"


def comparison_json(one: Comparison) -> dict[str, Any]:
    return {
        "place": asdict(one.place),
        "words": one.words,
        "times": one.times_words,
        "shown": one.shown,
        "times_shown": one.times_shown,
        "difference": one.difference,
        "interval": list(one.interval),
        "p": one.p,
        "adjusted_p": one.adjusted,
        "comparisons": one.family,
        "at_every_look": one.always,
        "times_p": one.times.p if one.times else None,
        "times_adjusted_p": one.times_adjusted,
        "kernels": [_repeats_json(each) for each in (one.first, one.second)],
    }


def _repeats_json(repeats: Repeats) -> dict[str, Any]:
    recovery = repeats.recovery
    return {
        "kernel": repeats.kernel,
        "words": repeats.words,
        "wedged": repeats.wedged.tally.hits,
        "of": repeats.wedged.tally.of,
        "interval": list(repeats.wedged.interval),
        "at_every_look": repeats.wedged.always,
        "outcomes": dict(repeats.outcomes),
        "times": recovery.words,
        "median_s": recovery.median.at_s,
        "median_interval_s": [recovery.median.low_s, recovery.median.high_s],
        "seen_s": list(recovery.times.seen_s),
        "unseen_s": list(recovery.times.unseen_s),
    }


def matrix(one: Matrix) -> str:
    """The confusion matrix as it is kept, what matters in colour."""
    text = escape(matrices.as_text(one)).rstrip()
    first, *rest = (escape(statement) for statement in one.statements)
    text = text.replace(first, f"[{'green' if one.all_right else FAILED}]{first}[/]")
    if one.falsely_deadlocked:
        text = text.replace(rest[0], f"[bold {FAILED}]{rest[0]}[/]")
    return text


def summary_json(table: Summary, cells: Sequence[Cell], index: Path) -> dict[str, Any]:
    return {
        "report": str(index),
        "controls": {"state": table.state, "statement": table.statement},
        "rows": [
            {
                **asdict(row.repeats.place),
                "expect": row.expect,
                "counterfactual": list(row.counterfactual),
                **_repeats_json(row.repeats),
            }
            for row in table.rows
        ],
        "comparisons": [comparison_json(one) for one in table.comparisons],
        "until_clear": [{"clear": stop.clear, "statement": stop.statement} for stop in table.stops],
        "cautions": list(table.cautions),
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
        f"{m.name} {show_bytes(m.memory_bytes)} on {one.kernels[m.kernel].spec.name}" for m in one.machines
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
