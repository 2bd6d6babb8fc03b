"""The builder from end to end, on a tree that is built as a kernel's is, but has one file.

What it makes, twice the same; what it says of a patch that does not compile; what a full disk leaves.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from testbed import kernels, proc
from testbed.errors import BuildError
from testbed.kernels import builder, compile, record, workspace
from testbed.kernels.progress import Progress, silent
from tests.test_kernels_sets import make_set

pytestmark = [
    pytest.mark.namespace,
    pytest.mark.skipif(
        not all(map(shutil.which, ("make", "gcc", "lz4", "patch"))),
        reason="run 'make setup': a compiler is needed",
    ),
]
# Like scripts/mkcompile_h of 6.1 it puts the time into the kernel, unless one is given.
MAKEFILE = """\
VERSION = 6
PATCHLEVEL = 1
SUBLEVEL = 7
all: bzImage
tinyconfig:
\t@printf 'CONFIG_SLUB=y\\n' > .config
olddefconfig:
\t@awk '/bogus/ { print FILENAME ":" FNR ": syntax error" > "/dev/stderr"; exit 1 }' net/Kconfig
bzImage: vmlinux
\t@mkdir -p arch/x86/boot include/config
\t@objcopy -O binary -j .note.gnu.build-id -j .text vmlinux arch/x86/boot/bzImage
\t@echo '  OBJCOPY arch/x86/boot/bzImage'
\t@nm vmlinux > System.map
\t@echo 6.1.7 > include/config/kernel.release
vmlinux: net/file.o
\t@echo "char stamp[] = \\"$${KBUILD_BUILD_TIMESTAMP:-$$(date +%s.%N)}\\";" | gcc -x c -c -o stamp.o -
\t@ld -r --build-id=sha1 -o $@.o $^ stamp.o && ld --build-id=sha1 -e work -o $@ $@.o
net/file.o: net/file.c
\t@echo '  CC      $@'
\t@gcc $(KCFLAGS) -Wall -g -c -o $@ $<
"""
SOURCE = "int work(int x)\n{\n\tint y = x;\n\n\ty = y + 1;\n\treturn y;\n}\n"
PATCH = """\
--- a/net/file.c
+++ b/net/file.c
@@ -3,5 +3,5 @@
 \tint y = x;
 
-\ty = y + 1;
+\t{}
 \treturn y;
 }}
