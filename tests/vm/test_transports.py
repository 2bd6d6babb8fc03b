"""Every transport with its real server and client: what is swapped over it outlives an outage whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from testbed import history, store
from testbed.cli.exits import Exit
from testbed.load import PLAYBOOKS
from testbed.model import Plan
from tests.commands import testbed

pytestmark = [pytest.mark.vm, pytest.mark.nightly]

OWN_DEATHS = ("nfs3", "nfs4")
"""On 6.1 these may use up the last page while all pages are read back, without a flood: docs/results.md."""
DIRECT = 'program = "qemu-nbd"\ndirect = true\nconnections = 2'


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("nfs3", ""),
        ("nfs3", 'proto = "udp"'),
        ("nfs4", ""),
        ("nvme-tcp", ""),
        ("iscsi", ""),
        ("nbd", DIRECT),
        ("nbd", 'program = "nbdkit"'),
    ],
)
def test_swap_is_in_flight_at_the_cut_and_whole_at_the_end(kind: str, keys: str, tmp_path: Path) -> None:
    flood = (PLAYBOOKS / "flood.toml").read_text()
    assert 'kind = "nbd"\n' in flood
    playbook = tmp_path / "flood.toml"
    playbook.write_text(flood.replace('kind = "nbd"\n', f'kind = "{kind}"\n{keys}\n', 1))
    into = tmp_path / "results"
    argv = ["run", str(playbook), "--kernel", "stock", "--variant", "b-silent", "--into", str(into)]
    done = testbed(*argv, "--quiet")
    folder = next(path.parent for path in into.glob(f"*/{store.VERDICT}"))
    verdict = json.loads((folder / store.VERDICT).read_text())
    assert all(one["met"] for one in verdict["preconditions"])
    if kind in OWN_DEATHS:
        assert verdict["outcome"] != "corrupt"
    else:
        assert done.exit_code == Exit.MET, done.output
        assert verdict["outcome"] == "recovered"
    recorded = history.read(folder / store.HISTORY)
    plan = Plan.model_validate_json((folder / store.PLAN).read_text())
    carried = plan.judging.progress[-1]
    end = recorded.first("judging.end")
    assert end is not None
    assert recorded.first("progress.resumed") is not None
    # Some 1000 requests and more: it was this transport that the load's pages went over.
    assert (recorded.value_at(carried, end.t_ns) or 0) > 1000
