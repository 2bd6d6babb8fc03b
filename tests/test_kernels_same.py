"""The same inputs give the same kernel, bit for bit, on another path and another day."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from testbed import kernels
from testbed.kernels import naming, source, workspace

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.timeout(5400),  # a base is compiled, with nothing at hand
    pytest.mark.skipif(
        not list(source.SOURCES.glob("linux-source-6.1.tar.*")),
        reason="no source of 6.1 on this host: apt-get install linux-source-6.1",
    ),
]


def test_a_kernel_is_the_same_on_another_path_and_another_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of this host's cache, whenever it was built, and one compiled elsewhere, without its ccache."""
    spec = naming.resolve("complete-rx")
    ours = kernels.build(spec)
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path / "another/and/longer"))
    monkeypatch.setattr(workspace, "_PLACES", tuple(reversed(workspace._PLACES)))
    anew = kernels.build(spec)
    assert ours.digest != anew.digest, "the place is one of its inputs"
    kept = [hashlib.sha256((one.folder / "bzImage").read_bytes()).hexdigest() for one in (ours, anew)]
    assert kept[0] == kept[1]
