"""Owns SSH to a guest (fabric, paramiko), through a socket that the lab hands out.

For provisioning and for people. No verdict rests on it: a guest out of memory answers nothing here.
"""

from __future__ import annotations

import base64
import io
import shlex
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import paramiko
from fabric import Config, Connection
from invoke.exceptions import UnexpectedExit

from testbed.clock import Deadline
from testbed.errors import TestbedFault
from testbed.machines.keys import LabKeys
from testbed.proc import Completed

PORT = 22
CONNECT_TIMEOUT_S = 20.0
RETRY_S = 0.2
CLOSE_S = 1.0
"""So long it is waited for one who is just connecting; the lab that ends takes the rest away."""


class GuestUnreachable(TestbedFault):
    """SSH to a guest does not come about, or broke off."""


class CommandFailed(TestbedFault):
    """A command in a guest ended with a status other than 0."""

    def __init__(self, guest: str, done: Completed) -> None:
        tail = (done.stderr.strip() or done.stdout.strip())[-2000:]
        super().__init__(f"on '{guest}' `{shlex.join(done.argv)}` ended with {done.status}: {tail}")
        self.done = done


class Guest:
    """A guest by SSH. `dial` makes a connected socket to its SSH port; the host key is pinned."""

    def __init__(self, name: str, dial: Callable[[], socket.socket], keys: LabKeys) -> None:
        self.name = name
        self._dial = dial
        self._keys = keys
        self._lock = threading.Lock()
        self._connection: Any = None

    def connect(self, deadline: Deadline) -> None:
        """Logs in, trying again until the deadline: sshd may not be up yet. Raises GuestUnreachable."""
        while True:
            try:
                with self._lock:
                    self._open(min(CONNECT_TIMEOUT_S, max(1.0, deadline.left_s)))
                return
            except (OSError, EOFError, paramiko.SSHException, TestbedFault) as error:
                if isinstance(error, paramiko.BadHostKeyException) or deadline.left_s <= RETRY_S:
                    raise GuestUnreachable(f"no SSH to '{self.name}': {error}") from error
            threading.Event().wait(RETRY_S)

    def run(self, argv: Sequence[str], *, timeout_s: float, check: bool = True) -> Completed:
        """Runs a command as root. Raises CommandFailed, or GuestUnreachable also when the time is up."""
        line = shlex.join(argv)
        with self._session(line, timeout_s) as connection:
            result = connection.run(line, hide=True, warn=True, in_stream=False, encoding="utf-8")
        done = Completed(tuple(argv), result.exited, result.stdout, result.stderr)
        if check and done.status != 0:
            raise CommandFailed(self.name, done)
        return done

    def put(self, path: str, data: bytes, *, mode: int = 0o644, timeout_s: float = 30.0) -> None:
        """Writes a file. The image has no SFTP server, so it goes through `cat`."""
        line = f"cat > {shlex.quote(path)} && chmod {mode:o} {shlex.quote(path)}"
        with self._session(line, timeout_s) as connection:
            stdin, stdout, stderr = connection.client.exec_command(line)
            stdin.write(data)
            stdin.channel.shutdown_write()
            status, said = stdout.channel.recv_exit_status(), stderr.read()
        if status != 0:
            done = Completed(("put", path), status, "", said.decode(errors="replace"))
            raise CommandFailed(self.name, done)

    def close(self) -> None:
        """Hangs up, also on a command of another thread. Idempotent, and waits for no answer of the guest."""
        self._cut()
        if self._lock.acquire(timeout=CLOSE_S):
            try:
                self._close()
            finally:
                self._lock.release()

    @contextmanager
    def _session(self, line: str, timeout_s: float) -> Iterator[Any]:
        """The connection, for one command. At the time limit it is cut.

        fabric's own limit holds only once the guest has begun the command; one that is out of
        memory accepts a channel and never does.
        """
        with self._lock:
            late = threading.Event()
            timer = threading.Timer(timeout_s, self._late, (late,))
            try:
                self._open(min(CONNECT_TIMEOUT_S, timeout_s))
                timer.start()
                yield self._connection
            except (OSError, EOFError, paramiko.SSHException, UnexpectedExit) as error:
                self._close()
                why = f"took longer than {timeout_s:g} s" if late.is_set() else f"broke off: {error!r}"
                raise GuestUnreachable(f"on '{self.name}' `{line}` {why}") from error
            finally:
                timer.cancel()
            if late.is_set():
                self._close()
                raise GuestUnreachable(f"on '{self.name}' `{line}` took longer than {timeout_s:g} s")

    def _late(self, late: threading.Event) -> None:
        late.set()
        self._cut()

    def _cut(self) -> None:
        """Breaks off what goes on, in whatever thread."""
        connection = self._connection
        transport = None if connection is None else connection.client.get_transport()
        if transport is not None:
            transport.close()

    def _open(self, timeout_s: float) -> None:
        if self._connection is not None and self._connection.is_connected:
            return
        self._close()
        connection = Connection(
            self.name, user="root", port=PORT, config=_config(), connect_kwargs=self._login(timeout_s)
        )
        kind, blob = self._keys.host_public.split()[:2]
        client = connection.client
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        client.get_host_keys().add(self.name, kind, paramiko.Ed25519Key(data=base64.b64decode(blob)))
        try:
            connection.open()
        except BaseException:
            connection.connect_kwargs["sock"].close()
            raise
        self._connection = connection

    def _login(self, timeout_s: float) -> dict[str, Any]:
        return {
            "sock": self._dial(),
            "pkey": paramiko.Ed25519Key.from_private_key(io.StringIO(self._keys.login_private)),
            "allow_agent": False,
            "look_for_keys": False,
            "banner_timeout": timeout_s,
            "auth_timeout": timeout_s,
            "timeout": timeout_s,
        }

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            transport = connection.client.get_transport()
            if transport is not None:
                transport.close()


def _config() -> Any:
    """fabric's defaults, and no word from the user's own SSH settings."""
    return Config(overrides={"load_ssh_configs": False}, lazy=True)
