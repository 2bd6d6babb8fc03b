"""Owns the guest image's place in the cache: by content, built once, complete or not there."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from testbed import paths, proc
from testbed.errors import UsageError
from testbed.images import filesystem, packages, programs, tree

FORMAT = 1
"""Part of the digest: raised when this code makes another image from the same inputs."""

ROOT = "root.ext4"
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """A root image that all machines of a lab share, read-only; `folder` has its manifest."""

    digest: str
    folder: Path
    root: Path


def build(own: Path | None = None) -> BuiltImage:
    """The guest image, from the cache if it is there.

    `own` is a user's in place of ours: a folder (our programs are laid over a copy of it) or an
    ext4 image that has them already (used where it is, never written to).
    """
    if own is None:
        return _build_ours()
    if own.is_dir():
        return _build_over(own)
    if not own.is_file():
        raise UsageError("no such image or folder", where=str(own))
    return _take(own)


def images_dir() -> Path:
    folder = paths.cache_dir() / "images"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _build_ours() -> BuiltImage:
    resolved = packages.resolve()
    inputs = {
        "packages": [[p.name, p.version, p.sha256] for p in resolved],
        "programs": programs.digest(),
        "tree": _source_digest(),
    }
    digest = _digest(inputs)
    with _building(digest) as work:
        if work is not None:
            tree.unpack(packages.fetch(resolved), work / "tree")
            filesystem.make_root(work / "tree", work / ROOT)
            listed = [{"name": p.name, "version": p.version, "sha256": p.sha256} for p in resolved]
            _finish(work, {"digest": digest, "packages": listed, "programs": inputs["programs"]})
    return _built(digest)


def _build_over(own: Path) -> BuiltImage:
    listing = _listing_digest(own)
    digest = _digest({"own": str(own.resolve()), "content": listing, "programs": programs.digest()})
    with _building(digest) as work:
        if work is not None:
            proc.run(["cp", "-a", "--reflink=auto", f"{own}/.", str(work / "tree")], timeout_s=600)
            _require_busybox(work / "tree", own)
            tree.add_ours(work / "tree")
            filesystem.make_root(work / "tree", work / ROOT, keep_owners=os.geteuid() == 0)
            _finish(work, {"digest": digest, "own": str(own), "programs": programs.digest()})
    return _built(digest)


def _take(own: Path) -> BuiltImage:
    filesystem.check_own(own)
    status = own.stat()
    digest = _digest({"own": str(own.resolve()), "size": status.st_size, "mtime_ns": status.st_mtime_ns})
    with _building(digest) as work:
        if work is not None:
            (work / ROOT).symlink_to(own.resolve())
            _finish(work, {"digest": digest, "own": str(own)})
    return _built(digest)


def _require_busybox(copy: Path, own: Path) -> None:
    if not (copy / "usr/bin/busybox").exists():
        raise UsageError(
            "has no usr/bin/busybox, which our init is written for",
            where=str(own),
            hint="put busybox-static, dropbear-bin, iproute2 and ethtool into the tree",
        )


def _finish(work: Path, manifest: dict[str, object]) -> None:
    shutil.rmtree(work / "tree", ignore_errors=True)
    (work / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")


def _built(digest: str) -> BuiltImage:
    folder = images_dir() / digest
    return BuiltImage(digest, folder, folder / ROOT)


@contextmanager
def _building(digest: str) -> Iterator[Path | None]:
    """Yields a folder to build in, renamed to its place at the end; None if the image is there already.

    Two builders of one image: the second waits for the first and finds its work done.
    """
    place = images_dir() / digest
    if (place / MANIFEST).exists():
        os.utime(place)  # the cache forgets what was not used for long
        yield None
        return
    with (images_dir() / f".{digest}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (place / MANIFEST).exists():
            yield None
            return
        work = Path(tempfile.mkdtemp(prefix=f".{digest}.", dir=images_dir()))
        try:
            yield work
            work.chmod(0o755)
            work.rename(place)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _digest(inputs: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps([FORMAT, inputs], sort_keys=True).encode()).hexdigest()[:20]


def _source_digest() -> str:
    """What else decides the bytes: the rules of this package."""
    state = hashlib.sha256()
    for name in ("tree.py", "filesystem.py"):
        state.update((Path(__file__).parent / name).read_bytes())
    return state.hexdigest()


def _listing_digest(folder: Path) -> str:
    """A tree by its names, sizes, modes and times; reading all of it would take longer than the copy."""
    state = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        state.update(
            f"{path.relative_to(folder)}\0{status.st_mode}\0{status.st_size}\0{status.st_mtime_ns}\n".encode()
        )
    return state.hexdigest()
