"""The command line on real guests: a lab by hand, an interrupted cell, a full disk, a kernel that is none."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from testbed import history, store
from testbed.cli import inputs
from testbed.cli.exits import Exit
from testbed.clock import Deadline, poll
from testbed.errors import TestbedFault
from testbed.run.lab import Lab

pytestmark = pytest.mark.vm

TESTBED = (sys.executable, "-P", "-m", "testbed")
ENDS_WITHIN_S = 10.0


@pytest.fixture
def runtime(short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for labs that is this test's alone."""
    monkeypatch.setenv("TESTBED_RUNTIME", str(short_folder))
    return short_folder


def testbed(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*TESTBED, *words], capture_output=True, text=True, timeout=180)


testbed.__test__ = False  # type: ignore[attr-defined]


def labs(runtime: Path) -> list[str]:
    return sorted(path.name for path in (runtime / "labs").iterdir())


def test_a_lab_by_hand(runtime: Path) -> None:
    up = testbed("up", "abc", "--json")
    assert up.returncode == Exit.MET, up.stderr
    try:
        (lab,) = labs(runtime)
        told = json.loads(up.stdout)
        assert told["id"] == lab and set(told["machines"]) == {"A", "B", "C"}
        (shown,) = json.loads(testbed("status", "--json").stdout)
        assert shown["id"] == lab
        assert shown["machines"] == {"A": "running", "B": "running", "C": "running"}
        ssh = testbed("ssh", "A", "--", "cat", "/proc/swaps", "/proc/sys/kernel/hostname")
        assert ssh.stdout.startswith("Filename") and ssh.stdout.endswith("A\n"), ssh.stderr
        assert testbed("ssh", "B", "--", "exit", "7").returncode == 7
        sysrq = testbed("console", "A", "--sysrq", "w")
        assert sysrq.returncode == Exit.MET and "Show Blocked State" in sysrq.stdout, sysrq.stderr
        _a_look_leaves_the_lab_as_it_was()
        _a_wrong_host_key_is_refused(runtime / "labs" / lab)
    finally:
        down = testbed("down", "--json")
    assert down.returncode == Exit.MET, down.stderr
    assert json.loads(down.stdout) == {"id": lab}
    assert labs(runtime) == []


def _a_look_leaves_the_lab_as_it_was() -> None:
    inspected = testbed("inspect", "A", "--json")
    assert inspected.returncode == Exit.MET, inspected.stderr
    (look,) = json.loads(inspected.stdout)
    assert look["release"].startswith("6.1") and not look["missing"]
    assert {"data", "mgmt"} <= {nic["name"] for nic in look["nics"]}
    (shown,) = json.loads(testbed("status", "--json").stdout)
    assert set(shown["machines"].values()) == {"running"}


def _a_wrong_host_key_is_refused(folder: Path) -> None:
    host = folder / "host"
    kept = host.read_text()
    kind, key = kept.split()[:2]
    host.write_text(f"{kind} {key[:-4]}AAAA\n")
    refused = testbed("ssh", "A", "--", "true")
    host.write_text(kept)
    assert refused.returncode == 255 and "ost key verification failed" in refused.stderr


def test_an_interrupted_cell_heals_saves_and_tears_down(runtime: Path, tmp_path: Path) -> None:
    into = tmp_path / "results"
    child = subprocess.Popen(
        [*TESTBED, "run", "flood", "--set", "memory=1.2x", "--into", str(into)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        poll(lambda: _has(into, "fault.applied"), Deadline.after(150, "the fault"))
        begun = time.monotonic()
        os.kill(child.pid, signal.SIGINT)
        said, _ = child.communicate(timeout=3 * ENDS_WITHIN_S)
        took_s = time.monotonic() - begun
    finally:
        child.kill()
    assert child.returncode == Exit.INTERRUPTED, said
    assert took_s < ENDS_WITHIN_S
    (folder,) = inputs.cell_folders(into)
    told = [event.what for event in history.read(folder / store.HISTORY).events]
    assert "interrupted" in told and "fault.reverted" in told
    assert not (folder / store.VERDICT).exists()
    assert labs(runtime) == []


def _has(into: Path, what: str) -> bool:
    return any(f'"{what}"'.encode() in path.read_bytes() for path in into.glob(f"*/{store.HISTORY}"))


def test_a_full_disk_is_a_fault_of_the_host(runtime: Path, tmp_path: Path) -> None:
    """Results go to a tiny file system, mounted in a namespace of the test."""
    into, kept = tmp_path / "small", tmp_path / "kept"
    into.mkdir()
    script = (
        'mount -t tmpfs -o size=120k tmpfs "$1" || exit 99; place=$1 kept=$2; shift 2; '
        '"$@" run flood --json --into "$place"; status=$?; cp -r "$place" "$kept"; exit $status'
    )
    argv = ["unshare", "-r", "-m", "sh", "-c", script, "sh", str(into), str(kept), *TESTBED]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=180)
    assert done.returncode == Exit.FAULT, done.stderr
    assert "No space left" in done.stderr and "Traceback" not in done.stderr
    assert list(kept.glob(f"*/{store.PLAN}")) and list(kept.glob(f"*/{store.HISTORY}"))
    assert labs(runtime) == []


def test_a_kernel_that_is_none_never_boots(runtime: Path, tmp_path: Path) -> None:
    plan = inputs.idle_plan("abc", "stock", None, "tcg")
    built = inputs.builder(quiet=True)(plan)
    (tmp_path / "bzImage").write_bytes(b"no kernel\n" * 1000)
    none = {key: replace(kernel, folder=tmp_path) for key, kernel in built.kernels.items()}
    with pytest.raises(TestbedFault) as caught, Lab(plan, none, built.image, tmp_path):
        pass
    assert caught.value.hint or caught.value.message
    assert labs(runtime) == []
