"""Owns the comparison of a verdict with what the playbook expects: the judge itself never learns of it.

An expectation is an outcome (`recovered`), several (`stalled | livelocked`), or what must not be
(`not recovered`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from testbed import store
from testbed.errors import UsageError, nearest
from testbed.judge.values import Verdict
from testbed.model import Outcome, Plan

Met = Literal["met", "not met", "inconclusive", "none"]

OUTCOMES: frozenset[str] = frozenset(get_args(Outcome))
MAIN_VARIANTS = ("", "main")


@dataclass(frozen=True, slots=True)
class Cell:
    """A finished cell: where it lies, what it was, what the judge said."""

    folder: Path
    plan: Plan
    verdict: Verdict

    @property
    def met(self) -> Met:
        return compare(self.plan.labels.expect, self.verdict)

    @property
    def confounders(self) -> tuple[str, ...]:
        """What in a prebuilt kernel's configuration may have decided instead of what is asked about."""
        recorded = store.read_environment(self.folder).get("kernels")
        kernel = (
            recorded.get(self.plan.machine(self.plan.judging.subject).kernel)
            if isinstance(recorded, dict)
            else None
        )
        found = kernel.get("confounders") if isinstance(kernel, dict) else None
        return tuple(str(each) for each in found) if isinstance(found, list) else ()

    @property
    def is_control(self) -> bool:
        """Controls are the variants that have an expectation of their own; `main` is the question."""
        return self.plan.labels.variant not in MAIN_VARIANTS and self.plan.labels.expect is not None


def accepted(expect: str) -> frozenset[str]:
    """The outcomes that meet an expectation. Raises UsageError on a name that is no outcome.

    What must not be is not met by a cell that decides nothing: `inconclusive` has to be asked for.
    """
    text = expect.strip()
    negated = text.startswith("not ")
    names = [name for name in re.split(r"\s*(?:\||,|\bor\b)\s*", text.removeprefix("not ").strip()) if name]
    for name in names:
        if name not in OUTCOMES:
            raise UsageError(f"no outcome '{name}' to expect", hint=nearest(name, OUTCOMES))
    if not names:
        raise UsageError("the expectation names no outcome", hint=nearest("", OUTCOMES))
    return OUTCOMES - {"inconclusive", *names} if negated else frozenset(names)


def compare(expect: str | None, verdict: Verdict) -> Met:
    """Whether a verdict is what was expected.

    One that decides nothing fails nothing, and meets only what asks for just that.
    """
    if expect is None:
        return "none"
    if verdict.outcome in accepted(expect):
        return "met"
    return "inconclusive" if verdict.outcome == "inconclusive" else "not met"
