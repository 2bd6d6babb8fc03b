"""Owns the JUnit report: one test case for each cell, for whoever collects those."""

from __future__ import annotations

from collections.abc import Sequence

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from testbed.campaign.expectation import Cell
from testbed.campaign.outcomes import counts


def render(cells: Sequence[Cell], name: str = "testbed") -> bytes:
    """JUnit XML: an expectation not met is a failure, no verdict a skip, a testbed fault an error."""
    suite = TestSuite(name)
    for cell in cells:
        suite.add_testcase(_case(cell))
    xml = JUnitXml()
    xml.add_testsuite(suite)
    rendered: bytes = xml.tostring()  # type: ignore[no-untyped-call]
    return rendered


def _case(cell: Cell) -> TestCase:
    labels, verdict = cell.plan.labels, cell.verdict
    place = ".".join(part for part in (labels.playbook, labels.form, labels.variant) if part)
    name = f"{labels.kernel} {labels.nic} {labels.transport} #{labels.repeat}"
    case = TestCase(_plain(name), classname=_plain(place), time=verdict.observed_s or 0.0)
    never = [f"counterfactual: {why}" for why in cell.counterfactual]
    case.system_out = _plain("\n".join([f"{verdict.outcome}: {verdict.reason}", *never, str(cell.folder)]))
    reason = _plain(verdict.reason)
    if verdict.testbed_fault is not None:
        case.result = [Error(_plain(verdict.testbed_fault), "testbed fault")]
    elif not counts(verdict.outcome) and cell.met != "met":
        case.result = [Skipped(reason)]
    elif cell.met == "not met":
        case.result = [
            Failure(f"expected {labels.expect}, found {verdict.outcome}: {reason}", verdict.outcome)
        ]
    return case


def _plain(text: str) -> str:
    """Without the control characters that XML has no way to write."""
    return "".join(
        char if char == "\n" or (char >= " " and char not in "\ufffe\uffff") else "\ufffd" for char in text
    )
