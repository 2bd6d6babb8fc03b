"""`testbed patches check` to its end: a set in a kernel that watches itself, booted."""

from __future__ import annotations

import json

import pytest

from tests.commands import testbed

pytestmark = [pytest.mark.vm, pytest.mark.nightly]


def test_a_set_of_the_project_is_sound() -> None:
    said = testbed("patches", "check", "known-answer", "--base", "6.1", "--json")
    (row,) = json.loads(said.stdout)
    assert {step: check["ok"] for step, check in row["checks"].items()} == {
        "applies": True, "builds": True, "boots": True, "counters": True
    }, row  # fmt: skip
    assert "known-answer/planted = 0" in row["checks"]["counters"]["says"]
    assert said.exit_code == 0
