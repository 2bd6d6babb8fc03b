"""Prebuilt kernels: which package, asked of apt once for each state of its lists; what clouds a result."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from testbed import apt, proc
from testbed.errors import MissingCapability
from testbed.kernels import BuiltKernel, KernelRecord, cmdline, prebuilt, record, voiding
from testbed.model import KernelSpec
from testbed.proc import Completed
from testbed.run import lab
from tests.histories import judging, plan_of

KNOWN = {
    "linux-image-amd64": "Version: 6.1.9-1\nDepends: linux-image-6.1.0-9-amd64 (= 6.1.9-1)\n",
    "linux-image-6.1.0-9-amd64": "Version: 6.1.9-1\n",
    "busybox-static": "Version: 1:1.35\nTag: a,\n b\nPackages-Dev: no\n",
}


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The packages that apt was asked for, on a host with one list."""
    asked: list[str] = []

    def run(argv: Sequence[str], **_: object) -> Completed:
        names = [name for name in argv[3:] if asked.append(name) is None and name in KNOWN]
        said = "\n".join(f"Package: {name}\n{KNOWN[name]}" for name in names)
        return Completed(tuple(argv), 0, said, "")

    (tmp_path / "archive_main_Packages").write_text("")
    monkeypatch.setattr(apt, "LISTS", tmp_path)
    monkeypatch.setattr(proc, "run", run)
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path / "cache"))
    return asked


def test_it_is_asked_once_for_each_state_of_the_lists(asked: list[str], tmp_path: Path) -> None:
    found = prebuilt.find()
    assert found == prebuilt.Package("linux-image-6.1.0-9-amd64", "6.1.9-1", "1:1.35")
    assert sorted(asked) == sorted(KNOWN)
    assert prebuilt.find() == found and len(asked) == len(KNOWN)
    os.utime(tmp_path / "archive_main_Packages", (1e9, 1e9))
    assert prebuilt.find() == found and len(asked) == 2 * len(KNOWN)


def test_what_is_kept_of_the_answer_may_be_broken(asked: list[str], tmp_path: Path) -> None:
    found = prebuilt.find()
    (kept,) = (tmp_path / "cache").iterdir()
    for text in ("", '{"asked": "", "package": {}}'):
        kept.write_text(text)
        assert prebuilt.find() == found
    assert len(asked) == 3 * len(KNOWN)


def test_one_that_apt_does_not_know_is_named(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(KNOWN, "busybox-static")
    with pytest.raises(MissingCapability, match="no package busybox-static") as caught:
        prebuilt.find()
    assert "apt-get update" in caught.value.hint and asked


def test_without_lists_nothing_is_asked(asked: list[str], tmp_path: Path) -> None:
    (tmp_path / "archive_main_Packages").unlink()
    with pytest.raises(MissingCapability, match="knows of no packages"):
        prebuilt.find()
    assert asked == []


# --- what of it clouds a result

CONFIG = """CONFIG_SLUB=y
CONFIG_TRANSPARENT_HUGEPAGE=y
CONFIG_LRU_GEN=y
CONFIG_ZONE_DMA=y
"""


def kernel(folder: Path, text: str, *, prebuilt: bool) -> BuiltKernel:
    spec = KernelSpec(base="debian" if prebuilt else "6.1", prebuilt=prebuilt)
    (folder / "config").write_text(text)
    if prebuilt:
        (folder / "stage1.cpio.gz").touch()
    old = ("CONFIG_TRANSPARENT_HUGEPAGE is built in: as it was said when it was built",)
    written = KernelRecord(
        spec=spec, digest="a" * 24, inputs={}, compiler="", release="6.1", confounders=old, modules=prebuilt
    )
    record.write(folder, written)
    return record.read(folder)


def test_what_the_command_line_takes_away_is_no_confounder_and_the_line_is_told(
    tmp_path: Path,
) -> None:
    debian = kernel(tmp_path, CONFIG, prebuilt=True)
    *of_config, line = debian.confounders
    assert [text.split()[0] for text in of_config] == ["CONFIG_LRU_GEN", "CONFIG_ZONE_DMA"]
    assert line.endswith(debian.cmdline)
    assert all(word in line.split() for word in (*cmdline.FOR_ALL, *cmdline.FOR_PREBUILT))


def test_it_is_booted_with_what_is_told(tmp_path: Path) -> None:
    plan = plan_of(judging())
    for prebuilt_ in (True, False):
        made = kernel(tmp_path, CONFIG, prebuilt=prebuilt_)
        words = lab._cmdline(plan, plan.machines[0], made).split()
        assert set(cmdline.words(prebuilt=prebuilt_)) <= set(words)
        (tmp_path / "stage1.cpio.gz").unlink(missing_ok=True)


def test_a_rule_is_suspended_by_its_own_word_alone() -> None:
    config = {"CONFIG_SLUB": "y", "CONFIG_TRANSPARENT_HUGEPAGE": "y"}
    assert voiding.confounders(config, ("transparent_hugepage=never",)) == ()
    assert len(voiding.confounders(config, ("transparent_hugepage=always", "nokaslr"))) == 1


def test_a_kernel_of_ours_has_none(tmp_path: Path) -> None:
    assert kernel(tmp_path, "CONFIG_SLUB=y\n", prebuilt=False).confounders == ()
