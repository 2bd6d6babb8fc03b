"""Owns where built kernels come from: Debian's source package and the toolchain, each by content."""

from __future__ import annotations

import functools
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from testbed import proc
from testbed.errors import MissingCapability, UsageError

_BASE = re.compile(r"[0-9]+\.[0-9]+")
SOURCES = Path("/usr/src")


@dataclass(frozen=True, slots=True)
class Source:
    """A base: package, its Debian version, and its tarball with its hash."""

    base: str
    package: str
    version: str
    tarball: Path
    sha256: str


@functools.lru_cache(maxsize=16)
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find(base: str) -> Source:
    """The source package of a base as "6.1". Raises MissingCapability, naming the package to install."""
    if not _BASE.fullmatch(base):
        raise UsageError(f"'{base}' is not a base", hint='a base is a kernel series, as "6.1"')
    package = f"linux-source-{base}"
    tarball = SOURCES / f"{package}.tar.xz"
    done = proc.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", package], timeout_s=30, check=False
    )
    state, _, version = done.stdout.partition(" ")
    if done.status != 0 or state != "installed" or not tarball.is_file():
        raise MissingCapability(
            f"the source of base {base} is not installed", hint=f"install the Debian package {package}"
        )
    stat = tarball.stat()
    return Source(base, package, version.strip(), tarball, _sha256(tarball, stat.st_size, stat.st_mtime_ns))


@functools.cache
def toolchain() -> str:
    """The compiler and linker in words, as far as they decide what comes out."""
    words = []
    for program in ("gcc", "ld"):
        try:
            words.append(proc.run([program, "--version"], timeout_s=30).stdout.splitlines()[0].strip())
        except MissingCapability as error:
            raise MissingCapability(f"no {program} on this host", hint="install build-essential") from error
    return "; ".join(words)


def cpus() -> int:
    """How many processors we may use."""
    return len(os.sched_getaffinity(0))
