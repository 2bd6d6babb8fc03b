"""The maker of the corpus on real guests: a console made anew shows what was done, as the kept one does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.consoles import corpus, expectation
from tests.consoles.make import kind_of, make
from tests.consoles.recipes import recipes
from tests.consoles.symptoms import OURS

pytestmark = pytest.mark.vm

NAMES = ("stock-sysrq-c", "stock-oops-null", "stock-hung", "stock-slab")


def test_consoles_made_anew_are_as_expected(tmp_path: Path) -> None:
    batch = [recipe for recipe in recipes() if recipe.name in NAMES]
    make(batch, {OURS: kind_of(OURS)}, tmp_path)
    made = {entry["console"]: entry for entry in corpus.entries(tmp_path)}
    assert set(made) == set(NAMES)
    for entry, console in corpus.consoles(tmp_path):
        assert expectation.shortfalls(entry, console) == []
    kept = {entry["console"]: entry for entry in corpus.entries()}
    for name, entry in made.items():
        assert {key: entry[key] for key in ("done", "cause", "may")} == {
            key: kept[name][key] for key in ("done", "cause", "may")
        }
