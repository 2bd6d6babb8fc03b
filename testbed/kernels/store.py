"""Owns the kernel cache: folders by content, built once, published whole, dropped oldest first."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import TestbedFault
from testbed.proc import ProcessFailed

_FULL = ("No space left on device", "Wrote only ")
"""tar says the second of the file in the middle of which the disk was full."""


def _chmod_and_retry(function: Callable[[str], object], path: str, _: object) -> None:
    """overlayfs leaves a work folder with no permissions at all."""
    for each in (Path(path).parent, Path(path)):
        with contextlib.suppress(OSError):
            if not each.is_symlink():
                each.chmod(stat.S_IRWXU)
    if Path(path).is_dir() and not Path(path).is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            function(path)


def remove(path: Path) -> None:
    """Removes a folder, whatever permissions overlayfs left in it."""
    shutil.rmtree(path, onerror=_chmod_and_retry)


def size_bytes(folder: Path) -> int:
    """The space a folder takes on its disk."""
    total = 0
    for parent, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                total += (Path(parent) / name).lstat().st_blocks * 512
    return total


@dataclass(frozen=True, slots=True)
class Store:
    """Folders of one kind under `root`: `root/DIGEST` is whole or is not there.

    Beside it: `root/.lock/DIGEST` (flock) and `root/.new/DIGEST.*` (half-built).
    """

    root: Path

    def folder(self, digest: str) -> Path:
        return self.root / digest

    @contextlib.contextmanager
    def locked(self, digest: str, *, shared: bool = False, wait: bool = True) -> Iterator[bool]:
        """Holds the lock of one entry; yields False if it is taken and we shall not wait."""
        path = self.root / ".lock" / digest
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            try:
                mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
                fcntl.flock(file, mode if wait else mode | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    def touch(self, digest: str) -> None:
        """Notes that an entry was used now."""
        with contextlib.suppress(OSError):
            os.utime(self.folder(digest))

    def obtain(self, digest: str, make: Callable[[Path], None], waiting: Callable[[], None]) -> Path:
        """The folder of `digest`, made by `make(temporary folder)` if it is not there.

        Of two that ask at once one makes it and the other waits, having called `waiting`. A `make`
        that fails leaves nothing.
        """
        folder = self.folder(digest)
        if not folder.is_dir():
            with contextlib.ExitStack() as stack:
                if not stack.enter_context(self.locked(digest, wait=False)):
                    waiting()
                    stack.enter_context(self.locked(digest))
                if not folder.is_dir():
                    self._make(digest, make)
        self.touch(digest)
        return folder

    def _make(self, digest: str, make: Callable[[Path], None]) -> None:
        new = self.root / ".new"
        new.mkdir(parents=True, exist_ok=True)
        self._clear(digest)
        temporary = Path(tempfile.mkdtemp(prefix=f"{digest}.", dir=new))
        try:
            made = temporary / "made"
            made.mkdir()
            make(made)
            made.rename(self.folder(digest))
        except (OSError, ProcessFailed) as error:
            if isinstance(error, ProcessFailed) and not any(text in str(error) for text in _FULL):
                raise
            raise TestbedFault(
                f"the kernel cache cannot be written: {error}", hint="free space, or set TESTBED_CACHE"
            ) from error
        finally:
            remove(temporary)

    def _clear(self, digest: str) -> None:
        """Drops what a killed build of this entry left; the lock is ours."""
        for stale in (self.root / ".new").glob(f"{digest}.*"):
            remove(stale)

    def entries(self) -> list[tuple[float, Path]]:
        """(last use, folder) of all entries, oldest first."""
        if not self.root.is_dir():
            return []
        found = [path for path in self.root.iterdir() if path.is_dir() and not path.name.startswith(".")]
        return sorted((path.stat().st_mtime, path) for path in found)

    def drop(self, digest: str) -> bool:
        """Removes an entry unless somebody holds its lock."""
        with self.locked(digest, wait=False) as ours:
            if not ours:
                return False
            folder = self.folder(digest)
            grave = self.root / ".new" / f"{digest}.dropped-{time.monotonic_ns()}"
            grave.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                folder.rename(grave)
            self._clear(digest)
            return True

    def sweep(self) -> None:
        """Drops what killed builds left."""
        for stale in sorted((self.root / ".new").glob("*.*")):
            with self.locked(stale.name.partition(".")[0], wait=False) as ours:
                if ours:
                    remove(stale)
