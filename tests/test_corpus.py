"""The judge on real cells that are kept: each gets the verdict that it was kept with."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed import store
from testbed.judge import judge
from testbed.judge.values import Verdict, read_verdict

CORPUS = Path(__file__).parent.parent / "results" / "summaries" / "corpus"
CELLS = sorted(path for path in CORPUS.iterdir() if path.is_dir())


def test_the_corpus_has_more_than_one_outcome() -> None:
    kept = {read_verdict(cell).outcome for cell in CELLS}
    assert {
        "recovered",
        "deadlocked",
        "livelocked",
        "starved",
        "stalled",
        "oom-killed",
        "network-down",
        "io-error",
    } <= kept


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_a_kept_cell_is_judged_as_it_was(cell: Path) -> None:
    kept, again = read_verdict(cell), judge(store.read_evidence(cell))
    assert again.outcome == kept.outcome
    assert again.reason == kept.reason
    assert again.time_to_recover_s == kept.time_to_recover_s
    assert _proved(again) == _proved(kept)


def _proved(verdict: Verdict) -> tuple[str, str] | None:
    found = verdict.examination
    return None if found is None else (found.proves, found.sentence)
