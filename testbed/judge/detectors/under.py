"""Owns the remark on how it went before those were stopped who were kept up through the heal."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.judge.case import Case
from testbed.judge.under import under
from testbed.judge.values import Finding
from testbed.units import show_seconds


def detect(case: Case) -> Iterator[Finding]:
    found = under(case) if case.came_to_end else None
    if found is None:
        return
    loads = " and ".join(f"'{name}'" for name in found.loads)
    until = f"{show_seconds(found.observed_s)} after the heal"
    if found.time_to_recover_s is None:
        statement = f"Under {loads}, which went on until {until}, {case.subject} made no lasting progress."
    else:
        statement = f"Under {loads}, which went on until {until}, {case.subject} went on working"
        statement += f" {found.time_to_recover_s:.1f} s after the heal"
        statement += ", but slowly." if found.outcome == "slow" else "."
    if found.outcome == "in doubt":
        statement += " The host was too busy to lay that to the kernel."
    numbers = {"observed_s": found.observed_s}
    if found.rate is not None:
        numbers["rate"] = found.rate
    yield Finding(detector="under", says="note", statement=statement, numbers=numbers)
