"""The sandbox's life: quick to make, and gone with its holder, whatever happens to that."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from testbed import paths, proc
from testbed.clock import Deadline, now_ns, poll
from testbed.errors import TestbedError, TestbedFault, UsageError
from testbed.machines import registry
from testbed.machines.hypervisor import Hypervisor
from testbed.machines.sandbox import Sandbox
from tests.namespace.conftest import inside

pytestmark = pytest.mark.namespace

ROOT = Path(__file__).parent.parent.parent
HOLDER = """
import sys, time
from testbed.machines.sandbox import Sandbox
with Sandbox(shm_bytes=64 << 20, what="to be killed") as sandbox:
    sandbox.broker.make_link("br-data")
    if sys.argv[1] == "keep":
        sandbox.keep()
    else:
        open(sys.argv[2], "w").write(sandbox.id)
        time.sleep(60)
open(sys.argv[2], "w").write(sandbox.id)
"""


def processes_naming(text: str) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if text.encode() in words:
            found.append(int(entry.name))
    return found


def test_it_is_ready_soon_and_leaves_nothing() -> None:
    begin = now_ns()
    with Sandbox(shm_bytes=64 << 20) as sandbox:
        assert (now_ns() - begin) / 1e9 < 5  # 0.3 s on an idle machine
        assert sandbox.broker.status()["libvirtd"]
        assert sandbox.id in {record.id for record in registry.labs()}
        with Hypervisor(sandbox.libvirt_uri) as hypervisor:
            assert hypervisor.domains() == {}
            assert "libvirt" in hypervisor.version
        assert "br-data" not in inside(sandbox, "cat", "/proc/net/dev")
    assert not sandbox.folder.exists()
    assert processes_naming(sandbox.id) == []
    sandbox.close()


def test_shared_memory_is_handed_out_and_private() -> None:
    with Sandbox(shm_bytes=64 << 20) as sandbox:
        mine, again = sandbox.broker.make_shared("page", 4096), sandbox.broker.shared_memory("page")
        os.pwrite(mine, b"hello", 8)
        assert os.pread(again, 5, 8) == b"hello"
        os.close(mine)
        os.close(again)
        assert not Path("/dev/shm/page").exists()
        for bad in ("../etc/passwd", "a/b", "", ".."):
            with pytest.raises(TestbedFault):
                sandbox.broker.shared_memory(bad)


def test_a_lab_that_cannot_start_says_why_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = Sandbox(shm_bytes=-1)
    with pytest.raises(TestbedError, match="tmpfs"), sandbox:
        pass
    assert not sandbox.folder.exists()


def start_holder(tmp_path: Path, deed: str) -> tuple[int, str]:
    said = tmp_path / "id"
    argv = [sys.executable, "-c", HOLDER, deed, str(said)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    pid = os.posix_spawn(sys.executable, argv, environment)
    poll(lambda: said.exists() and len(said.read_text()) == 8, Deadline.after(20, "a lab in another process"))
    return pid, said.read_text()


def test_a_killed_holder_takes_its_lab_along(tmp_path: Path) -> None:
    pid, lab_id = start_holder(tmp_path, "hold")
    (record,) = (record for record in registry.labs() if record.id == lab_id)
    assert record.held
    assert registry.gc() == ()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    poll(lambda: not processes_naming(lab_id), Deadline.after(5, "the end of the lab"))
    registry.gc()
    assert not record.folder.exists()


def test_gc_ends_what_lives_on_without_its_holder(tmp_path: Path) -> None:
    pid, lab_id = start_holder(tmp_path, "keep")
    os.waitpid(pid, 0)
    attached = registry.attach(lab_id)
    assert attached.broker.status()["libvirtd"]
    dead = registry.Record(lab_id, "1:1", attached.record.sandbox)
    dead.save(attached.folder)
    assert lab_id in registry.gc()
    assert not attached.folder.exists()
    assert processes_naming(lab_id) == []


def test_a_kept_lab_outlives_its_maker_and_can_be_ended(tmp_path: Path) -> None:
    pid, lab_id = start_holder(tmp_path, "keep")
    os.waitpid(pid, 0)
    attached = registry.attach(lab_id[:5])
    assert attached.record.id == lab_id
    assert attached.record.what == "to be killed"
    assert registry.gc() == ()
    attached.end()
    assert not attached.folder.exists()
    assert proc.run_id(int(attached.record.sandbox.partition(":")[0])) != attached.record.sandbox
    with pytest.raises(UsageError):
        registry.attach(lab_id)


def test_gc_removes_half_made_and_foreign_folders() -> None:
    half = paths.labs_dir() / ".1:1.deadbeef"
    half.mkdir()
    assert registry.gc() == (half.name,)
    assert not half.exists()


@pytest.mark.becomes_ordinary
def test_all_of_this_as_an_ordinary_user(tmp_path_factory: pytest.TempPathFactory) -> None:
    home = Path("/tmp") / f"testbed-nobody-{os.getpid()}"
    home.mkdir()
    os.chown(home, 65534, 65534)
    become = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    paths_of_ours = ":".join([str(ROOT), *(entry for entry in sys.path if "site-packages" in entry)])
    environment = {"HOME": str(home), "PYTHONPATH": paths_of_ours, "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= dict.fromkeys(
        ("XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "TESTBED_RUNTIME", "TESTBED_CACHE"), ""
    )
    readable = [
        name
        for name in (sys.executable, "/usr/bin/python3")
        if proc.run(
            # What it runs itself it must reach by its own rights: setpriv still has root's as it execs.
            [*become, "/usr/bin/env", name, "-c", "import pytest, testbed.machines.sandbox"],
            timeout_s=30,
            check=False,
            env=environment,
        ).status
        == 0
    ]
    if not readable:
        home.rmdir()
        pytest.skip(f"an ordinary user may not read {ROOT} or run its Python: clone where others may read")
    tests = [
        "-m",
        "namespace",
        "-p",
        "no:cacheprovider",
        "-q",
        f"--basetemp={home}/tmp",
        str(Path(__file__).parent),
    ]
    try:
        proc.run([*become, readable[0], "-m", "pytest", *tests], timeout_s=300, cwd=ROOT, env=environment)
    finally:
        proc.run(["rm", "-rf", str(home), "/tmp/testbed-65534"], timeout_s=10)
