"""Owns what is kept between builds: kernels, built trees and sources, and how much of them."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from testbed.kernels import record, source, store, workspace
from testbed.kernels.record import BuiltKernel
from testbed.paths import cache_dir

DEFAULT_CACHE_BYTES = 12 << 30


def kernel_store() -> store.Store:
    return store.Store(cache_dir() / "kernels")


def tree_store() -> store.Store:
    return store.Store(cache_dir() / "trees")


def overlay_works() -> bool:
    """Whether patched kernels are built over the tree of their base, else a copy: tried beside the trees."""
    folder = Path(tempfile.mkdtemp(prefix=".overlay-", dir=cache_dir()))
    try:
        lower = folder / "lower"
        lower.mkdir()
        (lower / "Makefile").touch()
        return workspace.overlay_works(lower, folder, workspace.place(cache_dir()))
    finally:
        store.remove(folder)


def cached(digest: str) -> BuiltKernel | None:
    """The kernel of that digest if it is in the cache: nothing is built."""
    folder = kernel_store().folder(digest)
    return record.read(folder) if (folder / "kernel.json").is_file() else None


def gc(max_bytes: int = DEFAULT_CACHE_BYTES) -> tuple[Path, ...]:
    """Drops the least recently used kernels, trees and sources until all fit; returns what it dropped.

    Entries that somebody builds or holds (`held`) stay. ccache bounds itself.
    """
    stores = (kernel_store(), tree_store(), source.source_store())
    for each in stores:
        each.sweep()
    entries = sorted(
        (used, path, each, store.size_bytes(path)) for each in stores for used, path in each.entries()
    )
    total = sum(size for *_, size in entries)
    dropped = []
    for _, path, each, size in entries:
        if total <= max_bytes:
            break
        if each.drop(path.name):
            total -= size
            dropped.append(path)
    return tuple(dropped)


@contextlib.contextmanager
def held(kernel: BuiltKernel) -> Iterator[None]:
    """Keeps `gc` away from a kernel while it is in use."""
    with kernel_store().locked(kernel.digest, shared=True):
        kernel_store().touch(kernel.digest)
        yield
