"""Which package a prebuilt kernel is: asked of apt once, and again when its lists have changed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from testbed import apt, proc
from testbed.errors import MissingCapability
from testbed.kernels import prebuilt
from testbed.proc import Completed

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
    prebuilt._find.cache_clear()
    return asked


def test_it_is_asked_once_for_each_state_of_the_lists(asked: list[str], tmp_path: Path) -> None:
    found = prebuilt.find()
    assert found == prebuilt.Package("linux-image-6.1.0-9-amd64", "6.1.9-1", "1:1.35")
    assert sorted(asked) == sorted(KNOWN)
    assert prebuilt.find() == found and len(asked) == len(KNOWN)
    os.utime(tmp_path / "archive_main_Packages", (1e9, 1e9))
    assert prebuilt.find() == found and len(asked) == 2 * len(KNOWN)


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
