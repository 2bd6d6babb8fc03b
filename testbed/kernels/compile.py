"""Owns compiling: a base's tree from its tarball, patched trees from the base's, and what is kept of each."""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from testbed import proc
from testbed.errors import BuildError, TestbedFault
from testbed.kernels import config, source, voiding
from testbed.kernels.progress import Progress
from testbed.kernels.workspace import Workspace

CCACHE_LIMIT = "5G"
PATH = "/usr/lib/ccache:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
"""Debian's ccache stands in for gcc, where it is installed."""
EXTRACT_S, CONFIGURE_S, MAKE_S = 900.0, 300.0, 4 * 3600.0
_OBJECT = re.compile(r"^  (?:CC|AS) +(\S+)$", re.MULTILINE)
"""What is compiled. What links, archives or runs on the host comes with it, and says nothing of a set."""
_ERROR = re.compile(
    r"^(?P<file>[^\s:]+):(?P<line>\d+)(?::\d+)?: (?:fatal )?error: (?P<text>.*)$", re.MULTILINE
)
_KCONFIG_ERROR = re.compile(
    r"^(?P<file>[^\s:]*Kconfig[^\s:]*):(?P<line>\d+):(?! ?warning:) ?(?P<text>.*)$", re.MULTILINE
)
_OTHER_ERROR = re.compile(r"^.*(?:undefined reference|error:|\*\*\* ).*$", re.MULTILINE)
_WARNING = re.compile(r"^[^\s:]+:\d+(?::\d+)?: warning: .*$", re.MULTILINE)
_KEPT = {
    "arch/x86/boot/bzImage": "bzImage",
    "vmlinux": "vmlinux",
    "System.map": "System.map",
    ".config": "config",
}


@dataclass(frozen=True, slots=True)
class Made:
    """What a build of a tree came to."""

    release: str
    warnings: tuple[str, ...]
    objects: int
    seconds: float


class CompileError(BuildError):
    """The first error of a build: `file` and `line` of the tree where it is known, else "" and 0."""

    def __init__(self, message: str, file: str, line: int, *, hint: str = "", where: str = "") -> None:
        super().__init__(message, hint=hint, where=where)
        self.file = file
        self.line = line


def _environment(space: Workspace, ccache: Path) -> list[str]:
    """`env` with only what a build may see: the same build on every day, for every user, at every place.

    The tree's own path would come into the image by way of its build id, which covers debug information.
    """
    mapped = f"-fdebug-prefix-map={space.path}=linux"
    return [
        "env", "-i", f"PATH={PATH}", "LC_ALL=C", "HOME=/",
        f"CCACHE_DIR={ccache}", f"CCACHE_MAXSIZE={CCACHE_LIMIT}",
        "KBUILD_BUILD_TIMESTAMP=Thu Jan  1 00:00:00 UTC 1970", "KBUILD_BUILD_USER=testbed",
        "KBUILD_BUILD_HOST=testbed", "KBUILD_BUILD_VERSION=1", f"KCFLAGS={mapped}", f"KAFLAGS={mapped}",
    ]  # fmt: skip


def make_argv(space: Workspace, ccache: Path, *goals: str) -> list[str]:
    """The command that builds in a tree, in an environment of its own."""
    return ["nice", *_environment(space, ccache), "make", f"-j{source.cpus()}", *goals]


def first_error(log: str) -> CompileError:
    """The first error of a build log: the compiler's, else Kconfig's, else what looks like one."""
    if found := _ERROR.search(log) or _KCONFIG_ERROR.search(log):
        file, line, text = found["file"].removeprefix("./"), int(found["line"]), found["text"]
        return CompileError(f"the kernel does not compile: {file}:{line}: {text}", file, line)
    other = _OTHER_ERROR.search(log)
    text = other.group().strip() if other else log.strip()[-500:]
    return CompileError(f"the kernel does not compile: {text}", "", 0)


def _failed(log: str, hint: str) -> TestbedFault | CompileError:
    """Why make did not do it: the disk, or what it was given."""
    if "No space left on device" in log:
        return TestbedFault("the disk is full", hint=f"free space, or set TESTBED_CACHE; {hint}")
    error = first_error(log)
    error.hint = hint
    return error


