"""The same inputs give the same kernel, bit for bit, on another path: built twice, with nothing shared."""

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


def test_a_kernel_is_the_same_on_another_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another length of path as well; each cache folder has a compiler cache of its own."""
    spec = naming.resolve("tcp-strict")
    found = []
    for name in ("first", "second/and/longer"):
        monkeypatch.setenv("TESTBED_CACHE", str(tmp_path / name))
        built = kernels.build(spec)
        assert built.folder.is_relative_to(tmp_path / name)
        files = [built.folder / "bzImage", built.folder / "vmlinux"]
        found.append([built.digest, *(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)])
    assert found[0] == found[1]
