"""The patches of the project by the kernel's own rules: checkpatch.pl of 6.1 finds nothing in any of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from testbed import proc
from testbed.kernels import pristine, source
from testbed.kernels.naming import PATCHES
from tests.test_kernels_sets import DIFF

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(not shutil.which("perl"), reason="no perl on this host: apt-get install perl"),
    pytest.mark.skipif(
        not list(source.SOURCES.glob("linux-source-6.1.tar.*")),
        reason="no source of 6.1 on this host: apt-get install linux-source-6.1",
    ),
]
SCRIPTS = ("checkpatch.pl", "spelling.txt", "const_structs.checkpatch")
IGNORED = {
    "FILE_PATH_CHANGES": "MAINTAINERS is not for files of patch sets",
    "UNKNOWN_COMMIT_ID": "there is no git tree beside the script",
}


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("checkpatch") / "linux"
    tree.mkdir()
    pristine.lay_out(source.find("6.1"), [f"scripts/{name}" for name in SCRIPTS], tree)
    return tree / "scripts" / SCRIPTS[0]


def found(script: Path, *patches: Path) -> str:
    argv = ["perl", str(script), "--no-tree", "--terse", "--quiet", "--no-summary", "--color=never"]
    argv += ["--ignore", ",".join(IGNORED), *map(str, patches)]
    done = proc.run(argv, timeout_s=600, env={"LC_ALL": "C"}, check=False)
    return done.stdout + done.stderr


def test_checkpatch_finds_nothing_in_the_patches_of_the_project(script: Path) -> None:
    patches = sorted(PATCHES.rglob("*.patch"))
    assert len(patches) > 40
    assert found(script, *patches) == ""


def test_what_is_wrong_would_be_found(script: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.patch").write_text(DIFF.replace("+TWO", "+        if(two) {}"))
    assert "ERROR: " in found(script, tmp_path / "bad.patch")
