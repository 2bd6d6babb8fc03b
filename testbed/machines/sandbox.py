"""Owns a sandbox from outside: makes the namespaces, holds the lifeline, leaves nothing behind.

A user, network, mount and pid namespace, the same for root and for an ordinary user, in which a
broker is PID 1. It lives as long as somebody holds the write end of its lifeline: this process,
or after `keep` a keeper.
"""

from __future__ import annotations

import logging
import os
import secrets
import select
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from testbed import paths, proc
from testbed.clock import wall_clock
from testbed.errors import MissingCapability, TestbedFault
from testbed.machines import layout
from testbed.machines.client import Broker
from testbed.machines.registry import Record

log = logging.getLogger(__name__)

READY_TIMEOUT_S = 15.0
END_TIMEOUT_S = 10.0
_UNSHARE = (
    "unshare",
    "-U",
    "--map-user=1000",
    "--map-group=1000",
    "--keep-caps",
    "-n",
    "-m",
    "-p",
    "-f",
    "--mount-proc",
    "--kill-child",
)
_REMEDY = "user namespaces are needed: set user.max_user_namespaces, or see 'testbed doctor'"


def probe() -> None:
    """Raises MissingCapability, with unshare's words, where no sandbox can be made. Takes some 10 ms."""
    try:
        proc.run([*_UNSHARE, "true"], timeout_s=READY_TIMEOUT_S)
    except proc.ProcessFailed as error:
        told = error.done.stderr.strip()[-2000:]
        raise MissingCapability(f"cannot make a sandbox: {told}", hint=_REMEDY) from error


class Sandbox:
    """A lab's shell, a context manager. `shm_bytes` bounds guests' memory and witness pages together."""

    def __init__(self, *, shm_bytes: int, what: str = "") -> None:
        self.id = secrets.token_hex(4)
        self._shm_bytes = shm_bytes
        self._what = what
        self._pid = 0
        self._lifeline = -1
        self._kept = False

    @property
    def folder(self) -> Path:
        return paths.labs_dir() / self.id

    @property
    def libvirt_uri(self) -> str:
        return layout.libvirt_uri(self.folder)

    @property
    def pid(self) -> int:
        """The sandbox's process outside (`unshare`), 0 if it does not run."""
        return self._pid

    def __enter__(self) -> Self:
        self._make_folder()
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        self.broker = Broker(self.folder / layout.BROKER_SOCKET)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def keep(self) -> None:
        """Hands the lifeline to a keeper: the lab lives on until `registry.AttachedLab.end`."""
        argv = [sys.executable, "-P", "-m", "testbed.machines.keeper"]
        keeper = _spawn(argv, {}, {3: self._lifeline}, self.folder / layout.BROKER_LOG)
        self._record(_run_id(keeper), _run_id(self._pid)).save(self.folder)
        os.close(self._lifeline)
        self._lifeline = -1
        self._pid = 0
        self._kept = True
        self.broker.close()

    def close(self) -> None:
        """Ends the sandbox and all in it, and removes its folder. Idempotent; after `keep` does nothing."""
        if self._kept:
            return
        if hasattr(self, "broker"):
            self.broker.close()
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        if self._pid:
            if not _wait(self._pid, END_TIMEOUT_S):
                log.warning("sandbox %s did not end by itself", self.id)
                os.kill(self._pid, signal.SIGKILL)
                _wait(self._pid, END_TIMEOUT_S)
            self._pid = 0
        shutil.rmtree(self.folder, ignore_errors=True)

    def _make_folder(self) -> None:
        made = paths.labs_dir() / f".{_run_id(os.getpid())}.{self.id}"
        made.mkdir(mode=0o700)
        self._record(_run_id(os.getpid()), "").save(made)
        made.rename(self.folder)
        layout.make(self.folder, paths.cache_dir() / "libvirt" / "capabilities")

    def _start(self) -> None:
        lifeline, self._lifeline = os.pipe()
        ready, ready_in = os.pipe()
        python = [sys.executable, "-P", "-m", "testbed.machines.broker"]
        broker = [*python, str(self.folder), str(self._shm_bytes)]
        environment = layout.environment(self.folder)
        log_file = self.folder / layout.BROKER_LOG
        # Opened before, since a broker that ends takes the folder along, and what it said with it.
        with os.fdopen(os.open(log_file, os.O_RDONLY | os.O_CREAT, 0o600), "rb") as told:
            try:
                self._pid = _spawn([*_UNSHARE, *broker], environment, {3: lifeline, 4: ready_in}, log_file)
            finally:
                os.close(lifeline)
                os.close(ready_in)
            with os.fdopen(ready, "rb", buffering=0) as pipe:
                readable, _, _ = select.select([pipe], [], [], READY_TIMEOUT_S)
                said = pipe.read(4000) if readable else b"no answer in time"
            if said != b"ready":
                _explain(said.decode(errors="replace"), told.read().decode(errors="replace")[-2000:].strip())
        self._record(_run_id(os.getpid()), _run_id(self._pid)).save(self.folder)

    def _record(self, holder: str, sandbox: str) -> Record:
        return Record(self.id, holder, sandbox, wall_clock(), self._what)


def _explain(said: str, told: str) -> None:
    if not said and "unshare" in told:
        raise MissingCapability(f"cannot make a sandbox: {told}", hint=_REMEDY)
    raise TestbedFault(f"the sandbox does not start: {said or told or 'it ended without a word'}")


def _spawn(argv: list[str], environment: dict[str, str], fds: dict[int, int], log_file: Path) -> int:
    """Starts a child in a session of its own (Ctrl-C is not for it), with `fds` as {theirs: ours}.

    `environment` is laid over ours, with the package in reach: children are started by module name.
    """
    program = shutil.which(argv[0])
    if program is None:
        raise MissingCapability(f"no program '{argv[0]}' on this host", hint="run 'make setup'")
    # First above what is handed over, so that no dup2 overwrites one that is still to come.
    high = {theirs: 100 + theirs for theirs in fds}
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log_file), append, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
        *((os.POSIX_SPAWN_DUP2, ours, high[theirs]) for theirs, ours in fds.items()),
        *((os.POSIX_SPAWN_DUP2, high[theirs], theirs) for theirs in fds),
        *((os.POSIX_SPAWN_CLOSE, number) for number in high.values()),
    ]
    environment = {**os.environ, **proc.package_in_reach(), **environment}
    return os.posix_spawn(program, argv, environment, file_actions=actions, setsid=True)


def _wait(pid: int, timeout_s: float) -> bool:
    """Waits for a child's end and reaps it."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        ended, _, _ = select.select([process], [], [], timeout_s)
    finally:
        os.close(process)
    if ended:
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)
    return bool(ended)


def _run_id(pid: int) -> str:
    return proc.run_id(pid) or ""
