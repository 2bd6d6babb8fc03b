"""The fuzzing can fail: a crash that the judge survives is told, and so is a hang; looks come out wrong."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks import mutating
from benchmarks.fuzzing import CORPUS, Tally, Target, console_target, graph_target, history_target, play
from testbed.snapshot import Lock, Snapshot
from tests.test_waitfor import look

CELLS = sorted(CORPUS.glob("selftest-connection-given-up-*"))
INPUTS = 10
WEDGED = look(1, 0, locks=(Lock(address=0x70, kind="mutex", owner=28, waiters=(131,)),))


def crash(*_: object) -> None:
    raise RuntimeError("planted")


def hang(*_: object) -> None:
    while True:
        pass


def played(target: Target, limit_s: float) -> tuple[Tally, list[str]]:
    """The tally of a few inputs, and what was said of them."""
    tally = Tally()
    told = [play("any", target, seed, tally, limit_s) for seed in range(INPUTS)]
    return tally, [one for one in told if one]


@pytest.mark.parametrize(
    ("make", "place", "deed", "said"),
    [
        (graph_target, "testbed.waitfor.examination.build", crash, "RuntimeError: planted"),
        (graph_target, "testbed.waitfor.examination.common", crash, "Unknown: .*RuntimeError: planted"),
        (graph_target, "testbed.waitfor.examination.common", hang, "TooLate: "),
        (history_target, "testbed.judge.case.Case.within", crash, "Unknown: .*RuntimeError: planted"),
        (history_target, "testbed.history._record", hang, "TooLate: "),
    ],
)
def test_what_is_planted_is_told(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[Any], Target], place: str, deed: Any, said: str
) -> None:
    target = make(CELLS)
    before, told = played(target, limit_s=10.0)
    assert (before.inputs, before.failures, told) == (INPUTS, 0, [])
    assert before.reached > INPUTS // 2
    monkeypatch.setattr(place, deed)
    after, told = played(target, limit_s=0.02 if deed is hang else 10.0)
    assert after.failures >= INPUTS // 2
    assert re.match(rf"any --seed \d+: {said}", told[0])


def test_a_console_that_crashes_its_reader_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("testbed.consoles.read", crash)
    tally, told = played(console_target([b"[    1.0] Oops: 0000 [#1]\r\n"]), limit_s=10.0)
    assert tally.failures == INPUTS and told == ["any --seed 0: RuntimeError: planted"]


def references(one: Snapshot) -> dict[str, list[Any]]:
    """What each field that names something else holds, in every item that has it."""
    items = (*one.tasks, *one.locks, *one.requests, *one.sockets)
    return {name: [getattr(item, name) for item in items if hasattr(item, name)] for name in mutating.REFERS}


def test_looks_stay_valid_and_refer_to_what_is_another_or_nothing() -> None:
    spoiled = [mutating.mutated_look(WEDGED, random.Random(seed)) for seed in range(200)]
    for one in spoiled:
        assert Snapshot.model_validate_json(one.model_dump_json()) == one
    assert sum(one != WEDGED for one in spoiled) > 150
    for name, before in references(WEDGED).items():
        after = [references(one)[name] for one in spoiled]
        assert any(len(held) == len(before) and held != before for held in after), name
    owners = [({lock.owner for lock in one.locks}, {task.pid for task in one.tasks}) for one in spoiled]
    assert any(held - there - {None} for held, there in owners), "an owner that is not there"
    assert any(131 in held for held, _ in owners), "the waiter as the owner"
