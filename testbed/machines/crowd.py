"""Owns the crowding of a core: threads are confined to it, and spinners of ours keep it busy.

Runs inside the broker, where threads have the ids that QEMU gives them. Nothing but affinity is
changed, since an ordinary user could not take back a lower priority (sched(7)). Each spinner has a
session of its own: with autogroups, which most distributions have on, sessions share a core and not
processes.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from testbed import proc
from testbed.errors import TestbedFault

MOST_SPINNERS = 64
MOST_S = 900
"""A spinner ends by itself after that; it also goes with the lab."""
_LIFELINE_FD = 3


@dataclass(frozen=True, slots=True)
class _Crowd:
    core: int
    before: dict[int, set[int]]
    spinners: tuple[int, ...]


class Crowds:
    """The crowds of a lab, by name. Not thread-safe: the broker calls it under one lock."""

    def __init__(self) -> None:
        self._crowds: dict[str, _Crowd] = {}

    def begin(self, name: str, threads: Sequence[int], spinners: int) -> None:
        """Confines `threads` to one core of theirs, beside so many spinners."""
        if name in self._crowds:
            raise TestbedFault(f"crowd '{name}' is there already")
        if not threads or not 1 <= spinners <= MOST_SPINNERS:
            raise TestbedFault(
                f"a crowd of {spinners} spinners and {len(threads)} threads",
                hint=f"1 to {MOST_SPINNERS} spinners, and a thread at least",
            )
        before = {thread: os.sched_getaffinity(thread) for thread in threads}
        core = max(before[threads[0]])
        started = tuple(_spin(core) for _ in range(spinners))
        self._crowds[name] = _Crowd(core, before, started)
        for thread in threads:
            os.sched_setaffinity(thread, {core})

    def end(self, name: str) -> None:
        """Ends the spinners, and gives the threads their cores back; nothing happens without a crowd."""
        crowd = self._crowds.pop(name, None)
        if crowd is None:
            return
        for spinner in crowd.spinners:
            _end(spinner)
        for thread, cores in crowd.before.items():
            try:
                os.sched_setaffinity(thread, cores)
            except ProcessLookupError:
                pass  # the guest has ended meanwhile

    def spinning(self) -> dict[str, int]:
        """By name, how many spinners are at work; 0 where a thread is not confined to their core."""
        return {name: _at_work(crowd) for name, crowd in self._crowds.items()}


def _spin(core: int) -> int:
    argv = [sys.executable, "-P", "-m", "testbed.machines.spinner", str(MOST_S)]
    actions = [(os.POSIX_SPAWN_CLOSE, _LIFELINE_FD)]
    spinner = os.posix_spawn(sys.executable, argv, os.environ, file_actions=actions, setsid=True)
    os.sched_setaffinity(spinner, {core})
    return spinner


def _end(spinner: int) -> None:
    try:
        os.kill(spinner, signal.SIGKILL)
        os.waitpid(spinner, 0)
    except (ProcessLookupError, ChildProcessError):
        pass  # it has ended, and PID 1 has reaped it


def _at_work(crowd: _Crowd) -> int:
    try:
        confined = all(os.sched_getaffinity(thread) == {crowd.core} for thread in crowd.before)
    except ProcessLookupError:
        return 0
    alive = [spinner for spinner in crowd.spinners if proc.run_id(spinner) is not None]
    return len(alive) if confined else 0
