"""The playbook of docs/extending.md on real guests, with the transport, load and fault of that page."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed import history, store
from testbed.cli.exits import Exit
from testbed.judge.values import read_verdict
from tests import newcomer
from tests.commands import testbed

pytestmark = [pytest.mark.vm, pytest.mark.nightly]


@pytest.mark.timeout(600)
def test_the_pages_playbook_is_played_and_judged(tmp_path: Path) -> None:
    playbook, into = tmp_path / "scan.toml", tmp_path / "cells"
    playbook.write_text(newcomer.files()["playbooks/scan.toml"])
    with newcomer.dropped_in(tmp_path):
        argv = ["run", str(playbook), "-k", "stock", "--controls", "--into", str(into), "--quiet"]
        done = testbed(*argv)
    assert done.exit_code == Exit.MET, done.output
    cells = {read.name: read for read in into.glob("scan-*/") if (read / store.VERDICT).exists()}
    (main,) = [path for name, path in cells.items() if "heard" not in name]
    assert len(cells) == 2
    assert read_verdict(main).outcome in ("recovered", "slow")
    recorded = history.read(main / store.HISTORY)
    applied, reverted = (recorded.first(f"fault.{what}") for what in ("applied", "reverted"))
    assert applied is not None and reverted is not None
    assert applied.fields["read_back"] is True and reverted.fields["read_back"] is True
    passed = recorded.growth("wire/swap.requests.delivered_packets", applied.t_ns, reverted.t_ns)
    offered = recorded.growth("wire/swap.requests.offered_packets", applied.t_ns, reverted.t_ns)
    assert not passed and offered
