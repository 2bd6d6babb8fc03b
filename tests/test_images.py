"""The guest image: how packages are named, how trees become file systems, how the cache builds once."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import threading
from pathlib import Path

import pytest

from testbed import apt, images, proc
from testbed.errors import BuildError, MissingCapability, TestbedFault, UsageError
from testbed.images import builder, filesystem, packages, programs, tree
from testbed.transports.nfs import PORT, ROOT_RETRANS, ROOT_TIMEO_S

TOOLS = f"{os.environ['PATH']}:/usr/sbin:/sbin"
needs_e2fsprogs = pytest.mark.skipif(
    shutil.which("mke2fs", path=TOOLS) is None, reason="needs mke2fs: apt-get install e2fsprogs"
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path / "cache"))


def small_tree(folder: Path, order: int = 1) -> Path:
    """A tree whose files are made in one or the other order, at another time."""
    (folder / "usr/bin").mkdir(parents=True)
    for name in ("one", "two", "three")[::order]:
        (folder / "usr/bin" / name).write_text(name * 100)
        (folder / "usr/bin" / name).chmod(0o755)
    (folder / "bin").symlink_to("usr/bin")
    return folder


def debugfs(image: Path, request: str) -> str:
    return proc.run(["debugfs", "-R", request, str(image)], timeout_s=20, env={"PATH": TOOLS}).stdout


def test_reads_what_apt_prints() -> None:
    sha256 = "ab" * 32
    file = "nbd-client_1%3a3.24-1.1_amd64.deb"
    line = f"'http://archive.example/pool/n/nbd_3.24.deb' {file} 44952 SHA256:{sha256}"
    assert packages.parse_uris(line) == (packages.Package("nbd-client", "1:3.24-1.1", sha256, file),)


def test_a_package_without_a_strong_hash_is_refused() -> None:
    with pytest.raises(TestbedFault, match="something unexpected"):
        packages.parse_uris("'http://archive.example/a.deb' a_1_all.deb 10 MD5Sum:00")


def test_without_package_lists_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apt, "LISTS", tmp_path)
    with pytest.raises(MissingCapability) as caught:
        packages.resolve()
    assert "apt-get update" in caught.value.hint


@needs_e2fsprogs
def test_the_same_tree_makes_the_same_image(tmp_path: Path) -> None:
    hashes = []
    for order in (1, -1):
        folder = small_tree(tmp_path / f"tree{order}", order)
        filesystem.make_root(folder, tmp_path / "image")
        hashes.append(hashlib.sha256((tmp_path / "image").read_bytes()).hexdigest())
        (tmp_path / "image").unlink()
    assert hashes[0] == hashes[1]


@needs_e2fsprogs
def test_files_in_the_image_belong_to_root(tmp_path: Path) -> None:
    filesystem.make_root(small_tree(tmp_path / "tree"), tmp_path / "image")
    status = debugfs(tmp_path / "image", "stat /usr/bin/one")
    assert "User:     0   Group:     0" in status
    assert "Mode:  0755" in status
    assert debugfs(tmp_path / "image", "cat /usr/bin/one") == "one" * 100
    argv = ["e2fsck", "-fn", str(tmp_path / "image")]
    checked = proc.run(argv, timeout_s=20, env={"PATH": TOOLS}, check=False)
    assert checked.status == 0, checked.stdout


@needs_e2fsprogs
def test_own_images_are_checked(tmp_path: Path) -> None:
    filesystem.make_root(small_tree(tmp_path / "tree"), tmp_path / "image")
    with pytest.raises(UsageError, match="has no /usr/lib/testbed/init"):
        images.build(tmp_path / "image")
    (tmp_path / "text").write_text("no file system")
    with pytest.raises(UsageError, match="is no ext4 file system"):
        images.build(tmp_path / "text")
    with pytest.raises(UsageError, match="no such image"):
        images.build(tmp_path / "nothing")


@needs_e2fsprogs
def test_own_tree_gets_our_programs_and_stays_as_it_was(
    tmp_path: Path, agent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "compile_agent", lambda output: shutil.copy(agent, output))
    own = small_tree(tmp_path / "own")
    with pytest.raises(UsageError, match="busybox"):
        images.build(own)
    (own / "usr/bin/busybox").write_text("not really")
    before = sorted(own.rglob("*"))
    built = images.build(own)
    assert "Inode:" in debugfs(built.root, "stat /usr/lib/testbed/init")
    assert "Inode:" in debugfs(built.root, "stat /usr/lib/testbed/agent")
    assert "Inode:" in debugfs(built.root, "stat /overlay")
    assert sorted(own.rglob("*")) == before
    assert images.build(own) == built
    assert images.build(built.root).root.resolve() == built.root.resolve()


def test_two_builders_of_one_image_build_it_once(tmp_path: Path) -> None:
    builds, inside = [], threading.Event()

    def build() -> None:
        with builder._building("digest") as work:
            if work is not None:
                builds.append(work)
                inside.set()
                (work / builder.MANIFEST).write_text("{}")

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert inside.is_set() and len(builds) == 1
    assert (builder.images_dir() / "digest" / builder.MANIFEST).exists()


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), builder._building("digest") as work:
        assert work is not None
        (work / "half").write_text("half")
        raise RuntimeError
    assert [p.name for p in builder.images_dir().iterdir()] == [".digest.lock"]


def test_a_missing_library_is_named(tmp_path: Path) -> None:
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / tree.LIBRARIES).mkdir(parents=True)
    shutil.copy("/bin/ls", tmp_path / "usr/bin/ls")
    with pytest.raises(TestbedFault, match=r"no package brings: .*libc\.so\.6"):
        tree.close_libraries(tmp_path)


def test_an_agent_that_does_not_compile_quotes_gcc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "main.c").write_text("int main(void) { return nothing; }\n")
    monkeypatch.setattr(programs, "SOURCES", tmp_path)
    with pytest.raises(BuildError, match="'nothing' undeclared"):
        programs.compile_agent(tmp_path / "agent")


@pytest.mark.parametrize(
    "name", [*programs.SCRIPTS, programs.THIN_INIT, "writer.c", "witness.h", "preload/no-dh.c"]
)
def test_another_program_is_another_image(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(programs.SOURCES, tmp_path / "guest")
    monkeypatch.setattr(programs, "SOURCES", tmp_path / "guest")
    before = programs.digest()
    with (tmp_path / "guest" / name).open("a") as file:
        file.write("\n")
    assert programs.digest() != before


@pytest.mark.vm
def test_the_whole_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real packages, from the user's cache or from the archive."""
    monkeypatch.delenv("TESTBED_CACHE")
    built = images.build()
    manifest = json.loads((built.folder / builder.MANIFEST).read_text())
    names = {package["name"] for package in manifest["packages"]}
    assert {"nbd-server", "dropbear-bin", "e2fsprogs"} <= names
    ours = (
        "usr/lib/testbed/agent",
        "usr/lib/testbed/no-dh.so",
        "usr/lib/testbed/daemon.so",
        "usr/lib/testbed/kernel-conf",
    )
    servers = ("usr/bin/qemu-nbd", "usr/bin/nbdkit", f"{tree.LIBRARIES}/nbdkit/plugins/nbdkit-file-plugin.so")
    clients = ("usr/sbin/nbd-client", "usr/sbin/iscsid", "usr/sbin/iscsiadm")
    local = ("usr/bin/bindfs", "usr/sbin/dmsetup", "usr/sbin/losetup")
    for name in (*local, "usr/sbin/dropbear", "usr/sbin/mke2fs", *clients, *servers, *ours):
        assert "Type: regular" in debugfs(built.root, f"stat /{name}")
    assert 'Fast link dest: "busybox"' in debugfs(built.root, "stat /usr/bin/awk")
    assert built.root.stat().st_size < 56 << 20


def test_a_thin_client_asks_for_its_root_where_no_swap_is_served() -> None:
    """Mounts of one address and port share a connection, and what is counted there."""
    asked = re.search(r"\bport=(\d+)", (programs.SOURCES / "thin-init").read_text())
    serves = (programs.SOURCES / "nfs-serve").read_text()
    assert asked is not None and int(asked[1]) != PORT
    assert f"access=ro,fsid=1 port={asked[1]} " in serves and f"listen {asked[1]}\n" in serves
    assert f"\nport={PORT}\n" in serves


def test_the_timers_that_are_declared_of_a_root_are_those_that_it_is_mounted_with() -> None:
    lines = (programs.SOURCES / "thin-init").read_text().splitlines()
    (options,) = (line.removeprefix("options=").split(",") for line in lines if line.startswith("options="))
    declared = {f"timeo={ROOT_TIMEO_S * 10:g}", f"retrans={ROOT_RETRANS}"}  # in tenths of a second, nfs(5)
    assert declared | {"hard", "vers=3", "proto=tcp"} <= set(options)
