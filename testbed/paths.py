"""Owns the places on disk: where the project lies, where caches and running labs live."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from testbed.errors import TestbedFault

PROJECT = Path(__file__).resolve().parents[1]
"""What holds our package, and beside it playbooks, topologies, patch sets, documents and results."""
MAX_RUNTIME_PATH = 50
"""Labs hold unix sockets, whose paths must stay below 108 bytes (sun_path in unix(7))."""


def cache_dir() -> Path:
    """$TESTBED_CACHE, else $XDG_CACHE_HOME/testbed, else ~/.cache/testbed; made if missing."""
    own = os.environ.get("TESTBED_CACHE")
    if own:
        folder = Path(own).absolute()
    else:
        base = os.environ.get("XDG_CACHE_HOME")
        folder = (Path(base) if base else Path.home() / ".cache") / "testbed"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def runtime_dir() -> Path:
    """$TESTBED_RUNTIME, else $XDG_RUNTIME_DIR/testbed if usable, else /tmp/testbed-UID.

    Made with mode 0700. Raises TestbedFault if the place is another user's, open to others, or
    too long for the sockets in it.
    """
    own = os.environ.get("TESTBED_RUNTIME")
    if own:
        return _private(Path(own).absolute())
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base and len(base) <= MAX_RUNTIME_PATH and os.access(base, os.W_OK | os.X_OK):
        return _private(Path(base) / "testbed")
    return _private(Path(f"/tmp/testbed-{os.getuid()}"))


def labs_dir() -> Path:
    """Where each running lab has its folder, named by its id."""
    folder = runtime_dir() / "labs"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _private(folder: Path) -> Path:
    if len(str(folder)) > MAX_RUNTIME_PATH:
        raise TestbedFault(
            f"'{folder}' is too long for the unix sockets in it", hint="set TESTBED_RUNTIME to a shorter path"
        )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise TestbedFault(
            f"cannot make the runtime folder: {error}", hint="set TESTBED_RUNTIME to a folder of your own"
        ) from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise TestbedFault(
            f"'{folder}' is not a folder of ours with mode 0700",
            hint=f"remove it or run: chmod 700 {folder}; or set TESTBED_RUNTIME",
        )
    return folder
