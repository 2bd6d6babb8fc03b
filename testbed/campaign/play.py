"""Owns the way of a campaign: every cell built, run, judged and reported in turn, finished ones kept.

A cell's folder is named by what the cell is and by the hash of its inputs, so cells of several days
make one table, and a changed kernel never inherits an old verdict.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from testbed import store
from testbed.campaign.expectation import Cell
from testbed.campaign.outcomes import counts, wedged
from testbed.campaign.until_clear import Rule, note_of, write_note
from testbed.errors import MissingCapability, TestbedError, TestbedFault
from testbed.judge import Verdict, judge
from testbed.judge.values import read_verdict, write_verdict
from testbed.model import Plan
from testbed.run import cell as run_stage
from testbed.run.observe import Listener

log = logging.getLogger(__name__)

ATTEMPTS = 2
"""A fault of the testbed is tried once more: it says nothing of the kernel."""

Builder = Callable[[Plan], run_stage.Inputs]
Displayed = AbstractContextManager[Listener]
Display = Callable[[Plan], Displayed]


@dataclass(frozen=True, slots=True)
class Played:
    """A cell that has its verdict: `fresh` if it was run now, not found."""

    folder: Path
    plan: Plan
    verdict: Verdict
    fresh: bool


def folder_name(plan: Plan) -> str:
    """`vanilla-2007-r1-3fa9c1d2`: readable, and unique by content."""
    # The plan is absolute: what else stands in the files that it was made of changes nothing that is played,
    # nor does what somebody expects.
    words = {"inputs": {"playbook", "topology"}, "labels": {"expect", "control"}}
    content = plan.model_dump(mode="json", exclude=words)
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]
    return f"{plan.cell.replace('/', '-')}-{digest}"


def play(
    plans: Sequence[Plan],
    into: Path,
    build: Builder,
    display: Display,
    *,
    keep: run_stage.Keeper | None = None,
) -> Iterator[Played | TestbedError]:
    """Yields each cell's outcome as soon as there is one; an error of one cell does not end the rest.

    `keep` is for the lab of the last cell.
    """
    for count, plan in enumerate(plans, 1):
        folder = into / folder_name(plan)
        with _alone(folder):
            outcome = _one(plan, folder, build, display, keep if count == len(plans) else None)
        yield outcome


def play_until_clear(
    plans: Sequence[Plan], rule: Rule, into: Path, build: Builder, display: Display
) -> Iterator[Played | TestbedError]:
    """Plays round after round, one cell of each kernel that `rule` still has a question about.

    `plans` are of one place, every kernel's in the order of its repeats; what is left of them when all is
    clear is not played. Kept cells are looked at in their turn, so that a run that was cut short goes on as
    if it had not been. Notes the rule in the folder as soon as there is a cell.
    """
    left: dict[str, deque[Plan]] = {}
    for plan in plans:
        left.setdefault(plan.labels.kernel, deque()).append(plan)
    seen: dict[str, dict[int, bool]] = {kernel: {} for kernel in left}
    while round_ := [kernel for kernel in rule.open_kernels(seen) if left[kernel]]:
        for kernel in round_:
            plan = left[kernel].popleft()
            for outcome in play([plan], into, build, display):
                if isinstance(outcome, Played):
                    write_note(into, note_of([plan.labels for plan in plans], rule))
                    if counts(outcome.verdict.outcome):
                        seen[kernel][plan.labels.repeat] = wedged(outcome.verdict.outcome)
                yield outcome


def _one(
    plan: Plan, folder: Path, build: Builder, display: Display, keep: run_stage.Keeper | None
) -> Played | TestbedError:
    done = finished(folder)
    if done is not None:
        return Played(folder, plan, done, fresh=False)
    try:
        _run(plan, build(plan), folder, display, keep)
        return Played(folder, plan, judge_folder(folder), fresh=True)
    except TestbedError as error:
        return error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One controller at a time for a cell: a second one waits, and then finds it finished."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.parent / f".{folder.name}.lock"
    while True:
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _is_at(path, lock.fileno()):
                continue  # whom we waited for has removed the file that we hold
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _is_at(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False


def judge_folder(folder: Path) -> Verdict:
    """Judges what lies in `folder` (again), and writes the verdict beside it."""
    verdict = judge(store.read_evidence(folder))
    write_verdict(folder, verdict)
    return verdict


def _run(
    plan: Plan, inputs: run_stage.Inputs, folder: Path, display: Display, keep: run_stage.Keeper | None
) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        _set_aside(folder)
        try:
            with display(plan) as listener:
                run_stage.run(plan, inputs, folder, listener, keep=keep)
            return
        except TestbedFault as error:
            if attempt == ATTEMPTS or not _worth_another(error):
                raise
            log.warning("%s: %s; trying once more", plan.cell, error)


def _worth_another(error: TestbedFault) -> bool:
    """What this host lacks, disk space too, it will lack the second time."""
    cause = error.__cause__
    full = isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
    return not full and not isinstance(error, MissingCapability)


def finished(folder: Path) -> Verdict | None:
    """The verdict of a cell that came to its end; one that was judged before that is played anew."""
    if not (folder / store.VERDICT).exists():
        return None
    verdict = read_verdict(folder)
    return None if any(finding.says == "broken" for finding in verdict.findings) else verdict


def _set_aside(folder: Path) -> None:
    """A cell that was cut short is kept under another name: nothing is lost, nothing is mixed."""
    if not folder.exists():
        return
    count = 1
    while (aside := folder.with_name(f"{folder.name}{store.UNFINISHED}{count}")).exists():
        count += 1
    folder.rename(aside)


def cells_of(into: Path) -> list[Cell]:
    """Every finished cell below a campaign's folder, in a stable order."""
    return [Cell(path, store.read_plan(path), read_verdict(path)) for path in store.result_folders(into)]
