"""One known answer on real guests: a server that lies is found out, by the command that people call."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from testbed import history, store
from testbed.cli.exits import Exit
from testbed.judge.values import read_verdict
from tests.commands import testbed

pytestmark = pytest.mark.vm


def test_a_lying_server_is_found_out_and_the_matrix_kept(tmp_path: Path) -> None:
    done = testbed("selftest", "--only", "lying-server", "--into", str(tmp_path), "--quiet")
    assert done.exit_code == Exit.MET, done.output
    told = json.loads((tmp_path / "matrix.json").read_text())
    assert told["matrix"] == {"lying-server": {"corrupt": 1}}
    assert (told["right"], told["judged"], told["not_done"]) == (1, 1, 0)
    assert "1 of 1 answers right" in (tmp_path / "matrix.txt").read_text()
    folder = tmp_path / told["cells"][0]["folder"]
    assert (folder / store.REPORT).exists()
    wrong = next(f for f in read_verdict(folder).findings if f.detector == "integrity")
    assert 0 < wrong.numbers["wrong_pages"] <= 64
    reverted = history.read(folder / store.HISTORY).first("fault.reverted", "bitflip")
    assert reverted is not None and reverted.fields["read_back"] is True
