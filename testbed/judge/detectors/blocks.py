"""Owns the question whether free memory fell to pieces, where the playbook asks it."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.judge.blocks import after, before
from testbed.judge.case import Case
from testbed.judge.resumption import resumption
from testbed.judge.values import Finding


def detect(case: Case) -> Iterator[Finding]:
    rule = case.rules.blocks
    if rule is None or not case.came_to_end or resumption(case).finish.done_ns is None:
        return
    first, last = before(case, rule.order), after(case, rule.order)
    if not first or last is None:
        yield Finding(
            detector="blocks",
            says="doubt",
            statement="How whole free memory was before and after was not recorded.",
        )
        return
    told = f"{last:.0%} of free memory lay in blocks of order {rule.order} and above, of {first:.0%} before"
    broken = last < rule.least * first
    yield Finding(
        detector="blocks",
        says="fragmented" if broken else "note",
        statement=f"With the loads ended {told} them"
        + (f": less than {rule.least:.0%} of that is fragmented." if broken else "."),
        numbers={"order": rule.order, "before": first, "after": last},
    )
