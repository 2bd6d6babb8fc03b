"""Patch sets: series, paths, set.toml, conflicts, and patches that do not apply."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed import kernels
from testbed.errors import BuildError, UsageError
from testbed.kernels import applying, patchfile, patchset
from testbed.kernels.naming import PATCHES
from testbed.model import KernelSpec

GOOD = """\
title = "A set"
differs = "not at all"
bases = ["6.1"]

[[idea]]
who = "Somebody"
date = "2007-08-15"
subject = "Re: an idea"
"""
DIFF = """\
Subject: change a line

--- a/net/file.c
+++ b/net/file.c
@@ -1,3 +1,3 @@
 one
-two
+TWO
 three
"""


def make_set(root: Path, name: str, toml: str = GOOD, patches: dict[str, str] | None = None) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    patches = {"0001.patch": DIFF} if patches is None else patches
    (folder / "set.toml").write_text(toml)
    (folder / "series").write_text("".join(f"{patch}\n" for patch in patches))
    for patch, text in patches.items():
        (folder / patch).write_text(text)
    return folder


def test_series_with_comments_and_p1() -> None:
    text = "# first\n0001-a.patch\n\nbugfix/all/0002-b.patch -p1  # why\n"
    assert patchset.parse_series(text, Path("series")) == {"0001-a.patch": 2, "bugfix/all/0002-b.patch": 4}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("../evil.patch", "not a file of this folder"),
        ("/etc/passwd", "not a file of this folder"),
        ("sub/../../a.patch", "not a file of this folder"),
        ("sub//a.patch", "not a file of this folder"),
        ("./a.patch", "not a file of this folder"),
        ("sub/-p0", "not a file of this folder"),
        ("..", "not a file of this folder"),
        ("--reverse", "not a file of this folder"),
        ("a.patch -p0", "unknown option '-p0'"),
        ("a.patch\na.patch", "stands here twice"),
    ],
)
def test_series_refuses(line: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        patchset.parse_series(f"# a comment\n{line}\n", Path("series"))
    assert caught.value.where.startswith("series:")


PARTS = st.sampled_from(("..", ".", "", "a", "b.patch", "-p0", "/", "\\", "#", " ", "~", "%"))


@given(st.lists(st.lists(PARTS, max_size=6).map("/".join), max_size=6).map("\n".join))
def test_no_series_names_a_file_outside(text: str) -> None:
    try:
        names = patchset.parse_series(text, Path("series"))
    except UsageError as error:
        assert error.where.startswith("series")
        return
    for name in names:
        assert (Path("/folder") / name).resolve().is_relative_to("/folder/")
        assert name and not name.startswith(("/", "-"))


@given(st.text(alphabet="-+@ ,0123456789ab/.\n\r\\", max_size=300))
def test_reading_a_patch_ends_with_its_content_or_an_error_that_has_a_place(text: str) -> None:
    try:
        content = patchfile.read(text, Path("p"))
    except UsageError as error:
        assert error.where.startswith("p")
        return
    assert content.targets and not any(name.startswith("/") or ".." in name for name in content.targets)


def test_series_names_a_missing_patch_and_the_nearest(tmp_path: Path) -> None:
    folder = make_set(tmp_path, "mine", patches={"0001-good.patch": DIFF})
    (folder / "series").write_text("0001-god.patch\n")
    with pytest.raises(UsageError, match=r"no file '0001-god\.patch'") as caught:
        patchset.load("mine", tmp_path)
    assert "0001-good.patch" in caught.value.hint


def test_a_patch_that_is_a_link_is_refused(tmp_path: Path) -> None:
    folder = make_set(tmp_path, "mine")
    (folder / "0001.patch").rename(tmp_path / "outside")
    (folder / "0001.patch").symlink_to(tmp_path / "outside")
    with pytest.raises(UsageError):
        patchset.load("mine", tmp_path)


def test_a_huge_patch_is_refused(tmp_path: Path) -> None:
    make_set(tmp_path, "mine", patches={"0001.patch": DIFF + "x" * patchfile.MAX_PATCH_BYTES})
    with pytest.raises(UsageError, match="larger than"):
        patchset.load("mine", tmp_path)


def test_targets() -> None:
    assert patchfile.targets(DIFF, Path("p")) == ("net/file.c",)
    new = "--- /dev/null\n+++ b/net/new.c\t2007-08-15\n@@ -0,0 +1 @@\n+x\n"
    assert patchfile.targets(new, Path("p")) == ("net/new.c",)


def test_lines_of_a_hunk_are_not_headers() -> None:
    text = "--- a/x.c\n+++ b/x.c\n@@ -1,2 +1,2 @@\n--- ../../removed\n+++ ../../added\n same\n"
    assert patchfile.targets(text, Path("p")) == ("x.c",)


@pytest.mark.parametrize(
    "header",
    [
        "--- a/../../etc/passwd\n+++ b/x.c",
        "--- a/x.c\n+++ /etc/passwd",
        "--- a/x.c\n+++ x.c",
        "diff --git a/x.c b/../y.c",
        "rename from ../x",
        "diff --git a/x b/x\nnew file mode 120000\n--- /dev/null\n+++ b/x",
        "no header at all",
    ],
)
def test_patches_may_not_leave_the_tree(header: str) -> None:
    with pytest.raises(UsageError):
        patchfile.targets(header + "\n@@ -1 +1 @@\n-a\n+b\n", Path("p"))


@pytest.mark.parametrize(
    ("toml", "line", "key"),
    [
        (GOOD.replace("title", "titel"), 1, "titel"),
        (GOOD.replace('["6.1"]', '"6.1"'), 3, "bases"),
        (GOOD.replace("who =", "whom ="), 6, "idea"),
        (GOOD + "\nnonsense\n", 10, ""),
        (GOOD + '[counterfactual]\nnfs3 = ""\n', 10, "counterfactual.nfs3"),
        (GOOD + '[counterfactual]\nnfs3 = ["x"]\n', 10, "counterfactual.nfs3"),
        (GOOD + '[counterfactual]\n"N F S" = "x"\n', 10, "counterfactual"),
    ],
)
def test_set_toml_errors_name_file_line_and_key(tmp_path: Path, toml: str, line: int, key: str) -> None:
    folder = make_set(tmp_path, "mine", toml)
    with pytest.raises(UsageError) as caught:
        patchset.load("mine", tmp_path)
    where = caught.value.where
    assert where.startswith(str(folder / "set.toml"))
    assert f":{line}" in where or key == "titel" or key == "idea"
    assert key in where or key == "titel"


def test_conflicts_bases_and_repeats(tmp_path: Path) -> None:
    make_set(tmp_path, "one", GOOD.replace("[[idea]]", 'conflicts = ["two"]\n[[idea]]'))
    make_set(tmp_path, "two")
    with pytest.raises(UsageError, match="'one' conflicts with 'two'"):
        kernels.resolve("two+one", tmp_path)
    with pytest.raises(UsageError, match=r"not made for base 6\.12"):
        kernels.resolve("two@6.12", tmp_path)
    with pytest.raises(UsageError, match="named twice"):
        kernels.resolve("two+two", tmp_path)


def test_a_base_matches_by_whole_numbers(tmp_path: Path) -> None:
    make_set(tmp_path, "one")
    with pytest.raises(UsageError, match=r"not made for base 6\.10"):
        kernels.resolve("one@6.10", tmp_path)


def test_names(tmp_path: Path) -> None:
    make_set(tmp_path, "mem-reserve")
    assert kernels.resolve("stock", tmp_path).sets == ()
    assert kernels.resolve("debian", tmp_path).prebuilt
    assert kernels.resolve("mem-reserve@6.1", tmp_path).sets == ("mem-reserve",)
    with pytest.raises(UsageError, match="no kernel 'mem-reserv'") as caught:
        kernels.resolve("mem-reserv", tmp_path)
    assert "did you mean 'mem-reserve'?" in caught.value.hint
    with pytest.raises(UsageError, match="takes no patches"):
        kernels.resolve("debian+mem-reserve", tmp_path)


needs_patch = pytest.mark.skipif(not shutil.which("patch"), reason="install the Debian package patch")


@needs_patch
def test_a_patch_that_fails_names_patch_file_and_hunk(tmp_path: Path) -> None:
    tree, patch = tmp_path / "tree", tmp_path / "0001-change.patch"
    (tree / "net").mkdir(parents=True)
    (tree / "net/file.c").write_text("one\ntwo\nthree\n")
    patch.write_text(DIFF)
    applying.apply(patch.read_text(), patch, tree)
    assert (tree / "net/file.c").read_text() == "one\nTWO\nthree\n"
    (tree / "net/file.c").write_text("one\n2\nthree\n")
    with pytest.raises(BuildError) as caught:
        applying.apply(patch.read_text(), patch, tree)
    assert "hunk #1 of net/file.c (at line 1)" in str(caught.value)
    assert "0001-change.patch" in str(caught.value)
    assert sorted(path.name for path in tree.rglob("*")) == ["file.c", "net"]


@needs_patch
def test_a_patch_for_a_file_that_is_not_there(tmp_path: Path) -> None:
    patch = tmp_path / "0001-change.patch"
    patch.write_text(DIFF)
    with pytest.raises(BuildError, match="no such file") as caught:
        applying.apply(patch.read_text(), patch, tmp_path)
    assert "0001-change.patch" in str(caught.value)


# What half the kernel includes is changed only where the idea itself is a field of it.
REBUILDS = {
    "bio-throttle": {
        "include/linux/blk_types.h",
        "include/linux/blkdev.h",
    },  # what it was charged
    "memalloc-daemon": {"include/linux/sched.h", "include/linux/sched/mm.h"},  # what a task took, how deep
    "recursive-reclaim": {"include/linux/rmap.h"},  # a flag of a walk, which mm alone includes
    "recursive-reclaim-first": {"include/linux/rmap.h"},
}


@pytest.mark.parametrize("name", patchset.known(PATCHES))
def test_the_sets_of_the_project_are_sound(name: str) -> None:
    loaded = patchset.load(name, PATCHES)
    assert bool(loaded.patches) != bool(loaded.about.sets)
    assert loaded.about.license == "GPL-2.0-only"
    assert loaded.about.counters or loaded.about.sets, "every set shows that its code ran"
    own: set[str] = set()
    for patch in loaded.patches:
        text = patch.path.read_text()
        assert "\nIdea: " in text and "\nHow it differs: " in text, patch.path
        own |= {path for path in patch.touches if f"--- /dev/null\n+++ b/{path}\n" in text}
        heavy = {path for path in patch.touches if path.startswith("include/linux/")} - own
        assert heavy <= REBUILDS.get(name, set()), "rebuilds everything"


def test_a_composition_has_a_hypothesis_of_its_own_and_other_sums_have_none() -> None:
    whole = KernelSpec(base="6.1", sets=("mem-reserve", "complete-rx"))
    assert kernels.hypothesis(whole, "flood") == "recovered"
    assert kernels.hypothesis(KernelSpec(base="6.1", sets=("vanilla-2007",)), "flood") is not None
    assert (
        kernels.hypothesis(whole.model_copy(update={"sets": ("complete-rx", "mem-reserve")}), "flood") is None
    )
    assert kernels.hypothesis(whole.model_copy(update={"sets": ()}), "flood") is None
