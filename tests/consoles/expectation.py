"""Owns the comparison of what a console must show with what is found in it."""

from __future__ import annotations

from typing import Any

from testbed.consoles import KernelReport, Reading, cause_of, read
from tests.consoles.corpus import Entry


def shortfalls(entry: Entry, console: bytes) -> list[str]:
    """In what a console is not as expected, in words; empty if it is."""
    reading = read(console)
    found = [one for must in entry["must"] if (one := missing(must, reading))]
    allowed = {must["kind"] for must in entry["must"]} | set(entry["may"])
    found += [f"a {kind} that nothing was done for" for kind in reading.counts if kind not in allowed]
    cause = cause_of(reading, watched_s=entry.get("watched_s"), pulse_s=entry.get("pulse_s"))
    kind = None if cause is None else cause.kind
    if kind != entry["cause"]:
        found.append(f"the cause is {kind}, not {entry['cause']}")
    return found


def holds(expected: object, value: object) -> bool:
    """Whether a fact is as expected: exactly, within [least, most], or by a beginning or part with `*`."""
    if isinstance(expected, list):
        return isinstance(value, int) and expected[0] <= value <= expected[1]
    if isinstance(expected, str) and "*" in expected:
        head, tail = expected.partition("*")[0], expected.rpartition("*")[2]
        middle = expected[len(head) : len(expected) - len(tail)].strip("*")
        text = str(value or "")
        return text.startswith(head) and text.endswith(tail) and middle in text and bool(text)
    return expected == value


def missing(must: dict[str, Any], reading: Reading) -> str:
    """What of an expectation a console does not show; empty if it shows all."""
    facts = {name: value for name, value in must.items() if name not in ("kind", "count")}
    found = [report for report in reading.reports if report.kind == must["kind"]]
    if "count" in must and not holds(must["count"], len(found)):
        return f"{len(found)} reports of {must['kind']}, not {must['count']}"
    if any(_shows(report, facts) for report in found):
        return ""
    return f"no {must['kind']} with {facts} among {[report.facts.known() for report in found[:3]]}"


def _shows(report: KernelReport, facts: dict[str, Any]) -> bool:
    return all(holds(expected, getattr(report.facts, name)) for name, expected in facts.items())
