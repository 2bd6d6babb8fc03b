"""Every transport with its real server and client: what is swapped over it outlives an outage whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from testbed import history, store
from testbed.cli import inputs
from testbed.cli.exits import Exit
from testbed.clock import Deadline, poll
from testbed.load import PLAYBOOKS, TOPOLOGIES
from testbed.model import Plan
from testbed.run.lab import Lab
from testbed.transports import Ends
from testbed.transports.nfs import Nfs4
from tests.commands import testbed

pytestmark = [pytest.mark.vm, pytest.mark.nightly]

OWN_DEATHS = ("nfs3", "nfs4")
"""On 6.1 these may use up the last page while all pages are read back, without a flood: docs/results.md."""
FILE_SYSTEM = Path(__file__).parent.parent / "data" / "file-system.toml"
DIRECT = 'program = "qemu-nbd"\ndirect = true\nconnections = 2'
TWO = "connections = 2"
SET = dict.fromkeys((DIRECT, TWO), ("--set", "vcpus=2"))
"""With one CPU all but one connection would be idle, which is refused."""


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("nfs3", ""),
        ("nfs3", 'proto = "udp"'),
        ("nfs4", ""),
        ("nfs4", 'version = "4.1"'),
        ("nfs4", 'version = "4.2"'),
        ("nvme-tcp", ""),
        ("iscsi", ""),
        ("nbd", DIRECT),
        ("nbd", TWO),
        ("nbd", 'program = "nbdkit"'),
        ("nbd", 'stack = ["dm", "ext4"]'),
    ],
)
def test_swap_is_in_flight_at_the_cut_and_whole_at_the_end(kind: str, keys: str, tmp_path: Path) -> None:
    flood = (PLAYBOOKS / "flood.toml").read_text()
    assert 'kind = "nbd"\n' in flood
    playbook = tmp_path / "flood.toml"
    playbook.write_text(flood.replace('kind = "nbd"\n', f'kind = "{kind}"\n{keys}\n', 1))
    into = tmp_path / "results"
    argv = ["run", str(playbook), "--kernel", "stock", "--variant", "b-silent", "--into", str(into)]
    done = testbed(*argv, *SET.get(keys, ()), "--quiet")
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


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("nfs3", ""),
        ("nfs4", ""),
        ("nbd", 'stack = ["ext4"]'),
        ("nbd", 'stack = ["loop", "ext4"]'),
        ("iscsi", 'stack = ["ext4"]'),
        ("nvme-tcp", 'stack = ["dm", "ext4"]'),
    ],
)
def test_a_file_system_is_written_to_across_an_outage(kind: str, keys: str, tmp_path: Path) -> None:
    """What the kernel makes of it is the playbook's question, not this test's: here it must only be so."""
    into, playbook = tmp_path / "results", tmp_path / "file-system.toml"
    text = FILE_SYSTEM.read_text()
    assert 'kind = "nfs3"\n' in text
    playbook.write_text(text.replace('kind = "nfs3"\n', f'kind = "{kind}"\n{keys}\n', 1))
    done = testbed("run", str(playbook), "--kernel", "stock", "--into", str(into), "--quiet")
    assert done.exit_code in (Exit.MET, Exit.INCONCLUSIVE), done.output
    folder = next(path.parent for path in into.glob(f"*/{store.VERDICT}"))
    verdict = json.loads((folder / store.VERDICT).read_text())
    assert verdict["testbed_fault"] is None and verdict["outcome"] not in ("corrupt", "crashed")
    assert all(one["met"] for one in verdict["preconditions"]), verdict["preconditions"]
    recorded = history.read(folder / store.HISTORY)
    plan = Plan.model_validate_json((folder / store.PLAN).read_text())
    end = recorded.first("judging.end")
    assert end is not None
    # 300 MiB by requests of a MiB and a quarter at the most, and no page of them by swap.
    assert sum(recorded.value_at(series, end.t_ns) or 0 for series in plan.judging.progress) >= 240
    assert not recorded.value_at("A/vmsampler.pswpout", end.t_ns)


@pytest.mark.timeout(900)
def test_a_full_disk_of_the_server_is_told_to_who_writes_a_file(tmp_path: Path) -> None:
    """300 MiB do not fit any more: WRITEs are answered with an error, and the job ends with it."""
    into, playbook = tmp_path / "results", tmp_path / "file-system.toml"
    full = FILE_SYSTEM.read_text().replace('fault = "drop"', 'fault = "disk-full"\nmachine = "C"')
    playbook.write_text(
        full.replace('between = ["A", "C"]\n', "").replace(
            'requires = ["in-flight", "still"]', "requires = []"
        )
    )
    done = testbed("run", str(playbook), "--kernel", "stock", "--into", str(into), "--quiet")
    folder = next(path.parent for path in into.glob(f"*/{store.VERDICT}"))
    verdict = json.loads((folder / store.VERDICT).read_text())
    assert done.exit_code == Exit.INCONCLUSIVE and "ended with status 1" in verdict["reason"], verdict[
        "reason"
    ]
    recorded = history.read(folder / store.HISTORY)
    for what in ("fault.applied", "fault.reverted"):
        event = recorded.first(what)
        assert event is not None and event.fields["read_back"] is True


@pytest.mark.timeout(300)
def test_a_killed_server_of_nfs_4_serves_again_with_a_grace_period(tmp_path: Path) -> None:
    plan = inputs.idle_plan(str(TOPOLOGIES / "abc.toml"), "stock", None, "auto")
    built = inputs.builder(quiet=True)(plan)
    with Lab(plan, built.kernels, built.image, tmp_path) as lab:
        nics = {name: plan.machine(name).nics for name in "AC"}
        address = {name: next(nic.address for nic in nics[name] if nic.link == "data") for name in "AC"}
        disks = {disk.name: disk.size_bytes for disk in plan.machine("C").disks}
        ends = Ends(address["A"], address["C"], "10.77.1.0/24", disks, lab.cpu_scale)
        transport, client, server = Nfs4(), lab.guests["A"], lab.guests["C"]

        def grace_ended() -> bool:
            word = server.run(["cat", "/proc/fs/nfsd/v4_end_grace"], timeout_s=ends.command_s).stdout
            return word.strip() == "Y"

        transport.serve(server, ends)
        assert grace_ended()  # nobody had anything to claim
        transport.attach(client, ends)
        transport.kill(server, ends)
        transport.revive(server, ends)
        assert not grace_ended()
        poll(grace_ended, Deadline.after(20 * lab.cpu_scale, "the end of the grace period"), every_s=0.5)
        # What is opened anew had to wait for that; the swap file was claimed, and can be read back.
        for argv in (["touch", f"{transport.mount_point}/new"], ["swapoff", "-a"]):
            client.run(argv, timeout_s=60 * lab.cpu_scale)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["nfs3", "nfs4"])
def test_a_thin_client_swaps_over_nfs_to_the_server_of_its_root(kind: str, tmp_path: Path) -> None:
    flood = (PLAYBOOKS / "flood.toml").read_text()
    playbook = tmp_path / "flood.toml"
    assert 'cmdline = "$cmdline"\n' in flood
    playbook.write_text(flood.replace('cmdline = "$cmdline"\n', 'cmdline = "$cmdline"\nroot_from = "C"\n', 1))
    into = tmp_path / "results"
    argv = ["run", str(playbook), "--kernel", "stock", "--variant", "b-silent", "--transport", kind]
    done = testbed(*argv, "--into", str(into), "--quiet")
    assert done.exit_code in (Exit.MET, Exit.NOT_MET, Exit.INCONCLUSIVE), done.output
    folder = next(path.parent for path in into.glob(f"*/{store.VERDICT}"))
    verdict = json.loads((folder / store.VERDICT).read_text())
    assert verdict["testbed_fault"] is None and verdict["outcome"] != "corrupt"
    recorded = history.read(folder / store.HISTORY)
    steady = recorded.first("steady")
    assert steady is not None
    # The swap's requests are seen, by the guest and on the wire, and those of the root are none of them.
    done_calls = recorded.value_at("A/vmsampler.rpc_data_done", steady.t_ns) or 0
    assert done_calls > 1000
    assert recorded.value_at("wire/swap.requests.delivered_packets", steady.t_ns)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("kind", "keys", "daemon"),
    [
        ("local-nbd", 'mlockall = "on-fault"\nio_flusher = true', "nbd-server"),
        ("local-nbd", 'program = "nbdkit"\nsocket = "tcp"\nbacking = "file"\nmemory_cap = "32MiB"', "nbdkit"),
        ("local-fuse", 'mlockall = "on-fault"', "bindfs"),
        ("local-ublk", 'mlockall = "on-fault"\nio_flusher = true', "ublk"),
        ("local-ublk", 'backing = "file"\ndirect = true\nmemory_cap = "32MiB"', "ublk"),
    ],
)
def test_a_daemon_of_its_own_is_what_a_machine_swaps_to(
    kind: str, keys: str, daemon: str, tmp_path: Path
) -> None:
    """What the kernel makes of it is the playbook's question, not this test's: here it must only be so."""
    local = (PLAYBOOKS / "local-daemon.toml").read_text()
    assert 'kind = "local-nbd"\n' in local
    playbook = tmp_path / "local-daemon.toml"
    playbook.write_text(local.replace('kind = "local-nbd"\n', f'kind = "{kind}"\n{keys}\n', 1))
    into = tmp_path / "results"
    argv = ["run", str(playbook), "--kernel", "stock", "--variant", "fast", "--into", str(into), "--quiet"]
    done = testbed(*argv)
    assert done.exit_code in (Exit.MET, Exit.INCONCLUSIVE), done.output
    folder = next(path.parent for path in into.glob(f"*/{store.VERDICT}"))
    verdict = json.loads((folder / store.VERDICT).read_text())
    assert verdict["testbed_fault"] is None and verdict["outcome"] not in ("corrupt", "crashed")
    assert verdict["preconditions"][0]["met"], verdict["preconditions"]
    recorded = history.read(folder / store.HISTORY)
    assert not [name for name in recorded.values if name.startswith("wire/swap")]
    looks = [json.loads(path.read_text()) for path in folder.glob("snapshot-*.json")]
    for look in looks:  # none where it went on at once
        serving = {task["pid"] for task in look["tasks"] if task["comm"].startswith(daemon[:15])}
        held = {pid for sock in look["sockets"] if sock["peer"] for pid in sock["holders"]}
        fuse = {task["pid"] for task in look["tasks"] if task["serves_fuse"]}
        assert serving & {"local-fuse": fuse, "local-nbd": held, "local-ublk": serving}[kind]
