"""Owns the KTAP report: one line for each cell, as the kernel's own tests print theirs."""

from __future__ import annotations

from collections.abc import Sequence

from testbed.campaign.expectation import Cell
from testbed.campaign.outcomes import counts


def render(cells: Sequence[Cell]) -> str:
    """KTAP version 1. An expectation not met, and a testbed fault, are `not ok`; no verdict is a skip."""
    lines = ["KTAP version 1", f"1..{len(cells)}"]
    for number, cell in enumerate(cells, 1):
        lines += [f"# {_one_line(cell.verdict.reason)}"]
        lines += [f"# counterfactual: {_one_line(why)}" for why in cell.counterfactual]
        lines += [_result(number, cell)]
    return "\n".join(lines) + "\n"


def _result(number: int, cell: Cell) -> str:
    labels, verdict = cell.plan.labels, cell.verdict
    parts = (labels.playbook, labels.form, labels.variant, labels.transport, labels.nic, labels.kernel)
    name = _one_line("/".join(part for part in (*parts, str(labels.repeat)) if part))
    if verdict.testbed_fault is not None:
        return f"not ok {number} {name} # ERROR testbed fault: {_one_line(verdict.testbed_fault)}"
    if not counts(verdict.outcome) and cell.met != "met":
        return f"ok {number} {name} # SKIP {verdict.outcome}"
    if cell.met == "not met":
        return f"not ok {number} {name} # {verdict.outcome}, expected {_one_line(labels.expect or '')}"
    return f"ok {number} {name} # {verdict.outcome}"


def _one_line(text: str) -> str:
    """A `#` begins a directive, and a line end a result: neither may come from a text."""
    return "".join(char if char.isprintable() and char != "#" else " " for char in text)
