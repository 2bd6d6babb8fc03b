"""The same inputs give the same kernel, bit for bit, on another path and another day."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from testbed import kernels
from testbed.kernels import naming, source

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(
        not list(source.SOURCES.glob("linux-source-6.1.tar.*")),
        reason="no source of 6.1 on this host: apt-get install linux-source-6.1",
    ),
]


def test_a_kernel_is_the_same_on_another_path_and_another_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of this host's cache, whenever it was built, and one of a new cache, ccache and all."""
    spec = naming.resolve("complete-rx")
    found = []
    for cache in (None, tmp_path / "another/and/longer"):
        if cache is not None:
            monkeypatch.setenv("TESTBED_CACHE", str(cache))
        built = kernels.build(spec)
        assert cache is None or built.folder.is_relative_to(cache)
        files = [built.folder / "bzImage", built.folder / "vmlinux"]
        found.append([built.digest, *(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)])
    assert found[0] == found[1]
