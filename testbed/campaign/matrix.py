"""Owns the confusion matrix: what was done on purpose against what the judge said, every error explained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from testbed.campaign.expectation import accepted
from testbed.configuration import Answer
from testbed.history import History
from testbed.judge.values import Finding, Verdict
from testbed.model import Plan

DEADLOCKED = "deadlocked"

State = Literal["right", "wrong", "undecided", "not done"]
"""`undecided`: the judge could not say, where an answer was to be had. `not done`: the testbed failed."""


@dataclass(frozen=True, slots=True)
class Question:
    """One repeat of a variant with a known answer, as it was played.

    `verdict` is None where the testbed failed, and `failure` then says how; `undone` names the deeds that
    the history does not show as done, so that the answer does not apply.
    """

    variant: str
    repeat: int
    answer: Answer
    verdict: Verdict | None
    failure: str = ""
    undone: tuple[str, ...] = ()
    folder: str = ""

    @property
    def wrong(self) -> tuple[str, ...]:
        """What of the verdict is not as it must be; empty for a right one, or for none."""
        if self.verdict is None:
            return ()
        found = []
        if self.verdict.outcome not in accepted(self.answer.outcome):
            found.append(f"judged {self.verdict.outcome}, known to be {self.answer.outcome}")
        elif self.answer.by and not set(self.answer.by) & set(speakers(self.verdict)):
            said = ", ".join(speakers(self.verdict)) or "nobody"
            found.append(f"said by {said}, to be said by {' or '.join(self.answer.by)}")
        if not found and self.answer.recovers is not None:
            least_s, most_s = self.answer.recovers
            took_s = self.verdict.time_to_recover_s
            if took_s is None or not least_s <= took_s <= most_s:
                took = "no time" if took_s is None else f"{took_s:.1f} s"
                found.append(f"{took} to recover, known to be {least_s:g} to {most_s:g} s")
        return tuple(found)

    @property
    def state(self) -> State:
        if self.verdict is None or self.verdict.testbed_fault is not None or self.undone:
            return "not done"
        if not self.wrong:
            return "right"
        asked = "inconclusive" in accepted(self.answer.outcome)
        return "undecided" if self.verdict.outcome == "inconclusive" and not asked else "wrong"

    @property
    def falsely_deadlocked(self) -> bool:
        return (
            self.verdict is not None
            and self.verdict.outcome == DEADLOCKED
            and DEADLOCKED not in accepted(self.answer.outcome)
        )

    @property
    def column(self) -> str:
        """Where it stands in the matrix: the outcome; of what decides nothing also who said so."""
        if self.state == "not done" or self.verdict is None:
            return "not done"
        if self.verdict.outcome != "inconclusive":
            return self.verdict.outcome
        return f"inconclusive ({', '.join(speakers(self.verdict)) or 'no rule'})"

    @property
    def explanation(self) -> str:
        """Why it is not right, with the judge's own reason."""
        where = f"{self.variant} {self.repeat}"
        if self.verdict is None:
            return f"{where}: the testbed failed: {self.failure}"
        if self.verdict.testbed_fault is not None:
            return f"{where}: the testbed failed: {self.verdict.testbed_fault}"
        if self.undone:
            return f"{where}: not shown to be done: {', '.join(self.undone)}"
        return f"{where}: {'; '.join(self.wrong)}. The judge: {self.verdict.reason}"


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows: what was done; columns: what was judged, those of the right answers first."""

    questions: tuple[Question, ...]

    @property
    def rows(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(question.variant for question in self.questions))

    @property
    def columns(self) -> tuple[str, ...]:
        right = [question.column for question in self.questions if question.state == "right"]
        return tuple(dict.fromkeys([*right, *(question.column for question in self.questions)]))

    def counts(self, row: str) -> Mapping[str, int]:
        """How many of a row stand in each column."""
        return Counter(question.column for question in self.questions if question.variant == row)

    def of(self, *states: State) -> tuple[Question, ...]:
        return tuple(question for question in self.questions if question.state in states)

    @property
    def all_right(self) -> bool:
        return len(self.of("right")) == len(self.questions)

    @property
    def falsely_deadlocked(self) -> tuple[Question, ...]:
        return tuple(question for question in self.questions if question.falsely_deadlocked)

    @property
    def missed_deadlocks(self) -> tuple[Question, ...]:
        """Those that had to be found, by themselves or beside `starved`, and were judged otherwise."""
        return tuple(
            question
            for question in self.of("wrong", "undecided")
            if DEADLOCKED in accepted(question.answer.outcome)
        )

    @property
    def statements(self) -> tuple[str, ...]:
        """The whole in words, a false `deadlocked` in a line of its own."""
        right, judged = len(self.of("right")), len(self.of("right", "wrong", "undecided"))
        told = [f"{right} of {judged} answers right, over {len(self.rows)} things done."]
        for what, found in (
            ("FALSE 'deadlocked'", self.falsely_deadlocked),
            ("missed deadlocks", self.missed_deadlocks),
        ):
            names = ", ".join(f"{question.variant} {question.repeat}" for question in found)
            told.append(f"{what}: {len(found)} of {judged}{f': {names}' if found else ''}.")
        failed = len(self.of("not done"))
        if failed:
            told.append(f"Not counted, since the testbed itself failed: {failed}.")
        return tuple(told)


def speakers(verdict: Verdict) -> tuple[str, ...]:
    """The detectors whose findings say what the verdict rests on; findings are in the order of the rules."""
    if not verdict.findings:
        return ()
    says = verdict.findings[0].says
    return tuple(dict.fromkeys(each.detector for each in verdict.findings if _argues(each, says)))


def _argues(finding: Finding, says: str) -> bool:
    return finding.says == says and says != "note"


def undone(plan: Plan, log: History) -> tuple[str, ...]:
    """The deeds of a plan that its history does not show as done, to somebody or something.

    A reader that never read stands here too: it would stand still for another reason than the one known.
    """
    shown = {"deed": "hit", "reader": "reads"}
    return tuple(
        load.name
        for load in plan.loads
        if load.page_kind in shown
        and not any(
            value > 0 for _, value in log.series(f"{load.machine}/{load.name}.{shown[load.page_kind]}")
        )
    )


def as_text(matrix: Matrix) -> str:
    """The matrix for people, at most 80 columns wide as long as it has a dozen columns."""
    letters = {column: _letter(number) for number, column in enumerate(matrix.columns)}
    wide = max((len(row) for row in matrix.rows), default=0)
    lines = [f"{'':{wide}}  {''.join(f'{letter:>4}' for letter in letters.values())}"]
    for row in matrix.rows:
        counts = matrix.counts(row)
        bad = {question.column for question in matrix.of("wrong", "undecided") if question.variant == row}
        told = (_count(counts.get(column, 0), column in bad) for column in letters)
        lines.append(f"{row:{wide}}  {''.join(f'{each:>4}' for each in told)}")
    lines += ["", *(f"  {letter}  {column}" for column, letter in letters.items())]
    lines += ["", "Rows: what was done. Columns: what was judged; ! marks what is not right.", ""]
    lines += matrix.statements
    errors = matrix.of("wrong", "undecided", "not done")
    lines += ["", *(f"- {question.explanation}" for question in errors)] if errors else []
    return "\n".join(line.rstrip() for line in lines) + "\n"


def as_json(matrix: Matrix) -> dict[str, Any]:
    """The matrix for programs, and every cell of it."""
    return {
        "matrix": {row: dict(matrix.counts(row)) for row in matrix.rows},
        "statements": list(matrix.statements),
        "right": len(matrix.of("right")),
        "judged": len(matrix.of("right", "wrong", "undecided")),
        "not_done": len(matrix.of("not done")),
        "falsely_deadlocked": [_name(question) for question in matrix.falsely_deadlocked],
        "missed_deadlocks": [_name(question) for question in matrix.missed_deadlocks],
        "cells": [_cell(question) for question in matrix.questions],
    }


def _cell(question: Question) -> dict[str, Any]:
    verdict = question.verdict
    return {
        "variant": question.variant,
        "repeat": question.repeat,
        "known": question.answer.outcome,
        "known_by": list(question.answer.by),
        "kernel": question.answer.kernel,
        "state": question.state,
        "outcome": verdict.outcome if verdict else None,
        "detectors": list(speakers(verdict)) if verdict else [],
        "time_to_recover_s": verdict.time_to_recover_s if verdict else None,
        "reason": verdict.reason if verdict else question.failure,
        "error": "" if question.state == "right" else question.explanation,
        "folder": question.folder,
    }


def _name(question: Question) -> str:
    return f"{question.variant} {question.repeat}"


def _letter(number: int) -> str:
    """a to z, then aa, ab, ..."""
    return (chr(ord("a") + number // 26 - 1) if number >= 26 else "") + chr(ord("a") + number % 26)


def _count(count: int, bad: bool) -> str:
    return f"{count or '.'}{'!' if bad and count else ''}"
