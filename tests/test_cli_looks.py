"""A look into a guest as it is shown on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from rich.console import Console

from testbed.cli import looks
from testbed.snapshot import Request
from tests.test_waitfor import FIRST_NS, REQUEST, look


def shown(*requests: Request) -> str:
    console = Console(width=200)
    with console.capture() as told:
        console.print(looks.snapshot(look(1, FIRST_NS, requests=requests)))
    return told.get()


@pytest.mark.parametrize(
    ("slots", "spans"),
    [
        ((), "of 0 swap slots"),
        ((40, 12, 13, 14), "12-14, 40"),
        (tuple(range(0, 40, 2)), "0, 2, 4, 6, 8, 10, ..."),
    ],
)
def test_the_slots_of_a_request_are_told_by_spans(slots: Sequence[int], spans: str) -> None:
    assert spans in shown(REQUEST.model_copy(update={"swap_slots": tuple(slots)}))


def test_who_waits_for_whom_is_told() -> None:
    told = shown(REQUEST)
    assert "closed cycle" in " ".join(told.split())
    assert "One look proves nothing" in told