"""


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "linux"
    (folder / "net").mkdir(parents=True)
    (folder / "Makefile").write_text(MAKEFILE)
    (folder / "net/file.c").write_text(SOURCE)
    (folder / "net/Kconfig").write_text("config NET\n")
    (tmp_path / "own.config").write_text("CONFIG_SLUB=y  # the subject\n")
    return folder


def _build(tree: Path, name: str = "stock", progress: Progress = silent) -> record.BuiltKernel:
    root = tree.parent / "sets"
    spec = kernels.resolve(f"{name}@{tree}", root)
    return kernels.build(spec, root=root, fragments=(tree.parent / "own.config",), progress=progress)


def _hash(built: record.BuiltKernel) -> str:
    return hashlib.sha256((built.folder / "bzImage").read_bytes()).hexdigest()


def test_a_set_is_built_on_its_base_and_kept(tree: Path) -> None:
    make_set(tree.parent / "sets", "twice", patches={"0001.patch": PATCH.format("y = y + y;")})
    stock, built = _build(tree), _build(tree, "twice")
    assert _hash(stock) != _hash(built) and stock.digest != built.digest
    about = record.KernelRecord.model_validate_json((built.folder / "kernel.json").read_text())
    assert about.objects == 1 and about.warnings == () and about.release == "6.1.7"
    assert "gcc" in about.compiler and {"source", "tarball", "configuration", "patches"} <= set(about.inputs)
    began = time.monotonic()
    assert _build(tree, "twice") == built
    assert time.monotonic() - began < 1.0, "what is unchanged costs nothing"


def _build_twice(tree: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[record.BuiltKernel, ...]:
    """Later, and at another place, with another cache."""
    first = _build(tree)
    monkeypatch.setenv("TESTBED_CACHE", str(tree.parent / "other/cache"))
    monkeypatch.setattr(workspace, "_PLACES", tuple(reversed(workspace._PLACES)))
    return first, _build(tree)


def test_the_same_comes_out_at_another_place_and_at_another_time(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = _build_twice(tree, monkeypatch)
    assert first.folder != second.folder and first.digest != second.digest, "built anew, elsewhere"
    assert _hash(first) == _hash(second)


@pytest.mark.parametrize("word", ["prefix-map", "KBUILD_BUILD_TIMESTAMP"])
def test_without_a_word_of_the_environment_place_or_time_would_show(
    tree: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    """What the test before rests on: the build id covers debug information, which has the path, and data."""
    plain = compile._environment

    def without(space: workspace.Workspace, ccache: Path) -> list[str]:
        return [each for each in plain(space, ccache) if word not in each]

    monkeypatch.setattr(compile, "_environment", without)
    first, second = _build_twice(tree, monkeypatch)
    assert _hash(first) != _hash(second)


def test_a_patch_that_does_not_compile_is_named_with_the_error(tree: Path) -> None:
    patches = {"0001.patch": PATCH.format("y = y + nobody;"), "0002.patch": ""}
    patches["0002.patch"] = "--- /dev/null\n+++ b/net/other.c\n@@ -0,0 +1 @@\n+int other;\n"
    make_set(tree.parent / "sets", "broken", patches=patches)
    with pytest.raises(BuildError, match=r"net/file\.c:5: .?nobody.? undeclared") as caught:
        _build(tree, "broken")
    assert caught.value.where == f"{tree.parent / 'sets/broken/0001.patch'} (it adds the line)"
    assert "log" in caught.value.hint
    assert [path for _, path in builder.kernel_store().entries()] == []
    assert not list((builder.kernel_store().root / ".new").iterdir())


def test_a_patch_that_breaks_the_configuration_is_named_with_the_error(tree: Path) -> None:
    patches = {"0001.patch": "--- a/net/Kconfig\n+++ b/net/Kconfig\n@@ -1 +1,2 @@\n config NET\n+bogus\n"}
    make_set(tree.parent / "sets", "broken", patches=patches)
    with pytest.raises(BuildError, match=r"net/Kconfig:2: syntax error") as caught:
        _build(tree, "broken")
    assert caught.value.where == f"{tree.parent / 'sets/broken/0001.patch'} (it adds the line)"


def test_a_base_that_does_not_compile_is_nobodys_patch(tree: Path) -> None:
    (tree / "net/file.c").write_text("int work(void) { return nothing; }\n")
    make_set(tree.parent / "sets", "mine", patches={"0001.patch": PATCH.format("y = y + y;")})
    with pytest.raises(BuildError, match=r"net/file\.c:1") as caught:
        _build(tree)
    assert caught.value.where == ""
    assert builder.tree_store().entries() == []


_KILLED = """\
import sys
from pathlib import Path
from testbed import kernels
tree, fragment = map(Path, sys.argv[1:])
kernels.build(kernels.resolve(f"stock@{tree}"), fragments=(fragment,))
"""


def test_a_killed_build_takes_its_compilers_with_it(tree: Path, tmp_path: Path) -> None:
    """SIGKILL lets nobody clean up: the namespaces see the end of a pipe. The next build is whole."""
    whole = (tree / "Makefile").read_text()
    slow = whole.replace("bzImage: vmlinux\n", "bzImage: vmlinux\n\t@echo begun && exec sleep 86399\n")
    assert slow != whole
    (tree / "Makefile").write_text(slow)
    (tmp_path / "killed.py").write_text(_KILLED)
    argv = [sys.executable, "-P", str(tmp_path / "killed.py"), str(tree), str(tmp_path / "own.config")]
    env = {**os.environ, **proc.package_in_reach(), "TESTBED_CACHE": str(tmp_path / "cache")}
    with subprocess.Popen(argv, env=env) as build:
        logs = builder.tree_store().root / ".log"
        _until(lambda: any("begun" in log.read_text() for log in logs.glob("*.log")), "it compiles")
        _until(lambda: any(map(_sleeps, _below(build.pid))), "what it compiles with is there")
        inside = {pid: proc.run_id(pid) for pid in _below(build.pid)}
        build.kill()
    _until(
        lambda: not any(proc.run_id(pid) == name for pid, name in inside.items() if name), "all have ended"
    )
    for store in (builder.tree_store(), builder.kernel_store()):
        assert store.entries() == []
    (tree / "Makefile").write_text(whole)
    assert (_build(tree).folder / "bzImage").is_file()


def _until(there: Callable[[], bool], what: str) -> None:
    ends = time.monotonic() + 60.0
    while not there():
        assert time.monotonic() < ends, f"after a minute it is not so: {what}"
        time.sleep(0.02)


def _sleeps(pid: int) -> bool:
    return Path(f"/proc/{pid}/comm").read_text() == "sleep\n"


def _below(pid: int) -> set[int]:
    """All processes that came from one."""
    children = Path(f"/proc/{pid}/task").glob("*/children")
    found = {int(word) for file in children for word in file.read_text().split()}
    return found.union(*map(_below, found))


_FULL = """\
import sys
from pathlib import Path
from testbed import kernels, proc
from testbed.errors import TestbedFault
cache, tree, fragment = map(Path, sys.argv[1:])
proc.run(["mount", "-t", "tmpfs", "-o", "size=300k", "small", str(cache)], timeout_s=30)
try:
    kernels.build(kernels.resolve(f"stock@{tree}"), fragments=(fragment,))
