"""Bases: Debian's archive and what it says when it fails; tarballs, folders and commits that a user gives."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import pytest

from testbed import kernels, proc
from testbed.errors import MissingCapability, UsageError
from testbed.kernels import archive, given, inventory, naming, patchset, source, store
from testbed.kernels.progress import silent
from tests.test_kernels_sets import make_set

MAKEFILE = "# SPDX\nVERSION = 6\nPATCHLEVEL = 6\nSUBLEVEL = 1\nEXTRAVERSION = -rc1\nNAME = x\n"
GIT = ("git", "-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main")

needs_apt = pytest.mark.skipif(not shutil.which("apt-get"), reason="no apt on this host")
needs_git = pytest.mark.skipif(not shutil.which("git"), reason="install the Debian package git")


# --- Debian's archive


def _apt(status: int, stderr: str) -> proc.Completed:
    return proc.Completed(("apt-get", "update"), status, "Hit:1 InRelease\n", stderr)


@pytest.mark.parametrize(
    ("stderr", "says"),
    [
        (
            "W: GPG error: The following signatures couldn't be verified: NO_PUBKEY 6ED0E7B82643E131\n"
            "E: The repository is not signed.\n",
            "signature of Debian's suite trixie does not hold",
        ),
        ("W: GPG error: BADSIG 6ED0E7B82643E131\n", "signature of Debian's suite trixie does not hold"),
        ("E: The repository does not have a Release file.\n", "offers no suite trixie"),
        ("E: Failed to fetch InRelease  404  Not Found\n", "offers no suite trixie"),
        ("W: Failed to fetch InRelease  Temporary failure resolving\n", "cannot be fetched"),
    ],
)
def test_what_apt_says_becomes_a_fault_with_a_remedy(stderr: str, says: str) -> None:
    with pytest.raises(MissingCapability, match=says) as caught:
        archive.judge_update(_apt(100, stderr), "trixie")
    assert caught.value.hint


def test_an_update_that_went_well_says_nothing() -> None:
    archive.judge_update(_apt(0, ""), "trixie")
    with pytest.raises(MissingCapability, match="cannot be fetched"):
        archive.judge_update(_apt(100, ""), "trixie")


def test_a_host_without_debians_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    other = proc.Completed(("apt-get",), 0, "http://example.org/ubuntu Ubuntu Ubuntu\n", "")
    monkeypatch.setattr(archive.proc, "run", lambda *_, **__: other)
    with pytest.raises(MissingCapability, match="names no archive of Debian's"):
        archive.site()


def test_without_the_keys_nothing_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "KEYRING", tmp_path / "none.gpg")
    monkeypatch.setattr(archive.proc, "run", lambda *_, **__: pytest.fail("asked apt"))
    with pytest.raises(MissingCapability) as caught:
        archive.Archive(tmp_path, "trixie").update()
    assert "debian-archive-keyring" in caught.value.hint


@needs_apt
def test_our_apt_takes_the_hosts_proxies_and_no_trust(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    dump = (
        'Acquire::http::Proxy "http://proxy.example:3128";\nAcquire::AllowInsecureRepositories "1";\n'
        'APT::Get::AllowUnauthenticated "1";\nAPT::Update::Post-Invoke:: "rm -rf /";\nAcquire::Retries "3";\n'
    )

    def run(argv: list[str], **_: object) -> proc.Completed:
        asked.append(argv[0])
        text = dump if argv[0] == "apt-config" else "http://archive.example/debian Debian Debian\n"
        return proc.Completed(tuple(argv), 0, text if argv[1] != "-q" else "", "")

    monkeypatch.setattr(archive.proc, "run", run)
    monkeypatch.setattr(archive, "KEYRING", Path(__file__))
    archive.Archive(tmp_path, "trixie").update()
    text = (tmp_path / "apt.conf").read_text()
    assert "proxy.example" in text and 'Acquire::Retries "3";' in text
    assert "Post-Invoke" not in text and '"1"' not in text
    assert text.index("Proxy") < text.index('Acquire::AllowInsecureRepositories "false";')
    sources = (tmp_path / "debian.sources").read_text()
    assert f"Signed-By: {archive.KEYRING}" in sources and "Suites: trixie\n" in sources
    monkeypatch.undo()
    said = proc.run(
        ["apt-config", "dump"], timeout_s=30, env={"APT_CONFIG": str(tmp_path / "apt.conf")}
    ).stdout
    assert "Post-Invoke" not in said, "the host's hooks are not run"
    assert f'Dir::State "{tmp_path}/state";' in said


def test_a_series_that_no_suite_has_is_mistyped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path))
    monkeypatch.setattr(source, "SOURCES", tmp_path)
    monkeypatch.setattr(source, "Archive", lambda *_: pytest.fail("asked the archive"))
    with pytest.raises(UsageError, match=r"no suite of Debian's is known to have base 6\.11") as raised:
        source.find("6.11")
    assert "did you mean '6.1'?" in raised.value.hint and "linux-source-6.11" in raised.value.hint


def test_a_cache_with_blanks_in_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "KEYRING", Path(__file__))
    monkeypatch.setattr(archive, "site", lambda: "http://archive.example/debian")
    with pytest.raises(Exception, match="apt can not work in"):
        archive.Archive(tmp_path / "a b", "trixie").update()


def test_every_series_has_a_suite() -> None:
    assert set(source.SUITES) == {"5.10", "6.1", "6.12", "7.2", "7.3"}


# --- what a user gives


def _tree(folder: Path, makefile: str = MAKEFILE) -> Path:
    (folder / "net/core").mkdir(parents=True)
    (folder / "Makefile").write_text(makefile)
    (folder / "net/core/sock.c").write_text("int sock;\n")
    (folder / ".gitignore").write_text("*.o\n")
    (folder / ".gitattributes").write_text("*.c diff=cpp\n")
    (folder / "scripts").mkdir()
    (folder / "scripts/run.sh").write_text("#!/bin/sh\n")
    (folder / "scripts/run.sh").chmod(0o755)
    (folder / "net/link").symlink_to("core/sock.c")
    return folder


def _pack(tree: Path, tarball: Path, mode: str = "w:xz") -> Path:
    with tarfile.open(tarball, mode) as tar:  # type: ignore[call-overload]
        tar.add(tree, "linux-6.6.1")
    return tarball


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> store.Store:
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path / "cache"))
    return source.source_store()


def test_a_version_is_what_the_makefile_says() -> None:
    assert inventory.version_of(MAKEFILE) == "6.6.1-rc1"
    assert inventory.version_of("VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 0\nEXTRAVERSION =\n") == "7.3.0"
    assert inventory.version_of("all:\n\tcc\n") is None
    assert inventory.version_of("VERSION = $(shell id)\nPATCHLEVEL = 3\n") is None


@needs_git
def test_one_content_is_one_base_however_it_is_given(tmp_path: Path, sources: store.Store) -> None:
    tree = _tree(tmp_path / "tree")
    names = {given.take(str(_pack(tree, tmp_path / "linux.tar.xz")), sources, silent)}
    names |= {given.take(str(_pack(tree, tmp_path / "linux.tar.gz", "w:gz")), sources, silent)}
    names |= {given.take(str(_pack(tree, tmp_path / "linux.tar", "w")), sources, silent)}
    names |= {given.take(str(tree), sources, silent)}
    for words in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "x"), ("tag", "v1")):
        proc.run([*GIT, *words], timeout_s=30, cwd=tree)
    names |= {given.take(f"git:{tree}#{name}", sources, silent) for name in ("HEAD", "v1")}
    (name,) = names
    assert name.startswith("6.6.1-rc1~") and given.NAME.fullmatch(name)
    assert len(sources.entries()) == 1
    found = source.find(name)
    assert found.version == "6.6.1-rc1" and found.tarball.is_file()
    (tree / "net/core/sock.c").write_text("int other;\n")
    assert given.take(str(tree), sources, silent) != name
    assert given.take(f"git:{tree}#HEAD", sources, silent) == name, "what is committed, no more"


def test_a_kernel_of_a_given_base_names_no_path(tmp_path: Path, sources: store.Store) -> None:
    tree = _tree(tmp_path / "tree")
    spec = naming.resolve(f"stock@{tree}")
    assert str(tmp_path) not in spec.model_dump_json()
    assert naming.resolve(f"stock@{spec.base}") == spec
    make_set(tmp_path / "sets", "mine")
    with pytest.raises(UsageError, match=r"'mine' is not made for base 6\.6\.1-rc1~"):
        kernels.resolve(f"mine@{tree}", tmp_path / "sets")


def test_what_was_given_is_not_packed_again(
    tmp_path: Path, sources: store.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = _tree(tmp_path / "tree")
    name = given.take(str(tree), sources, silent)
    monkeypatch.setattr(inventory, "read", lambda _: pytest.fail("looked through it again"))
    assert given.take(str(tree), sources, silent) == name
    monkeypatch.undo()
    monkeypatch.setenv("TESTBED_CACHE", str(sources.root.parent))
    sources.drop(sources.entries()[0][1].name)
    with pytest.raises(MissingCapability) as caught:
        source.find(name)
    assert "give it again" in caught.value.hint
    assert given.take(str(tree), sources, silent) == name


@pytest.mark.parametrize("name", [".config", "vmlinux"])
def test_a_folder_that_was_built_in_is_refused(tmp_path: Path, sources: store.Store, name: str) -> None:
    tree = _tree(tmp_path / "tree")
    (tree / name).touch()
    with pytest.raises(UsageError, match=f"there is {name}") as caught:
        given.take(str(tree), sources, silent)
    assert "make mrproper" in caught.value.hint


@needs_git
@pytest.mark.parametrize(
    ("base", "says"),
    [
        ("git:{}#nothing", "finds no commit 'nothing'"),
        ("git:{}#--output=/tmp/x", "finds no commit"),
        ("git:{}", "names no commit"),
        ("git:{}/nowhere#HEAD", "finds no commit"),
        ("./nowhere.tar.xz", "no such tarball or folder"),
    ],
)
def test_what_is_not_there(tmp_path: Path, sources: store.Store, base: str, says: str) -> None:
    tree = _tree(tmp_path / "tree")
    proc.run([*GIT, "init", "-q"], timeout_s=30, cwd=tree)
    with pytest.raises(UsageError, match=says):
        given.take(base.format(tree), sources, silent)
    assert sources.entries() == []


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


@pytest.mark.parametrize(
    ("member", "says"),
    [
        (_member("../evil"), "lies outside"),
        (_member("/etc/passwd"), "lies outside"),
        (_member("linux/../../evil"), "lies outside"),
        (_member("other/file"), "several folders"),
        (_member("linux/link", tarfile.SYMTYPE, "/etc/passwd"), "points outside"),
        (_member("linux/net/link", tarfile.SYMTYPE, "../../evil"), "points outside"),
        (_member("linux/hard", tarfile.LNKTYPE, "../evil"), "lies outside"),
        (_member("linux/pipe", tarfile.FIFOTYPE), "no file, folder or link"),
        (_member("linux/disk", tarfile.BLKTYPE), "no file, folder or link"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_a_tarball_that_reaches_outside(tmp_path: Path, member: tarfile.TarInfo, says: str) -> None:
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as tar:
        head = _member("linux/Makefile")
        head.size = len(MAKEFILE)
        tar.addfile(head, io.BytesIO(MAKEFILE.encode()))
        tar.addfile(member)
    with pytest.raises(UsageError, match=says) as caught:
        inventory.read(path)
    assert caught.value.where == str(path)


def test_a_tarball_that_is_none_or_cut_or_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "linux.tar.xz"
    path.write_bytes(b"not a tarball")
    with pytest.raises(UsageError, match="cannot be read as a tarball"):
        inventory.read(path)
    whole = _pack(_tree(tmp_path / "tree"), path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match="cannot be read as a tarball"):
        inventory.read(path)
    path.write_bytes(whole)
    monkeypatch.setattr(inventory, "MAX_MEMBERS", 3)
    with pytest.raises(UsageError, match="holds more than 3 files"):
        inventory.read(path)
    monkeypatch.undo()
    shutil.rmtree(tmp_path / "tree")
    with pytest.raises(UsageError, match="no kernel's source"):
        inventory.read(_pack(_tree(tmp_path / "tree", "all:\n"), path))


def test_a_set_may_have_a_series_of_its_own_for_a_base(tmp_path: Path) -> None:
    folder = make_set(tmp_path, "mine")
    (folder / "7.3").mkdir()
    shutil.copy(folder / "0001.patch", folder / "7.3/0001.patch")
    (folder / "series-7").write_text("0001.patch\n")
    (folder / "series-7.3").write_text("7.3/0001.patch\n")
    for base, name in (("6.1", "0001.patch"), ("7.2", "0001.patch"), ("7.3~0123456789ab", "7.3/0001.patch")):
        assert [patch.name for patch in patchset.load("mine", tmp_path, base).patches] == [name]
    assert patchset.series_for(folder, "7.30").name == "series-7"
