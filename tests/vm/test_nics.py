"""NICs on real guests: each machine another model, several queues, and a larger MTU than usual."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.cli import inputs
from testbed.load import TOPOLOGIES
from testbed.run.lab import Lab

pytestmark = [pytest.mark.vm, pytest.mark.nightly]

MTU = 4096
DRIVERS = {"A": "virtio_net", "B": "e1000", "C": "8139cp"}


@pytest.mark.timeout(300)
def test_each_machine_has_the_nic_that_the_topology_gives_it(tmp_path: Path) -> None:
    text = (TOPOLOGIES / "abc-nics.toml").read_text()
    path = tmp_path / "abc-nics.toml"
    path.write_text(text.replace('.0/24"', f'.0/24"\nmtu = {MTU}', 1))
    plan = inputs.idle_plan(str(path), "stock", None, "auto")
    built = inputs.builder(quiet=True)(plan)
    with Lab(plan, built.kernels, built.image, tmp_path) as lab:

        def said(machine: str, *argv: str) -> str:
            return lab.guests[machine].run(argv, timeout_s=20 * lab.cpu_scale).stdout

        for machine, driver in DRIVERS.items():
            named = said(machine, "readlink", "/sys/class/net/data/device/driver")
            assert named.strip().endswith(f"/{driver}")
            assert said(machine, "cat", "/sys/class/net/data/mtu").strip() == str(MTU)
        queues = said("A", "ls", "/sys/class/net/data/queues").split()
        assert queues == ["rx-0", "rx-1", "tx-0", "tx-1"]
        assert said("A", "ethtool", "-l", "data").count("Combined:\t2") == 2  # as many as there may be

        # One frame each way, of a length that the usual MTU would have cut in three.
        for machine in ("B", "C"):
            _, before = lab.broker.counters()
            said("A", "ping", "-c", "1", "-s", "4000", machine)
            _, after = lab.broker.counters()
            for flow in (f"A-{machine}", f"{machine}-A"):
                frames = after[flow]["delivered_packets"] - before[flow]["delivered_packets"]
                size = after[flow]["delivered_bytes"] - before[flow]["delivered_bytes"]
                assert frames == 1 and size > 4000, (flow, frames, size)
