"""Owns what a table takes of a cell, and what of its cells does not belong together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from testbed.campaign.expectation import Cell
from testbed.judge.values import JUDGE_VERSION, UnderOutcome
from testbed.model import Labels, Outcome

KERNEL, OTHERS = "kernel under test", "kernel of the others"
"""Among the inputs of a plan: these two may differ between the kernels of one table."""
MADE_ANEW = ("nfs3", "nfs4", "iscsi", "nvme-tcp")
"""The transports whose client gives a connection up and makes another (waitfor/requests.py)."""


class SaidUnder(Protocol):
    """The first of two judgements."""

    @property
    def outcome(self) -> UnderOutcome: ...


class SaidFinding(Protocol):
    """A detector's statement."""

    @property
    def says(self) -> str: ...


class Said(Protocol):
    """A verdict, or what was kept of it."""

    @property
    def judge_version(self) -> int: ...

    @property
    def outcome(self) -> Outcome: ...

    @property
    def time_to_recover_s(self) -> float | None: ...

    @property
    def observed_s(self) -> float | None: ...

    @property
    def bound_s(self) -> float: ...

    @property
    def measures(self) -> Mapping[str, float]: ...

    @property
    def under(self) -> SaidUnder | None: ...

    @property
    def findings(self) -> Sequence[SaidFinding]: ...


@dataclass(frozen=True, slots=True)
class Observation:
    """A judged cell. `inputs` are digests by name of all that it hangs on: kernel, playbook, rules, ...

    `requires` are the preconditions that it was judged by, `ends_too` the other machines' jobs whose end was
    part of the proof, `judge` the version that did; `measures` and
    `under` are the verdict's. `lasted`: work went on for good, whatever else is in doubt.
    `refused`: what its judge said is not what `outcome` is, as today's would not.
    """

    name: str
    labels: Labels
    outcome: Outcome
    time_to_recover_s: float | None
    observed_s: float | None
    bound_s: float
    inputs: Mapping[str, str]
    confounders: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    ends_too: tuple[str, ...] = ()
    measures: Mapping[str, float] = field(default_factory=dict)
    under: UnderOutcome | None = None
    judge: int = JUDGE_VERSION
    lasted: bool = False
    refused: bool = False


def of_cell(cell: Cell) -> Observation:
    return observed(
        cell.folder.name,
        cell.plan.labels,
        cell.verdict,
        inputs={**cell.plan.inputs, "rules": digest(cell.plan.judging.model_dump(mode="json"))},
        confounders=cell.confounders,
        requires=cell.plan.judging.requires,
        ends_too=cell.plan.judging.ends_too,
    )


def observed(
    name: str,
    labels: Labels,
    said: Said,
    *,
    inputs: Mapping[str, str],
    confounders: tuple[str, ...],
    requires: tuple[str, ...],
    ends_too: tuple[str, ...] = (),
) -> Observation:
    """What a verdict comes to, be it the cell's own or kept in a summary."""
    refused = _no_proof_today(said, labels)
    return Observation(
        name=name,
        labels=labels,
        outcome="inconclusive" if refused else said.outcome,
        time_to_recover_s=said.time_to_recover_s,
        observed_s=said.observed_s,
        bound_s=said.bound_s,
        inputs=inputs,
        confounders=confounders,
        requires=requires,
        ends_too=ends_too,
        measures=said.measures,
        under=said.under.outcome if said.under else None,
        judge=said.judge_version,
        lasted=any(finding.says in ("recovered", "slow") for finding in said.findings),
        refused=refused,
    )


def _no_proof_today(said: Said, labels: Labels) -> bool:
    """Whether a verdict rests on a proof that today's judge would not take, so that the cell is in doubt.

    Since version 10 nothing that hangs on a connection which may be made anew is proved deadlocked, and
    what was, had not been watched to its bound.
    """
    early = said.observed_s is not None and said.observed_s < said.bound_s
    older = said.judge_version < 10 and labels.transport in MADE_ANEW
    return said.outcome == "deadlocked" and older and early


def mixed(observations: Iterable[Observation]) -> tuple[str, ...]:
    """What differs among cells that a table takes together though it should not: a sentence each."""
    cells = tuple(observations)
    builds: dict[str, set[str]] = {}
    for one in cells:
        builds.setdefault(one.labels.kernel, set()).add(one.inputs.get(KERNEL, ""))
    names = {name for one in cells for name in one.inputs} - {KERNEL, OTHERS}
    versions = {name: len({one.inputs.get(name, "") for one in cells}) for name in sorted(names)}
    judges = sorted({one.judge for one in cells})
    told = [
        f"Not all cells were asked the same: of '{name}' they had {count} versions."
        for name, count in versions.items()
        if count > 1
    ]
    if refused := sum(one.refused for one in cells):
        told.append(
            f"{refused} deadlock{'' if refused == 1 else 's'} that judges before version 10 had proved"
            " would be none today, and count as inconclusive."
        )
    if len(judges) > 1:
        told.append(f"They were judged by versions {', '.join(map(str, judges))} of the judge.")
    return tuple(told) + tuple(
        f"The cells of {kernel} are of {len(digests)} builds of it."
        for kernel, digests in sorted(builds.items())
        if len(digests) > 1
    )


def digest(value: Any) -> str:
    """Of something that JSON can say: the same for what is equal."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
