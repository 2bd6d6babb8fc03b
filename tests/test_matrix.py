"""The confusion matrix: what is right, what is wrong and why, and what decides nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from testbed.campaign import matrix as matrices
from testbed.campaign.matrix import Matrix, Question
from testbed.configuration import Answer
from testbed.history import History
from testbed.judge import Finding, Verdict
from testbed.model import PlannedLoad
from tests.histories import judging, plan_of

SAYS = {"inconclusive": "doubt", "recovered": "recovered", "crashed": "crashed"}


def verdict(outcome: Any, *by: str, **more: Any) -> Verdict:
    """One that rests on what these detectors say, beside a note of another."""
    says = SAYS.get(outcome, "stalled")
    told = [
        Finding.model_validate({"detector": name, "says": says, "statement": f"{name} says so"})
        for name in by
    ]
    told.append(Finding(detector="gossip", says="note", statement="by the way"))
    return Verdict(outcome=outcome, reason=f"because of {by}", bound_s=20, findings=tuple(told), **more)


def question(known: str, judged: Verdict | None, *, by: tuple[str, ...] = (), **more: Any) -> Question:
    recovers = more.pop("recovers", None)
    answer = Answer.model_validate({"outcome": known, "by": by, "recovers": recovers})
    values = {"variant": "row", "repeat": 1, **more}
    return Question(answer=answer, verdict=judged, **values)


RECOVERED = ["18s", "20s"]


@pytest.mark.parametrize(
    ("asked", "state", "why"),
    [
        (question("crashed", verdict("crashed", "console"), by=("console",)), "right", ""),
        (question("crashed", verdict("crashed", "console")), "right", ""),
        (question("deadlocked | starved", verdict("starved", "graph")), "right", ""),
        (question("not recovered", verdict("stalled", "progress")), "right", ""),
        (question("inconclusive", verdict("inconclusive", "clock", "witness"), by=("witness",)), "right", ""),
        (
            question(
                "recovered", verdict("recovered", "progress", time_to_recover_s=19.0), recovers=RECOVERED
            ),
            "right",
            "",
        ),
        (
            question("crashed", verdict("stalled", "progress")),
            "wrong",
            "judged stalled, known to be crashed",
        ),
        (
            question("crashed", verdict("crashed", "witness"), by=("console",)),
            "wrong",
            "said by witness, to be said by console",
        ),
        (
            question("inconclusive", verdict("inconclusive", "clock"), by=("witness",)),
            "wrong",
            "said by clock, to be said by witness",
        ),
        (question("inconclusive", verdict("recovered", "progress")), "wrong", "judged recovered"),
        (
            question(
                "recovered", verdict("recovered", "progress", time_to_recover_s=25.0), recovers=RECOVERED
            ),
            "wrong",
            "25.0 s to recover, known to be 18 to 20 s",
        ),
        (question("recovered", verdict("recovered", "x"), recovers=RECOVERED), "wrong", "no time to recover"),
        (
            question("stalled", verdict("inconclusive", "contention")),
            "undecided",
            "judged inconclusive, known to be stalled",
        ),
        (
            question("not recovered", verdict("inconclusive", "contention")),
            "undecided",
            "judged inconclusive, known to be not recovered",
        ),
        (question("crashed", None, failure="no guest boots"), "not done", "failed: no guest boots"),
        (
            question("crashed", verdict("inconclusive", "ending", testbed_fault="no disk space")),
            "not done",
            "failed: no disk space",
        ),
        (
            question("server-down", verdict("recovered", "progress"), undone=("kill",)),
            "not done",
            "not shown to be done: kill",
        ),
    ],
)
def test_every_answer_is_weighed(asked: Question, state: str, why: str) -> None:
    assert asked.state == state
    assert why in asked.explanation
    assert asked.wrong == () or state != "right"


def test_what_decides_nothing_stands_apart_by_who_said_so() -> None:
    one = question("inconclusive", verdict("inconclusive", "witness"), by=("witness",))
    two = question("inconclusive", verdict("inconclusive", "clock", "faults"), by=("witness",))
    assert (one.column, two.column) == ("inconclusive (witness)", "inconclusive (clock, faults)")
    assert question("crashed", None).column == "not done"


def whole() -> Matrix:
    return Matrix(
        (
            question("recovered", verdict("recovered", "progress"), variant="outage"),
            question("recovered", verdict("deadlocked", "graph"), variant="outage", repeat=2),
            question("deadlocked | starved", verdict("deadlocked", "graph"), variant="wedge"),
            question("deadlocked | starved", verdict("stalled", "progress"), variant="wedge", repeat=2),
            question("crashed", verdict("crashed", "console"), variant="panic"),
            question("crashed", None, variant="panic", repeat=2, failure="no guest boots"),
        )
    )


def test_the_matrix_counts_rows_by_columns() -> None:
    matrix = whole()
    assert matrix.rows == ("outage", "wedge", "panic")
    assert matrix.columns == ("recovered", "deadlocked", "crashed", "stalled", "not done")
    assert matrix.counts("wedge") == {"deadlocked": 1, "stalled": 1}
    assert sum(sum(matrix.counts(row).values()) for row in matrix.rows) == len(matrix.questions)
    assert not matrix.all_right


def test_a_false_deadlock_and_a_missed_one_are_called_out() -> None:
    matrix = whole()
    assert matrix.statements == (
        "3 of 5 answers right, over 3 things done.",
        "FALSE 'deadlocked': 1 of 5: outage 2.",
        "missed deadlocks: 1 of 5: wedge 2.",
        "Not counted, since the testbed itself failed: 1.",
    )
    none = Matrix(matrix.of("right"))
    assert none.all_right
    assert none.statements[1:] == ("FALSE 'deadlocked': 0 of 3.", "missed deadlocks: 0 of 3.")


def test_a_false_deadlock_is_one_even_where_the_deed_is_not_shown() -> None:
    doubtful = question("recovered", verdict("deadlocked", "graph"), undone=("kill",))
    assert doubtful.state == "not done" and doubtful.falsely_deadlocked


def test_the_text_has_every_row_and_explains_every_error() -> None:
    lines = matrices.as_text(whole()).splitlines()
    assert lines[0].split() == ["a", "b", "c", "d", "e"]
    assert [line.split() for line in lines[1:4]] == [
        ["outage", "1", "1!", ".", ".", "."],
        ["wedge", ".", "1", ".", "1!", "."],
        ["panic", ".", ".", "1", ".", "1"],
    ]
    assert "  b  deadlocked" in lines
    errors = [line for line in lines if line.startswith("- ")]
    assert len(errors) == 3
    assert "- outage 2: judged deadlocked, known to be recovered. The judge: because of ('graph',)" in errors
    assert max(len(line) for line in lines if not line.startswith("- ")) <= 80


def test_the_json_says_the_same() -> None:
    told = json.loads(json.dumps(matrices.as_json(whole())))
    assert told["matrix"]["outage"] == {"recovered": 1, "deadlocked": 1}
    assert (told["right"], told["judged"], told["not_done"]) == (3, 5, 1)
    assert told["falsely_deadlocked"] == ["outage 2"] and told["missed_deadlocks"] == ["wedge 2"]
    states = {(cell["variant"], cell["repeat"]): cell["state"] for cell in told["cells"]}
    assert states["panic", 2] == "not done" and states["outage", 1] == "right"
    assert all(bool(cell["error"]) is (cell["state"] != "right") for cell in told["cells"])


def test_many_columns_still_have_letters() -> None:
    found = {matrices._letter(number) for number in range(200)}
    assert len(found) == 200 and {"a", "z", "aa", "az", "ba"} <= found


@pytest.mark.parametrize(
    ("points", "missing"), [(((5, 0), (9, 1)), ()), (((5, 0),), ("kill",)), ((), ("kill",))]
)
def test_a_deed_counts_only_if_the_history_shows_it(
    points: tuple[tuple[int, int], ...], missing: tuple[str, ...]
) -> None:
    deed = {
        "name": "kill",
        "kind": "kill",
        "machine": "C",
        "slot": 3,
        "page_kind": "deed",
        "start": "timeline",
    }
    other = {**deed, "name": "flood", "page_kind": "flood"}
    loads = tuple(PlannedLoad.model_validate({**load, "options": {}}) for load in (deed, other))
    plan = plan_of(judging()).model_copy(update={"loads": loads})
    assert matrices.undone(plan, History(values={"C/kill.hit": points})) == missing
