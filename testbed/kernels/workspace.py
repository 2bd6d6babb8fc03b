"""Owns workspaces: a kernel tree at a path that never changes, in namespaces that die with us.

The fixed path keeps compile commands and debug information the same for all trees, so make and ccache
know what they have built before. A patched tree is an overlay over its base's built tree.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed import proc
from testbed.errors import MissingCapability, TestbedFault
from testbed.kernels import inside
from testbed.paths import PROJECT

_PLACES = ("/mnt", "/media", "/srv", "/opt")
_UNSHARE = (
    "unshare",
    "--user",
    "--map-root-user",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
)
INSIDE = Path(inside.__file__).resolve()


@dataclass(frozen=True, slots=True)
class Workspace:
    """A tree and where it is mounted: `tree` itself, or an overlay of `upper` over `lower`."""

    at: Path
    tree: Path | None = None
    lower: Path | None = None
    upper: Path | None = None
    work: Path | None = None

    @property
    def path(self) -> Path:
        """The tree's path as commands see it."""
        return self.at / "linux"

    def built(self, name: str) -> Path:
        """A file that a build left in the tree, as seen from outside."""
        root = self.tree or self.upper
        assert root is not None
        return root / name

    def run(
        self, argv: Sequence[str], *, timeout_s: float, log: Path | None = None, check: bool = True
    ) -> proc.Completed:
        """Runs a command at the top of the tree. As `proc.run`; a tree that cannot be mounted is a fault."""
        with _lifeline() as (read, order):
            order |= {"at": str(self.at)} | {
                name: str(path)
                for name in ("tree", "lower", "upper", "work")
                if (path := getattr(self, name)) is not None
            }
            done = proc.run(
                [*_UNSHARE, sys.executable, "-P", str(INSIDE), json.dumps(order), "--", *argv],
                timeout_s=timeout_s,
                log=log,
                check=False,
                pass_fds=(read,),
                env=proc.package_in_reach() | {"LC_ALL": "C"},
            )
        if done.status == inside.CANNOT_MOUNT or "unshare failed" in done.stderr:
            text = done.stderr or (log.read_text(errors="replace")[-500:] if log else "")
            raise MissingCapability(
                f"no workspace for a kernel build: {text.strip()}",
                hint="user namespaces must be allowed; see 'testbed doctor'",
            )
        if check and done.status != 0:
            raise proc.ProcessFailed(done)
        return done


@contextlib.contextmanager
def _lifeline() -> Iterator[tuple[int, dict[str, str]]]:
    """A pipe whose write end only we hold: its end tells the namespaces that we are gone."""
    read, write = os.pipe()
    try:
        yield read, {"lifeline": str(read)}
    finally:
        os.close(read)
        os.close(write)


def place(*used: Path) -> Path:
    """The folder that workspaces cover: the first one of the system's that holds nothing we need."""
    needed = [path.resolve() for path in (*used, PROJECT, Path(sys.prefix), Path(sys.base_prefix))]
    for name in _PLACES:
        candidate = Path(name)
        if candidate.is_dir() and not any(path.is_relative_to(candidate) for path in needed):
            return candidate
    raise TestbedFault(f"none of {', '.join(_PLACES)} is free to mount a tree over")


def overlay_works(lower: Path, folder: Path, at: Path) -> bool:
    """Whether one over `lower`, which has a Makefile, can be mounted in a user namespace."""
    if any(mark in f"{lower}{folder}" for mark in ",:\\"):
        return False
    try:
        layered(lower, folder, at).run(["test", "-e", "Makefile"], timeout_s=60)
    except TestbedFault:
        return False
    return True


def layered(lower: Path, folder: Path, at: Path) -> Workspace:
    """An overlay over `lower` whose own files lie in `folder`."""
    upper, work = folder / "upper", folder / "work"
    for path in (upper, work):
        path.mkdir(exist_ok=True)
    return Workspace(at, lower=lower, upper=upper, work=work)


def clone(lower: Path, folder: Path, at: Path) -> Workspace:
    """A copy-on-write clone of a built tree: an overlay, else a copy (by reflink if they are to be had)."""
    if overlay_works(lower, folder, at):
        return layered(lower, folder, at)
    copy = folder / "copy"
    proc.run(["cp", "-a", "--reflink=auto", str(lower), str(copy)], timeout_s=1800)
    return Workspace(at, tree=copy)
