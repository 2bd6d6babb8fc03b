"""Owns our programs in the guest: the static agent, compiled from testbed/guest, and the scripts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from testbed import proc
from testbed.errors import BuildError, MissingCapability, TestbedFault

SOURCES = Path(__file__).parent.parent / "guest"
SCRIPTS = ("init", "kernel-conf", "nfs-serve", "root-serve")
THIN_INIT = "thin-init"
"""In no image, but laid into a thin client's first root for each cell: what a cell is hangs on it as well."""
COMPILE_TIMEOUT_S = 120
FLAGS = ("-std=gnu11", "-O2", "-s", "-Wall", "-Wextra", "-Werror", "-Wl,--build-id=none")
AGENT_FLAGS = (*FLAGS, "-static")
LIBRARY_FLAGS = (*FLAGS, "-shared", "-fPIC")
PRELOADS = {"no-dh": (*LIBRARY_FLAGS, "-nostdlib"), "daemon": LIBRARY_FLAGS}
"""Libraries that are loaded before a daemon's own, by their names in preload/, each with its flags."""
PROGRAMS = (
    *("heartbeat", "blocksampler", "vmsampler", "anonymous", "service", "flood", "job"),
    *("deed-kill", "deed-write", "deed-clock", "deed-shatter", "reader", "storm", "blocks"),
    "writer",
)
"""Names that the agent also answers to, each a link to it."""


def digest() -> str:
    """A hash of the sources and of the toolchain: the same digest is the same programs."""
    state = hashlib.sha256()
    scripts = (SOURCES / name for name in (*SCRIPTS, THIN_INIT))
    for source in sorted((*SOURCES.glob("*.[ch]"), *scripts, *map(_preload, PRELOADS))):
        state.update(f"{source.name}\n".encode() + source.read_bytes())
    state.update(repr((AGENT_FLAGS, PRELOADS, PROGRAMS, _toolchain())).encode())
    return state.hexdigest()


def compile_agent(output: Path) -> None:
    """Writes the static binary. Raises BuildError with the compiler's words, or MissingCapability."""
    _compile(AGENT_FLAGS, output, sorted(SOURCES.glob("*.c")))


def compile_preloads(folder: Path) -> None:
    """Writes the libraries there. Raises as compile_agent() does."""
    for name, flags in PRELOADS.items():
        _compile(flags, folder / f"{name}.so", [_preload(name)])


def _preload(name: str) -> Path:
    return SOURCES / "preload" / f"{name}.c"


def _compile(flags: Sequence[str], output: Path, sources: Sequence[Path]) -> None:
    argv = ["gcc", *flags, "-o", str(output), *map(str, sources)]
    done = proc.run(argv, timeout_s=COMPILE_TIMEOUT_S, env={"LC_ALL": "C"}, check=False)
    if done.status != 0 and "cannot find -lc" in done.stderr:
        raise MissingCapability("no static C library on this host", hint="install the package libc6-dev")
    if done.status != 0:
        raise BuildError(f"'{output.name}' of the guest does not compile: {done.stderr.strip()[:2000]}")


def _toolchain() -> str:
    try:
        version = proc.run(["gcc", "--version"], timeout_s=30).stdout.splitlines()[0]
        library = proc.run(["gcc", "-print-file-name=libc.a"], timeout_s=30).stdout.strip()
    except TestbedFault as error:
        raise MissingCapability(f"no C compiler: {error.message}", hint="install the package gcc") from error
    if not Path(library).is_absolute():
        raise MissingCapability("no static C library on this host", hint="install the package libc6-dev")
    return f"{version} {hashlib.sha256(Path(library).read_bytes()).hexdigest()}"
