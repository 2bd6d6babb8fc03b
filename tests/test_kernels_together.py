"""Any two patch sets go into 6.1 together, by either order, unless one says that they conflict."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

import pytest

from testbed.kernels import composing, patchset, pristine, source
from testbed.kernels.naming import PATCHES
from testbed.model import DEFAULT_BASE

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(
        not list(source.SOURCES.glob("linux-source-6.1.tar.*")),
        reason="no source of 6.1 on this host: apt-get install linux-source-6.1",
    ),
]


def unpacked_once(files: Iterable[str], tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To decompress the whole source for each pair would take longer than all the rest."""
    pristine.lay_out(source.find(DEFAULT_BASE), files, tree)

    def lay_out(_: source.Source, wanted: Iterable[str], into: Path) -> None:
        for name in filter(lambda name: (tree / name).is_file(), wanted):
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(tree / name, into / name)

    monkeypatch.setattr(pristine, "lay_out", lay_out)


def test_no_two_sets_are_in_each_others_way_without_saying_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = [patchset.load(name, PATCHES, DEFAULT_BASE) for name in patchset.known(PATCHES)]
    sets = [one for one in loaded if DEFAULT_BASE in one.about.bases and one.patches]
    (tmp_path / "tree").mkdir()
    all_touched = {file for one in sets for patch in one.patches for file in patch.touches}
    unpacked_once(all_touched, tmp_path / "tree", monkeypatch)
    tried = 0
    for one, other in combinations(sets, 2):
        touched = [{file for patch in each.patches for file in patch.touches} for each in (one, other)]
        if {one.name, other.name} & {*one.about.conflicts, *other.about.conflicts} or not set.intersection(
            *touched
        ):
            continue
        for pair in ((one, other), (other, one)):
            found = composing.compose(pair, DEFAULT_BASE)
            assert not found.conflicts, [composing.words(conflict) for conflict in found.conflicts]
            tried += 1
    assert tried > 50
