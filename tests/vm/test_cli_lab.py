"""The command line on real guests: a lab by hand, an interrupted cell, a full disk, a kernel that is none."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from testbed import history, kernels, store
from testbed.cli import inputs
from testbed.cli.exits import Exit
from testbed.clock import Deadline, poll
from testbed.kernels import BuiltKernel
from testbed.model import KernelSpec, Plan, PlannedMachine
from testbed.run import lab
from tests import commands
from tests.vm.test_faults import PLAYBOOK

pytestmark = pytest.mark.vm

TESTBED = (sys.executable, "-P", "-m", "testbed")
ENDS_WITHIN_S = 10.0
BOOT_S = 8.0
"""Enough for B and C, which A's failure is held against; it is 20 s under TCG."""


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


RINGS = {("data", "e1000e", 64), ("mgmt", "8139cp", 64)}
IN_THE_SHELL = """\
import time
print(look().release)
before = prog["jiffies"].value_()
time.sleep(1)
print("went on", prog["jiffies"].value_() > before)
"""


def _a_look_leaves_the_lab_as_it_was() -> None:
    for live in ((), ("--live",)):
        inspected = testbed("inspect", "A", "--json", *live)
        assert inspected.returncode == Exit.MET, inspected.stderr
        (look,) = json.loads(inspected.stdout)
        assert look["release"].startswith("6.1") and not look["missing"]
        assert {(nic["name"], nic["driver"], nic["ring"]) for nic in look["nics"]} == RINGS
        assert any(task["holds_sockets"] and task["stack"] for task in look["tasks"])
    shell = subprocess.run(
        [*TESTBED, "inspect", "A", "--drgn"], input=IN_THE_SHELL, capture_output=True, text=True, timeout=60
    )
    assert shell.returncode == 0 and "6.1" in shell.stdout and "went on True" in shell.stdout, shell.stderr
    gdb = subprocess.run(
        [*TESTBED, "inspect", "A", "--gdb"],
        input="set confirm off\nbt 3\nprint jiffies\ndetach\nquit\n",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert gdb.returncode == 0 and "$1 = " in gdb.stdout, gdb.stdout + gdb.stderr
    assert testbed("ssh", "A", "--", "true").returncode == 0, "A goes on when gdb is gone"
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


REBOOT = PLAYBOOK.replace("FAULT", 'fault = "reboot"\nmachine = "C"\nfor = "1s"')
"""Healing waits for C's boot, which takes some seconds: in the midst of that it is interrupted."""


def test_an_interrupted_cell_heals_saves_and_tears_down(runtime: Path, tmp_path: Path) -> None:
    told = interrupted(tmp_path, runtime, "flood", "--set", "memory=1.2x")
    assert "fault.reverted" in told and "fault.left" not in told


@pytest.mark.nightly
def test_an_interruption_waits_for_no_boot(runtime: Path, tmp_path: Path) -> None:
    path = tmp_path / "reboot.toml"
    path.write_text(REBOOT.replace("BACKING", "disk").replace("BOUND", "15s"))
    told = interrupted(tmp_path, runtime, str(path), after_s=2.0)
    assert "fault.left" in told and "fault.reverted" not in told


def interrupted(tmp_path: Path, runtime: Path, *words: str, after_s: float = 0.0) -> list[str]:
    """What the history tells of a cell that is interrupted so long after its fault, and ends soon."""
    into = tmp_path / "results"
    child = subprocess.Popen(
        [*TESTBED, "run", *words, "--into", str(into)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        poll(lambda: _has(into, "fault.applied"), Deadline.after(150, "the fault"))
        time.sleep(after_s)
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
    assert "interrupted" in told
    assert not (folder / store.VERDICT).exists()
    assert labs(runtime) == []
    return told


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


# --- guests that never boot: (what A's command line gets, what its console ends with)

NEVER = {
    # 6.1, init/main.c kernel_init(): an init that was asked for and can not be run is a panic.
    "panics": (" init=/none", "Requested init /none failed"),
    # What follows the dashes are init's arguments.
    "hangs": (" init=/usr/lib/testbed/busybox -- sleep 100000", "as init process"),
}


@pytest.mark.parametrize("how", NEVER)
def test_a_kernel_under_test_that_never_boots(
    how: str, runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more, last = NEVER[how]
    plain = lab._cmdline

    def cmdline(plan: Plan, machine: PlannedMachine, kernel: BuiltKernel) -> str:
        return plain(plan, machine, kernel) + (more if machine.name == plan.judging.subject else "")

    monkeypatch.setattr(lab, "_cmdline", cmdline)
    if how == "hangs":
        monkeypatch.setattr(lab, "READY_S", BOOT_S)
    into = tmp_path / "results"
    done = commands.testbed("run", "flood", "--into", str(into), "--quiet")
    assert done.exit_code == Exit.NOT_MET, done.output
    assert done.stderr.count("the kernel under test does not boot") == 1
    assert last in done.stderr.partition("its console ends with")[2]
    (folder,) = inputs.cell_folders(into)
    assert f"{folder / 'console-A.log'}: guest 'A'" in done.stderr
    assert not (folder / store.VERDICT).exists()
    told = [event.what for event in history.read(folder / store.HISTORY).events]
    assert told == ["cell.begin", "boot.failed"]
    assert not list(into.glob("*.unfinished-*"))
    assert labs(runtime) == []


def test_where_no_guest_boots_it_is_no_kernels_doing(
    runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lab, "DISK_ROOT", f"{lab.DISK_ROOT} init=/none")
    done = commands.testbed("up", "abc")
    assert done.exit_code == Exit.FAULT, done.output
    assert "testbed fault" in done.stderr and "Requested init /none failed" in done.stderr
    assert labs(runtime) == []


def test_what_is_no_kernel_is_refused_by_qemu(
    runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bzImage").write_bytes(b"no kernel\n" * 1000)
    plain = kernels.build

    def build(spec: KernelSpec, **how: Any) -> BuiltKernel:
        built = plain(spec, **how)
        shutil.copy(built.folder / "config", tmp_path)
        return replace(built, folder=tmp_path)

    monkeypatch.setattr(inputs.kernels, "build", build)
    done = commands.testbed("up", "abc", "--accelerator", "tcg")
    assert done.exit_code == Exit.FAULT, done.output
    assert "testbed fault" in done.stderr and "Traceback" not in done.stderr
    assert labs(runtime) == []
