"""Owns the trial of a kernel that watches itself: it boots, works a little, and has nothing to report."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from testbed import consoles, store
from testbed.errors import TestbedError
from testbed.images import BuiltImage
from testbed.kernels import BuiltKernel
from testbed.model import Plan
from testbed.run.boot import NotReady
from testbed.run.lab import Lab

if TYPE_CHECKING:
    from testbed.machines.guest import Guest

MEMORY_BYTES = 320 << 20
"""LOCKDEP's tables alone take some ten MiB, and what is checked twice takes twice the room."""
COMMAND_S = 120.0
PIECE_BYTES = 1 << 18
WORK = (
    ("dd", "if=/dev/zero", "of=/dev/shm/trial", "bs=1M", "count=100", "status=none"),
    ("rm", "/dev/shm/trial"),
    ("sync",),
)
"""A little of what patch sets are about: memory taken and given back. A tmpfs takes half of what there is."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What a trial found: reports of the kernel in words, or why it went no further; whether LOCKDEP was on
    to the end; and the counters, none if it did not come so far.
    """

    reports: tuple[str, ...]
    watched: bool
    counters: dict[str, str | None]

    @property
    def clean(self) -> bool:
        return self.watched and not self.reports


def alone(plan: Plan) -> Plan:
    """The machine under test of an idle plan without the others, and with more room."""
    subject = plan.machine(plan.judging.subject)
    machine = subject.model_copy(update={"memory_bytes": MEMORY_BYTES})
    return plan.model_copy(update={"machines": (machine,), "cell": f"trial/{plan.labels.kernel}"})


def boot(
    plan: Plan, kernel: BuiltKernel, image: BuiltImage, counters: tuple[str, ...], folder: Path
) -> Trial:
    """Boots the one machine of `plan`, and looks.

    That it does not come up, or does not do its little work, is what was found of it. Anything else that
    fails without a report of the kernel is a fault.
    """
    # As in run/lab.py: fabric and paramiko are for those who boot something.
    from testbed.machines.guest import CommandFailed, GuestUnreachable

    name = plan.machines[0].name
    watched, found = False, dict[str, str | None]()
    try:
        with Lab(plan, {plan.machines[0].kernel: kernel}, image, folder) as lab:
            guest = lab.guests[name]
            for argv in WORK:
                guest.run(argv, timeout_s=COMMAND_S)
            found = {counter: _read(guest, counter) for counter in counters}
            watched = _is_watched(guest)
    except TestbedError as error:
        said = _reports(folder / store.console_name(name))
        if said:
            return Trial((*said, f"and then: {error.message}"), False, found)
        if not isinstance(error, NotReady | GuestUnreachable | CommandFailed):
            raise
        return Trial((error.message,), False, found)
    return Trial(_reports(folder / store.console_name(name)), watched, found)


def _is_watched(guest: Guest) -> bool:
    """LOCKDEP stops at its first report (6.1 kernel/locking/lockdep_proc.c lockdep_stats_show())."""
    text = guest.run(["cat", "/proc/lockdep_stats"], timeout_s=COMMAND_S, check=False).stdout
    return re.search(r"^ *debug_locks: +1$", text, re.MULTILINE) is not None


def _read(guest: Guest, counter: str) -> str | None:
    """What a counter says: a file below debugfs, else a name of the MIBs; None if it is not there."""
    if "/" in counter:
        done = guest.run(["cat", f"/sys/kernel/debug/{counter}"], timeout_s=COMMAND_S, check=False)
        return done.stdout.strip()[:200] if done.status == 0 else None
    for file in ("/proc/net/netstat", "/proc/net/snmp", "/proc/vmstat"):
        text = guest.run(["cat", file], timeout_s=COMMAND_S, check=False).stdout
        lines = [line.split() for line in text.splitlines()]
        for names, values in pairwise(lines):
            if counter in names[1:] and names[0] == values[0] and len(names) == len(values):
                return values[names.index(counter)]
        plain = {words[0]: words[1] for words in lines if len(words) == 2}
        if counter in plain:
            return plain[counter]
    return None


def _reports(console: Path) -> tuple[str, ...]:
    if not console.is_file():
        return ()
    with console.open("rb") as file:
        reading = consoles.read(iter(partial(file.read, PIECE_BYTES), b""))
    return tuple(f"{report.sign.words}: {report.text}" for report in reading.reports)