except TestbedFault as error:
    left = [path.name for name in ("kernels", "trees") for path in (cache / name).glob("[!.]*")]
    left += [path.name for name in ("kernels", "trees") for path in (cache / name / ".new").glob("*")]
    print(f"{error} | {error.hint} | {left}")
    sys.exit(3)
"""


def test_a_full_disk_is_said_and_leaves_nothing(tree: Path, tmp_path: Path) -> None:
    # Large enough for the tarball, too small for what is made of it.
    (tree / "net/large").write_bytes(b"x" * (1 << 20))
    (tmp_path / "cache").mkdir(exist_ok=True)
    (tmp_path / "full.py").write_text(_FULL)
    argv = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        sys.executable,
        "-P",
        str(tmp_path / "full.py"),
    ]
    argv += [str(tmp_path / "cache"), str(tree), str(tmp_path / "own.config")]
    env = proc.package_in_reach() | {"TESTBED_CACHE": str(tmp_path / "cache")}
    done = proc.run(argv, timeout_s=120, env=env, check=False)
    assert done.status == 3, done.stderr
    assert "cannot be written" in done.stdout or "disk is full" in done.stdout
    assert done.stdout.strip().endswith("| []") and "free space" in done.stdout


def test_two_cores_build_two_kernels_at_once(tree: Path) -> None:
    """Nothing that one build holds is in the way of another of the same base."""
    for name in ("one", "two"):
        make_set(
            tree.parent / "sets",
            name,
            patches={"0001.patch": PATCH.format(f"y = y + {len(name)} + {ord(name[0])};")},
        )
    _build(tree)
    both = threading.Barrier(2, timeout=60)

    def progress(stage: str, _: float | None) -> None:
        if stage.startswith("applying"):
            both.wait()  # each holds all that a build holds, and goes no further without the other

    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(lambda name: _build(tree, name, progress), ("one", "two"))
    assert one.digest != two.digest and _hash(one) != _hash(two)
