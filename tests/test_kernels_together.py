"""Any two patch sets go into 6.1 together, by either order, unless one says that they conflict."""

from __future__ import annotations

from itertools import combinations

import pytest

from testbed.kernels import composing, patchset, source
from testbed.kernels.naming import DEFAULT_BASE, PATCHES

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(
        not list(source.SOURCES.glob("linux-source-6.1.tar.*")),
        reason="no source of 6.1 on this host: apt-get install linux-source-6.1",
    ),
]


def test_no_two_sets_are_in_each_others_way_without_saying_so() -> None:
    loaded = [patchset.load(name, PATCHES, DEFAULT_BASE) for name in patchset.known(PATCHES)]
    sets = [one for one in loaded if DEFAULT_BASE in one.about.bases and one.patches]
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
