"""Owns child processes: the one gateway to them, argv lists only, each with a time limit."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import MissingCapability, TestbedFault
from testbed.paths import PROJECT

ERROR_TAIL_BYTES = 4000


def package_in_reach() -> dict[str, str]:
    """The variables by which a child finds our modules by name, wherever it is: before what we were given."""
    known = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": f"{PROJECT}:{known}" if known else str(PROJECT)}


@dataclass(frozen=True, slots=True)
class Completed:
    """What a process left: exit status (negative: signal), and its output, decoded leniently."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str


class ProcessFailed(TestbedFault):
    """A process ended with a status other than 0."""

    def __init__(self, done: Completed, *, hint: str = "") -> None:
        tail = (done.stderr.strip() or done.stdout.strip())[-ERROR_TAIL_BYTES:]
        super().__init__(f"`{shlex.join(done.argv)}` ended with {done.status}: {tail}", hint=hint)
        self.done = done


def run(
    argv: Sequence[str],
    *,
    timeout_s: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    check: bool = True,
    log: Path | None = None,
    pass_fds: Sequence[int] = (),
) -> Completed:
    """Runs `argv` to its end and returns what it left.

    `env` is laid over the own environment. With `log`, both outputs go to that file (appended)
    and the result carries none. At `timeout_s`, or when we are interrupted, the whole process
    group is ended. Raises ProcessFailed unless `check` is off, MissingCapability if there is no
    such program, TestbedFault when the time is up.
    """
    out = log.open("ab") if log else None
    try:
        child = subprocess.Popen(
            list(argv),
            cwd=cwd,
            env={**os.environ, **env} if env is not None else None,
            stdin=subprocess.PIPE,
            stdout=out or subprocess.PIPE,
            stderr=out or subprocess.PIPE,
            start_new_session=True,
            pass_fds=tuple(pass_fds),
        )
    except FileNotFoundError as error:
        raise MissingCapability(
            f"no program '{argv[0]}' on this host", hint="run 'make setup' or see 'testbed doctor'"
        ) from error
    finally:
        if out:
            out.close()
    try:
        stdout, stderr = child.communicate(stdin, timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        _end_group(child)
        raise TestbedFault(f"`{shlex.join(argv)}` took longer than {timeout_s:g} s") from error
    except BaseException:
        _end_group(child)
        raise
    done = Completed(
        tuple(argv),
        child.returncode,
        (stdout or b"").decode(errors="replace"),
        (stderr or b"").decode(errors="replace"),
    )
    if check and done.status != 0:
        raise ProcessFailed(done)
    return done


def _end_group(child: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.communicate()


def run_id(pid: int) -> str | None:
    """`pid:starttime` of a live process, None if there is none: a name that is never reused."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    # A leader that ended before its threads shows as a zombie too, and the process is not gone: of a PID 1
    # that is killed, it is the last thread that waits for all others of its namespace (v6.18 kernel/exit.c,
    # find_child_reaper()).
    gone = fields[0] == "Z" and int(fields[17]) <= 1
    return None if gone else f"{pid}:{fields[19]}"
