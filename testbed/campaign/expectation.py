"""Owns the comparison of a verdict with what the playbook expects: the judge itself never learns of it.

An expectation is an outcome (`recovered`), several (`stalled | livelocked`), or what must not be
(`not recovered`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from testbed import store
from testbed.campaign.counterfactual import counterfactual
from testbed.campaign.outcomes import SORTS, counts
from testbed.errors import UsageError, nearest
from testbed.judge.values import Verdict
from testbed.model import Plan

Met = Literal["met", "not met", "inconclusive", "none"]

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
        key = self.plan.machine(self.plan.judging.subject).kernel
        return confounders_of(store.read_environment(self.folder), key)

    @property
    def counterfactual(self) -> tuple[str, ...]:
        """Why it is none of the history that its kernel plays."""
        return counterfactual(self.plan.labels)

    @property
    def is_control(self) -> bool:
        """Whether what is expected of it is a check of the testbed, and no hypothesis of the kernel."""
        labels = self.plan.labels
        if labels.control is not None:
            return labels.control
        return labels.variant not in MAIN_VARIANTS and labels.expect is not None


def confounders_of(surroundings: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """What was recorded of the kernel that is called `key`; empty where nothing readable was."""
    kernels = surroundings.get("kernels")
    kernel = kernels.get(key) if isinstance(kernels, dict) else None
    found = kernel.get("confounders") if isinstance(kernel, dict) else None
    return tuple(str(each) for each in found) if isinstance(found, list) else ()


def accepted(expect: str) -> frozenset[str]:
    """The outcomes that meet an expectation. Raises UsageError on a name that is no outcome.

    `not X` is met by every other verdict, also one that says nothing of the kernel: that nothing is called
    recovered while the link is cut is what a control asks. A cell without a verdict meets it not.
    """
    text = expect.strip()
    negated = text.startswith("not ")
    names = [name for name in re.split(r"\s*(?:\||,|\bor\b)\s*", text.removeprefix("not ").strip()) if name]
    for name in names:
        if name not in SORTS:
            raise UsageError(f"no outcome '{name}' to expect", hint=nearest(name, SORTS))
    if not names:
        raise UsageError("the expectation names no outcome", hint=nearest("", SORTS))
    if negated:
        return frozenset(outcome for outcome in SORTS if outcome not in (*names, "inconclusive"))
    return frozenset(names)


def compare(expect: str | None, verdict: Verdict) -> Met:
    """Whether a verdict is what was expected; one that says nothing of the kernel does not fail it."""
    if expect is None:
        return "none"
    if verdict.outcome in accepted(expect):
        return "met"
    return "not met" if counts(verdict.outcome) else "inconclusive"
