"""Owns bases that a user names: a tarball, a folder, or a commit of a git tree, kept in the cache by content.

A base that was given is called `VERSION~HASH` from then on, by its Makefile and its content: a name that
reports may show, that does not tell where it came from, and that is the same for the same content. What
is built of it runs as the user, as `make` in it would.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from testbed import proc
from testbed.errors import MissingCapability, UsageError
from testbed.kernels import inventory, store
from testbed.kernels.progress import Progress
from testbed.model import Value

NAME = re.compile(r"(?P<version>[0-9][A-Za-z0-9._-]{0,62})~(?P<hash>[0-9a-f]{12})")
PACK_S, GIT_S = 900.0, 60.0
MAX_FILES = inventory.MAX_MEMBERS
GIT = "git:"
OFFLINE = {"GIT_ALLOW_PROTOCOL": "none", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C"}
"""What keeps git from fetching anything."""
_BUILT = (".config", "include/config/auto.conf", "vmlinux")


class Given(Value):
    """given.json, beside the tarball that it describes."""

    version: str
    sha256: str
    kind: str
    tarball: str

    @property
    def base(self) -> str:
        return f"{self.version}~{self.sha256[:12]}"


def is_given(base: str) -> bool:
    """Does a user name a base of their own with this: a path, `git:PATH#COMMIT`, or one given before?"""
    return base.startswith((GIT, ".", "~/")) or "/" in base or NAME.fullmatch(base) is not None


def load(base: str, sources: store.Store) -> tuple[Given, Path]:
    """A base that was given before, by its name, and its tarball."""
    found = NAME.fullmatch(base)
    folder = sources.folder(_entry(found["hash"])) if found else None
    if folder is None or not (folder / "given.json").is_file():
        raise MissingCapability(
            f"the source of base {base} is not in the cache",
            hint="give it again, as SET@PATH or SET@git:PATH#COMMIT",
        )
    sources.touch(folder.name)
    given = Given.model_validate_json((folder / "given.json").read_text())
    return given, folder / given.tarball


def take(base: str, sources: store.Store, progress: Progress) -> str:
    """The name, `VERSION~HASH`, of what the user names; its source is in the cache from then on."""
    if NAME.fullmatch(base):
        return load(base, sources)[0].base
    if base.startswith(GIT):
        return _take_commit(base, sources, progress)
    path = Path(base).expanduser()
    if path.is_dir():
        return _take_folder(path.resolve(), sources, progress)
    if path.is_file():
        return _take_tarball(path.resolve(), sources, progress)
    raise UsageError(
        "no such tarball or folder",
        hint="a base is a kernel series, as 6.1, a tarball, a folder, or git:PATH#COMMIT",
        where=base,
    )


def _take_tarball(path: Path, sources: store.Store, progress: Progress) -> str:
    status = path.stat()
    known = f"tarball {path} {status.st_size} {status.st_mtime_ns} {status.st_ino}"
    return _take(known, sources, "tarball", progress, lambda folder: path)


def _take_folder(path: Path, sources: store.Store, progress: Progress) -> str:
    for name in _BUILT:
        if (path / name).exists():
            raise UsageError(
                f"was configured or built in: there is {name}",
                hint="run 'make mrproper' in it, or name a commit, as git:PATH#HEAD",
                where=str(path),
            )

    def pack(folder: Path) -> Path:
        tarball = folder / "linux.tar.gz"
        words = ["tar", "-c", "-I", "gzip -1n", "-f", str(tarball), "--sort=name", "--exclude=.git"]
        proc.run([*words, "-C", str(path.parent), "--", path.name], timeout_s=PACK_S)
        return tarball

    return _take(_listing(path), sources, "folder", progress, pack)


def _listing(path: Path) -> str:
    """All names, sizes and times of a folder, as one hash: what says that nothing changed."""
    listing, count = hashlib.sha256(f"folder {path}".encode()), 0
    for parent, folders, files in os.walk(path):
        folders[:] = sorted(set(folders) - {".git"})
        for name in sorted(set(files) - {".git"}):
            status = (Path(parent) / name).lstat()
            line = f"{parent}/{name} {status.st_size} {status.st_mtime_ns} {status.st_mode}\n"
            listing.update(line.encode(errors="surrogateescape"))
        count += len(files)
        if count > MAX_FILES:
            raise UsageError(
                f"holds more than {MAX_FILES} files", hint="a kernel's source has fewer", where=str(path)
            )
    return listing.hexdigest()


def _take_commit(base: str, sources: store.Store, progress: Progress) -> str:
    where, _, commit = base.removeprefix(GIT).rpartition("#")
    path = Path(where).expanduser()
    if not where or not commit:
        raise UsageError("names no commit", hint="write git:PATH#COMMIT, as git:linux#v6.12", where=base)
    exact = commit_of(path, commit, base)

    def pack(folder: Path) -> Path:
        tarball = folder / "linux.tar.gz"
        argv = ["git", "-C", str(path.resolve()), "archive", "-1", "--format=tar.gz", "--prefix=linux/"]
        done = proc.run([*argv, f"--output={tarball}", exact], timeout_s=PACK_S, env=OFFLINE, check=False)
        if done.status != 0:
            raise UsageError(f"git cannot pack it: {done.stderr.strip()[-300:]}", where=base)
        return tarball

    return _take(f"commit {exact}", sources, "commit", progress, pack)


def commit_of(path: Path, name: str, where: str) -> str:
    """The full hash of a commit of a local tree. Raises UsageError if git finds none."""
    words = ["git", "-C", str(path), "rev-parse", "--verify", "--quiet", "--end-of-options"]
    done = proc.run([*words, f"{name}^{{commit}}"], timeout_s=GIT_S, env=OFFLINE, check=False)
    if done.status != 0:
        says = done.stderr.strip()[-300:]
        raise UsageError(
            f"git finds no commit '{name}'{': ' + says if says else ''}",
            hint="nothing is fetched: the commit must be in that tree",
            where=where,
        )
    return done.stdout.strip()


def _entry(digest: str) -> str:
    return f"given-{digest[:12]}"


def _take(
    known: str, sources: store.Store, kind: str, progress: Progress, pack: Callable[[Path], Path]
) -> str:
    """Packs what was given, looks through it, and keeps it; `known` says that this was done before."""
    note = sources.root / ".known" / hashlib.sha256(known.encode(errors="surrogateescape")).hexdigest()
    if note.is_file() and NAME.fullmatch(base := note.read_text()):
        try:
            return load(base, sources)[0].base
        except MissingCapability:
            pass  # dropped from the cache since
    note.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=sources.root, prefix=".taking-") as scratch:
        progress(f"packing the {kind} that was given as a base", None)
        packed = pack(Path(scratch))
        progress(f"looking through the {kind} that was given as a base", None)
        given = _keep(packed, kind, sources, progress)
        fresh = Path(scratch) / "name"
        fresh.write_text(given.base)
        fresh.rename(note)
    return given.base


def _keep(packed: Path, kind: str, sources: store.Store, progress: Progress) -> Given:
    found = inventory.read(packed)
    name = "linux.tar" + "".join(suffix for suffix in packed.suffixes[-1:] if suffix != ".tar")
    given = Given(version=found.version, sha256=found.sha256, kind=kind, tarball=name)
    if not NAME.fullmatch(given.base):
        raise UsageError(f"its Makefile names a version that is none: {found.version!r}", where=str(packed))

    def keep(folder: Path) -> None:
        shutil.copyfile(packed, folder / name)
        (folder / "given.json").write_text(given.model_dump_json(indent=2) + "\n")

    sources.obtain(_entry(given.sha256), keep, lambda: progress("waiting for another to keep it", None))
    return given