@contextmanager
def _counting(log: Path, stage: str, expected: int, progress: Progress) -> Iterator[None]:
    """Reports the share of compiled objects while a build writes its log."""
    ended = threading.Event()

    def follow() -> None:
        count, offset = 0, 0
        while not ended.wait(0.5):
            with log.open("rb") as file:
                file.seek(offset)
                text = file.read()
            whole = text.rfind(b"\n") + 1
            offset += whole
            count += len(objects(text[:whole].decode(errors="replace")))
            progress(stage, min(count / max(expected, 1), 0.99))

    thread = threading.Thread(target=follow, daemon=True)
    log.touch()
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def extract(origin: source.Source, tree: Path, progress: Progress) -> None:
    """Unpacks the tarball of a base into `tree`."""
    progress(f"unpacking {origin.package} {origin.version}", None)
    tree.mkdir(exist_ok=True)
    packer = ["-I", "xz -d -T0"] if origin.tarball.suffix == ".xz" else []
    words = ["tar", "-x", *packer, "-f", str(origin.tarball), "-C", str(tree), "--strip-components=1"]
    proc.run([*words, "--no-same-owner"], timeout_s=EXTRACT_S)


def configure(space: Workspace, fragments: Sequence[Path], ccache: Path) -> None:
    """tinyconfig plus the fragments, verified."""
    space.run(make_argv(space, ccache, "-s", "tinyconfig"), timeout_s=CONFIGURE_S)
    dot_config = space.built(".config")
    wishes = [config.parse_fragment(path.read_text(), path) for path in fragments]
    with dot_config.open("a") as file:
        file.writelines(map(config.config_text, wishes))
    space.run(make_argv(space, ccache, "-s", "olddefconfig"), timeout_s=CONFIGURE_S)
    check(dot_config, fragments)


def check(dot_config: Path, fragments: Sequence[Path]) -> None:
    """Refuses a `.config` that is not what the fragments say (the last one wins) or that voids results."""
    came_out = config.parse_config(dot_config.read_text())
    settled: set[str] = set()
    for path in reversed(fragments):
        wishes = config.parse_fragment(path.read_text(), path)
        config.verify(tuple(wish for wish in wishes if wish.option not in settled), came_out, path)
        settled |= {wish.option for wish in wishes}
    voiding.refuse_voiding(came_out)


def compile_tree(
    space: Workspace, log: Path, ccache: Path, stage: str, expected: int, progress: Progress
) -> float:
    """`make bzImage`; returns the seconds it took. Raises BuildError with the compiler's first error."""
    started = time.monotonic()
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    with _counting(log, stage, expected, progress):
        done = space.run(make_argv(space, ccache, "bzImage"), timeout_s=MAKE_S, log=log, check=False)
    if done.status != 0:
        raise _failed(log.read_text(errors="replace"), f"the whole log: {log}")
    return round(time.monotonic() - started, 1)


def reconfigure(space: Workspace, ccache: Path) -> None:
    """Settles options that a patch added; an unchanged configuration stays untouched.

    Raises CompileError with Kconfig's first error.
    """
    done = space.run(make_argv(space, ccache, "-s", "olddefconfig"), timeout_s=CONFIGURE_S, check=False)
    if done.status != 0:
        raise _failed(done.stdout + done.stderr, "make olddefconfig said so")


def made_by(log: Path, release: str, seconds: float) -> Made:
    """What a build's log tells of it."""
    text = log.read_text(errors="replace")
    return Made(release, tuple(_WARNING.findall(text)), len(objects(text)), seconds)


def objects(log: str) -> frozenset[str]:
    """The objects that a build made, as paths in the tree."""
    return frozenset(_OBJECT.findall(log))


def keep(space: Workspace, lower: Path | None, folder: Path) -> None:
    """Copies what is kept of a tree; a file that a patched build left alone comes from its base."""
    for name, kept in _KEPT.items():
        built = space.built(name)
        if not built.is_file() and lower is not None:
            built = lower / name
        if not built.is_file():
            raise TestbedFault(f"the build left no {name}")
        shutil.copyfile(built, folder / kept)


def release(space: Workspace, lower: Path | None) -> str:
    """What `uname -r` will say."""
    name = "include/config/kernel.release"
    built = space.built(name)
    return (built if built.is_file() or lower is None else lower / name).read_text().strip()
