"""Owns the refusal of cells in which the situation to be tested never arose."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.judge.case import Case
from testbed.judge.preconditions import preconditions
from testbed.judge.values import Finding


def detect(case: Case) -> Iterator[Finding]:
    for one in preconditions(case):
        if not one.met:
            yield Finding(
                detector="precondition",
                says="doubt",
                statement=f"The cell does not count: {one.statement[0].lower()}{one.statement[1:]}",
                to_s=case.at(case.before_ns),
                numbers=one.numbers,
            )
