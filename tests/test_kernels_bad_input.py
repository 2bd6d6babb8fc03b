"""Patches and series that are wrong: what is said of each, with file and line, and what is left behind."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from testbed.errors import BuildError, TestbedFault, UsageError
from testbed.kernels import applying, blame, compile, patchfile, patchset, store
from testbed.proc import Completed, ProcessFailed
from tests.test_kernels_sets import DIFF, make_set, needs_patch

HEAD = "--- a/net/file.c\n+++ b/net/file.c\n"


# --- what is refused before anything is applied


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (HEAD.replace("\n", "\r\n") + "@@ -1 +1 @@\r\n-a\r\n+b\r\n", 1, "CR LF"),
        (HEAD + "@@ -1 +1 @@\n-a\r\n+b\r\n", 3, "CR LF"),
        (DIFF + "diff --git a/x.bin b/x.bin\nGIT binary patch\nliteral 3\n", 11, "is a binary patch"),
        (DIFF + "Binary files a/x.bin and b/x.bin differ\n", 10, "is a binary patch"),
        (HEAD + "@@ -1,3 +1,3 @@\n one\n-two\n", 3, "in the middle of a hunk"),
        (HEAD + "@@ -1,3 +1,3 @@\n one\nnonsense\n+b\n c\n", 3, "shorter than its head says"),
        ("@@ -1 +1 @@\n-a\n+b\n", 1, "a hunk of no file"),
        ("--- a/x\n+++ b/../../etc/passwd\n@@ -1 +1 @@\n-a\n+b\n", 2, "leaves the kernel tree"),
        ("diff --git a/x b/x\nnew file mode  120000\n--- /dev/null\n+++ b/x\n", 2, "symbolic link"),
        ("diff --git a/x b/x\nindex 12ab..34cd 120000\n" + DIFF, 2, "symbolic link"),
        ("diff --git a/x b/x\ndeleted file mode 120000\n--- a/x\n+++ /dev/null\n", 2, "symbolic link"),
        ("--- a/.git/hooks/x\n+++ b/.git/hooks/x\n@@ -1 +1 @@\n-a\n+b\n", 1, "leaves the kernel tree"),
    ],
)  # fmt: skip
def test_a_patch_is_refused_with_its_line(tmp_path: Path, text: str, line: int, says: str) -> None:
    folder = make_set(tmp_path, "mine")
    (folder / "0001.patch").write_bytes(text.encode())
    with pytest.raises(UsageError, match=says) as caught:
        patchset.load("mine", tmp_path)
    assert caught.value.where == f"{folder / '0001.patch'}:{line}"


def test_a_carriage_return_that_belongs_to_a_line_is_kept(tmp_path: Path) -> None:
    """A patch may add one such line to a file."""
    content = patchfile.read(HEAD + "@@ -1,2 +1,2 @@\n a\n-b\n+b\r\n", Path("p"))
    assert content.hunks[0].adds == ("b\r",)


def test_a_missing_file_is_named_with_its_line_in_the_series(tmp_path: Path) -> None:
    folder = make_set(tmp_path, "mine", patches={"0001-good.patch": DIFF})
    (folder / "series").write_text("# one\n0001-good.patch\nbugfix/0002.patch\n")
    with pytest.raises(UsageError, match=r"no file 'bugfix/0002\.patch'") as caught:
        patchset.load("mine", tmp_path)
    assert caught.value.where == f"{folder / 'series'}:3"


def test_a_folder_of_the_series_that_is_a_link_is_refused(tmp_path: Path) -> None:
    folder = make_set(tmp_path, "mine")
    (tmp_path / "outside").mkdir()
    shutil.copy(folder / "0001.patch", tmp_path / "outside/a.patch")
    (folder / "sub").symlink_to(tmp_path / "outside")
    (folder / "series").write_text("sub/a.patch\n")
    with pytest.raises(UsageError, match=r"no file 'sub/a\.patch'"):
        patchset.load("mine", tmp_path)


def test_a_series_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = "".join(f"{number}.patch\n" for number in range(patchset.MAX_PATCHES + 1))
    with pytest.raises(UsageError, match="more than"):
        patchset.parse_series(many, Path("series"))
    make_set(tmp_path, "mine", patches={"a.patch": DIFF, "b.patch": DIFF})
    monkeypatch.setattr(patchset, "MAX_SET_BYTES", len(DIFF))
    with pytest.raises(UsageError, match="larger than") as caught:
        patchset.load("mine", tmp_path)
    assert caught.value.where.endswith("series:2")


# --- what does not apply


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "tree/net").mkdir(parents=True)
    (tmp_path / "tree/net/file.c").write_text("one\ntwo\nthree\n")
    return tmp_path / "tree"


def _apply(tree: Path, text: str) -> BuildError:
    patch = tree.parent / "0001.patch"
    patch.write_text(text)
    before = {path: path.read_text() for path in tree.rglob("*") if path.is_file()}
    with pytest.raises(BuildError) as caught:
        applying.apply(patch.read_text(), patch, tree)
    assert {path: path.read_text() for path in tree.rglob("*") if path.is_file()} == before
    return caught.value


@needs_patch
def test_a_hunk_of_another_base_says_what_it_expects_and_what_there_is(tree: Path) -> None:
    (tree / "net/file.c").write_text("zero\none\n2\nthree\n")
    error = _apply(tree, DIFF)
    assert "hunk #1 of net/file.c" in error.message
    assert "it expects 'two' at line 3, where there is '2'" in error.message
    assert error.where.endswith("0001.patch:5")


@needs_patch
def test_a_fuzzy_hunk_is_refused_and_called_so(tree: Path) -> None:
    (tree / "net/file.c").write_text("uno\ntwo\nthree\n")
    error = _apply(tree, DIFF)
    assert "it would go in with fuzz 1" in error.message
    assert error.where.endswith("0001.patch:5")


@needs_patch
def test_the_second_hunk_is_told_from_the_first(tree: Path) -> None:
    lines = [f"{number}\n" for number in range(40)]
    (tree / "net/file.c").write_text("".join(lines))
    text = HEAD + "@@ -2,3 +2,3 @@\n 1\n-2\n+two\n 3\n@@ -31,3 +31,3 @@\n 30\n-thirty-one\n+x\n 32\n"
    error = _apply(tree, text)
    assert "hunk #2 of net/file.c" in error.message and "'thirty-one' at line 32" in error.message
    assert error.where.endswith("0001.patch:8")


@needs_patch
def test_a_file_that_the_base_does_not_have(tree: Path) -> None:
    error = _apply(tree, DIFF.replace("net/file.c", "net/other.c"))
    assert "no such file" in error.message and "another base" in error.hint


@needs_patch
def test_a_patch_may_not_go_through_a_link_of_the_tree(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file.c").write_text("one\ntwo\nthree\n")
    (tree / "out").symlink_to(tmp_path / "outside")
    _apply(tree, DIFF.replace("net/file.c", "out/file.c"))
    assert (tmp_path / "outside/file.c").read_text() == "one\ntwo\nthree\n"


MAKEFILE = "--- a/Makefile\n+++ b/Makefile\n@@ -1 +1 @@\n-all:\n+evil:\n"


@needs_patch
@pytest.mark.parametrize(
    "more",
    [
        "".join(f"    {line}\n" for line in MAKEFILE.splitlines()),
        "".join(f"X{line}\n" for line in MAKEFILE.splitlines()),
        "*** a/Makefile\n--- b/Makefile\n***************\n*** 1 ****\n! all:\n--- 1 ----\n! evil:\n",
        "Index: a/Makefile\n1c1\n< all:\n---\n> evil:\n",
        "    diff --git a/link b/link\n    new file mode 120000\n    --- /dev/null\n    +++ b/link\n"
        "    @@ -0,0 +1 @@\n    +/etc\n    \\ No newline at end of file\n",
    ],
    ids=["indented", "with X", "context", "normal", "link"],
)
def test_what_is_not_read_is_not_applied(tree: Path, more: str) -> None:
    """GNU patch takes each of these for a second diff; git does not, nor do we."""
    (tree / "Makefile").write_text("all:\n")
    patch = tree.parent / "0001.patch"
    patch.write_text(DIFF + more)
    try:
        assert patchfile.targets(patch.read_text(), patch) == ("net/file.c",)
    except UsageError:
        return  # refused is as well
    applying.apply(patch.read_text(), patch, tree)
    assert {path.name for path in tree.iterdir()} == {"Makefile", "net"}
    assert (tree / "Makefile").read_text() == "all:\n"
    assert (tree / "net/file.c").read_text() == "one\nTWO\nthree\n"


@needs_patch
def test_what_is_applied_is_the_patch_byte_for_byte(tree: Path) -> None:
    """Bytes that are no UTF-8, an end without a newline, an empty line for an empty context, a new mode."""
    (tree / "net/file.c").write_bytes(b"\xe9\n\ntwo")
    patch = tree.parent / "0001.patch"
    end = b"\\ No newline at end of file\n"
    patch.write_bytes(
        b"By Ren\xe9\n\ndiff --git a/net/file.c b/net/file.c\nold mode 100644\nnew mode 100755\n"
        b"index 12ab..34cd\n--- a/net/file.c\n+++ b/net/file.c\n"
        b"@@ -1,3 +1,3 @@\n-\xe9\n+\xe8\n\n-two\n" + end + b"+TWO\n" + end + b"-- \n2.39\n"
    )
    applying.apply(patch.read_bytes().decode(errors="surrogateescape"), patch, tree)
    assert (tree / "net/file.c").read_bytes() == b"\xe8\n\nTWO"
    assert (tree / "net/file.c").stat().st_mode & 0o777 == 0o755


# --- what does not compile

BROKEN = HEAD + "@@ -1,3 +1,4 @@\n one\n two\n+\treturn nobody_knows(sk);\n three\n"
OTHER = "--- a/net/other.h\n+++ b/net/other.h\n@@ -1,2 +1,1 @@\n one\n-int gone_function(void);\n"


def _sets(tmp_path: Path) -> list[patchset.PatchSet]:
    make_set(tmp_path, "first", patches={"0001.patch": BROKEN, "0002.patch": OTHER})
    make_set(tmp_path, "second", patches={"0001.patch": DIFF})
    return [patchset.load(name, tmp_path) for name in ("first", "second")]


@pytest.mark.parametrize(
    ("file", "line", "message", "patch", "why"),
    [
        ("net/file.c", "\treturn nobody_knows(sk);", "x", "first/0001.patch", "it adds the line"),
        ("net/c.c", "", "no declaration of 'gone_function'", "first/0002.patch", "with 'gone_function'"),
        ("net/file.c", "one", "expected ';' before '}'", "second/0001.patch", "the last that touches"),
    ],
)  # fmt: skip
def test_an_error_is_laid_to_the_patch_that_brought_it(
    tmp_path: Path, file: str, line: str, message: str, patch: str, why: str
) -> None:
    guilty, says = blame.blame(_sets(tmp_path), file, line, message)
    assert guilty is not None and str(guilty.path).endswith(patch)
    assert why in says


def test_nobody_is_blamed_without_a_reason(tmp_path: Path) -> None:
    assert blame.blame(_sets(tmp_path), "mm/slub.c", "x", "expected ';'") == (None, "")


# --- what is left in the cache


@pytest.mark.parametrize("says", ["x: No space left on device", "x: Wrote only 7168 of 10240 bytes"])
def test_a_full_disk_is_a_fault_and_leaves_nothing(tmp_path: Path, says: str) -> None:
    def make(folder: Path) -> None:
        (folder / "half").touch()
        raise ProcessFailed(Completed(("tar", "-x"), 2, "", f"tar: {says}"))

    with pytest.raises(TestbedFault, match="the kernel cache cannot be written") as caught:
        store.Store(tmp_path).obtain("d", make, lambda: None)
    assert "free space" in caught.value.hint
    assert store.Store(tmp_path).entries() == [] and not list((tmp_path / ".new").iterdir())


def test_a_compiler_without_space_is_not_the_patchs_fault(tmp_path: Path) -> None:
    class Full:
        path = tmp_path / "linux"

        def run(self, argv: list[str], *, log: Path, **_: object) -> Completed:
            log.write_text("  CC  a.o\nfatal error: error writing to a.s: No space left on device\n")
            return Completed(tuple(argv), 2, "", "")

    with pytest.raises(TestbedFault, match="the disk is full"):
        compile.compile_tree(Full(), tmp_path / "log", tmp_path, "x", 1, lambda *_: None)  # type: ignore[arg-type]


def _build_for_ever(root: Path) -> None:
    def make(folder: Path) -> None:
        (folder / "bzImage").write_bytes(b"half")
        (root / "begun").touch()
        time.sleep(60)

    store.Store(root).obtain("d", make, lambda: None)


def test_a_killed_build_leaves_no_half_a_kernel(tmp_path: Path) -> None:
    child = multiprocessing.get_context("fork").Process(target=_build_for_ever, args=(tmp_path,))
    child.start()
    while not (tmp_path / "begun").exists():
        time.sleep(0.01)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join(10)
    kept = store.Store(tmp_path)
    assert kept.entries() == [] and not kept.folder("d").exists()
    assert len(list((tmp_path / ".new").iterdir())) == 1, "it was killed in the middle"

    def make(folder: Path) -> None:
        (folder / "bzImage").write_bytes(b"whole")

    folder = kept.obtain("d", make, lambda: pytest.fail("nobody builds it"))
    assert (folder / "bzImage").read_bytes() == b"whole"
    assert not list((tmp_path / ".new").iterdir())
