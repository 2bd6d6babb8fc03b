"""Owns where built kernels come from: the bases, each as a tarball with its hash, and the toolchain.

A base is a kernel series, whose source is Debian's package: the installed one, else one that is fetched
from the archive and kept. Or it is what a user gives (given.py).
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from testbed import proc
from testbed.errors import MissingCapability, TestbedFault, UsageError, nearest
from testbed.kernels import given, store
from testbed.kernels.archive import Archive
from testbed.kernels.progress import Progress, silent
from testbed.model import Value
from testbed.paths import cache_dir

_BASE = re.compile(r"[0-9]+\.[0-9]+")
SOURCES = Path("/usr/src")
SUITES = {
    "5.10": "bullseye",
    "6.1": "bookworm",
    "6.12": "trixie",
    "7.2": "trixie-backports",
    "7.3": "trixie-backports",
}
"""Which of Debian's suites a series is in."""


class Fetched(Value):
    """fetched.json, beside the tarball out of a package that the archive vouched for."""

    package: str
    version: str
    suite: str
    tarball: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Source:
    """A base: package (or how it was given), version, and its tarball with its hash."""

    base: str
    package: str
    version: str
    tarball: Path
    sha256: str


def source_store() -> store.Store:
    return store.Store(cache_dir() / "sources")


@functools.lru_cache(maxsize=16)
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def named(base: str, progress: Progress = silent) -> str:
    """The name of a base as a user writes it. What they give by path is in the cache from then on."""
    if _BASE.fullmatch(base):
        return base
    if given.is_given(base):
        return given.take(base, source_store(), progress)
    raise UsageError(
        f"'{base}' is not a base",
        hint=f"{nearest(base, SUITES)}; or a tarball, a folder, or git:PATH#COMMIT",
    )


def find(base: str, progress: Progress = silent) -> Source:
    """The source of a base, fetched if need be. Raises UsageError where no suite has it, else
    MissingCapability, with a remedy, if it can not be had."""
    if given.NAME.fullmatch(base):
        about, tarball = given.load(base, source_store())
        return Source(base, about.kind, about.version, tarball, about.sha256)
    if not _BASE.fullmatch(base):
        raise UsageError(f"'{base}' is not a base", hint='a base is a kernel series, as "6.1"')
    return at_hand(base) or _fetch(base, progress)


def at_hand(base: str) -> Source | None:
    """The source of a series that is installed or was fetched before: nothing is fetched."""
    return _installed(base) or _fetched(base)


def _installed(base: str) -> Source | None:
    package = f"linux-source-{base}"
    tarball = SOURCES / f"{package}.tar.xz"
    if not tarball.is_file():
        return None
    try:
        done = proc.run(
            ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", package], timeout_s=30, check=False
        )
    except MissingCapability:
        return None
    state, _, version = done.stdout.partition(" ")
    if done.status != 0 or state != "installed":
        return None
    stat = tarball.stat()
    return Source(base, package, version.strip(), tarball, _sha256(tarball, stat.st_size, stat.st_mtime_ns))


def _entry(base: str) -> str:
    return f"linux-source-{base.replace('.', '-')}"


def _fetched(base: str) -> Source | None:
    sources = source_store()
    folder = sources.folder(_entry(base))
    if not (folder / "fetched.json").is_file():
        return None
    sources.touch(folder.name)
    known = Fetched.model_validate_json((folder / "fetched.json").read_text())
    return Source(base, known.package, known.version, folder / known.tarball, known.sha256)


def _fetch(base: str, progress: Progress) -> Source:
    """Debian's package of a series, out of the archive; kept until the cache drops it."""
    package = f"linux-source-{base}"
    if base not in SUITES:
        raise UsageError(
            f"no suite of Debian's is known to have base {base}",
            hint=f"{nearest(base, SUITES)}; or install the Debian package {package}",
        )

    def make(folder: Path) -> None:
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix="archive-") as scratch:
            _unpack(base, package, Path(scratch), folder, progress)

    def waiting() -> None:
        progress(f"waiting for another to fetch {package}", None)

    source_store().obtain(_entry(base), make, waiting)
    found = _fetched(base)
    if found is None:
        raise TestbedFault(f"the source of base {base} went as soon as it was there", hint="run it again")
    return found


def _unpack(base: str, package: str, scratch: Path, folder: Path, progress: Progress) -> None:
    """Fetches the package by way of `scratch`; its tarball and what is known of it go to `folder`."""
    archive = Archive(scratch, SUITES[base])
    progress(f"looking up {package} in Debian's {archive.suite}", None)
    archive.update()
    newest = archive.newest(package)
    progress(f"downloading {package} {newest.version}", None)
    (scratch / "deb").mkdir()
    deb = archive.download(newest, scratch / "deb")
    progress(f"unpacking {package} {newest.version}", None)
    proc.run(["dpkg-deb", "-x", str(deb), str(scratch / "tree")], timeout_s=300)
    tarball = scratch / "tree/usr/src" / f"{package}.tar.xz"
    if not tarball.is_file() or tarball.is_symlink():
        raise TestbedFault(f"{package} {newest.version} holds no tarball")
    status = tarball.stat()
    known = Fetched(
        package=package,
        version=newest.version,
        suite=newest.suite,
        tarball=tarball.name,
        sha256=_sha256(tarball, status.st_size, status.st_mtime_ns),
    )
    tarball.rename(folder / tarball.name)
    (folder / "fetched.json").write_text(known.model_dump_json(indent=2) + "\n")


@functools.cache
def toolchain() -> str:
    """The compiler, linker and packer in words, as far as they decide what comes out."""
    words = []
    for program, package in (("gcc", "build-essential"), ("ld", "build-essential"), ("lz4", "lz4")):
        try:
            words.append(proc.run([program, "--version"], timeout_s=30).stdout.splitlines()[0].strip())
        except MissingCapability as error:
            raise MissingCapability(f"no {program} on this host", hint=f"install {package}") from error
    return "; ".join(words)


def cpus() -> int:
    """How many processors we may use."""
    return len(os.sched_getaffinity(0))
