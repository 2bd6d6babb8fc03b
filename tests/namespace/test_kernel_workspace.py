"""Kernel workspaces: a tree at a fixed path, patched trees as overlays, and nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.errors import BuildError, TestbedFault
from testbed.kernels import applying, patchset, workspace
from testbed.proc import ProcessFailed
from tests.test_kernels_sets import make_set

pytestmark = pytest.mark.namespace


@pytest.fixture
def lower(tmp_path: Path) -> Path:
    tree = tmp_path / "lower"
    (tree / "net").mkdir(parents=True)
    (tree / "Makefile").touch()
    (tree / "net/file.c").write_text("one\ntwo\nthree\n")
    return tree


def _scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def test_a_patched_tree_leaves_its_base_alone(tmp_path: Path, lower: Path) -> None:
    space = workspace.clone(lower, _scratch(tmp_path), workspace.place(tmp_path))
    loaded = patchset.load(make_set(tmp_path / "sets", "one").name, tmp_path / "sets")
    applying.apply_sets(space, [loaded], lambda stage, share: None)
    assert space.run(["pwd"], timeout_s=30).stdout == f"{space.path}\n"
    assert space.run(["cat", "net/file.c"], timeout_s=30).stdout == "one\nTWO\nthree\n"
    assert (lower / "net/file.c").read_text() == "one\ntwo\nthree\n"
    assert not space.path.exists(), "the mount is ours alone"
    with pytest.raises(BuildError, match=r"net/file\.c has its first hunk already"):
        applying.apply_sets(space, [loaded], lambda stage, share: None)


def test_a_patch_that_changed_since_it_was_hashed_is_not_applied(tmp_path: Path, lower: Path) -> None:
    """The kernel bears the name of what was read before the base was built, which takes its time."""
    space = workspace.clone(lower, _scratch(tmp_path), workspace.place(tmp_path))
    loaded = patchset.load(make_set(tmp_path / "sets", "one").name, tmp_path / "sets")
    patch = loaded.patches[0].path
    patch.write_text(patch.read_text().replace("+TWO", "+2"))
    with pytest.raises(BuildError, match="has changed since"):
        applying.apply_sets(space, [loaded], lambda stage, share: None)
    assert space.run(["cat", "net/file.c"], timeout_s=30).stdout == "one\ntwo\nthree\n"


def test_where_no_overlay_can_be_mounted_the_tree_is_copied(
    tmp_path: Path, lower: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "overlay_works", lambda *_: False)
    space = workspace.clone(lower, _scratch(tmp_path), workspace.place(tmp_path))
    space.run(["rm", "net/file.c"], timeout_s=30)
    assert (lower / "net/file.c").is_file() and not space.built("net/file.c").exists()


def test_a_command_that_fails_or_takes_too_long(tmp_path: Path, lower: Path) -> None:
    space = workspace.Workspace(workspace.place(tmp_path), tree=lower)
    with pytest.raises(ProcessFailed):
        space.run(["false"], timeout_s=30)
    with pytest.raises(TestbedFault, match="longer than"):
        space.run(["sleep", "60"], timeout_s=0.5)
