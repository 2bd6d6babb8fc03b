"""Owns the records of labs: which exist, who holds each, and what is left of those whose holder died."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from testbed import paths, proc
from testbed.errors import TestbedError, TestbedFault, UsageError, nearest
from testbed.machines.client import Broker
from testbed.machines.layout import BROKER_SOCKET, RECORD, libvirt_uri

END_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Record:
    """A lab: `holder` has its lifeline, `sandbox` is its `unshare`; both by `proc.run_id`."""

    id: str
    holder: str
    sandbox: str = ""
    since: str = ""
    what: str = ""

    def save(self, folder: Path) -> None:
        """Replaces the lab's record at once, so that no reader meets half of it."""
        new = folder / f".{RECORD}.new"
        new.write_text(json.dumps(asdict(self)))
        new.replace(folder / RECORD)

    @property
    def folder(self) -> Path:
        return paths.labs_dir() / self.id

    @property
    def held(self) -> bool:
        """Whether the process that holds the lifeline is alive."""
        return _alive(self.holder)


class AttachedLab:
    """A running lab, as another process than its holder sees it."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.folder = record.folder
        self.broker = Broker(self.folder / BROKER_SOCKET)
        self.libvirt_uri = libvirt_uri(self.folder)

    def end(self) -> None:
        """Ends the lab and waits until nothing of it is left. Raises TestbedFault if something stays."""
        end(self.record, self.broker)


def labs() -> tuple[Record, ...]:
    """All labs of this user, the eldest first, those being made included."""
    found = (_load(folder) for folder in paths.labs_dir().iterdir())
    return tuple(sorted((record for record in found if record), key=lambda record: (record.since, record.id)))


def attach(lab_id: str = "", *, holding: str = "") -> AttachedLab:
    """The lab of that id or its beginning; empty: the only one. Raises UsageError.

    `holding`: only labs that have a file of this name in their folder.
    """
    held = {record.id: record for record in labs() if record.held}
    known = {name: record for name, record in held.items() if (record.folder / holding).exists()}
    fitting = [name for name in known if name.startswith(lab_id)]
    if len(fitting) == 1:
        return AttachedLab(known[fitting[0]])
    if not known:
        busy = "".join(f", and {name} ({record.what}) is its player's" for name, record in held.items())
        hint = "start one with 'testbed up', or 'testbed run ... --keep'"
        raise UsageError(f"no lab is up that was left to you{busy}", hint=hint)
    if not fitting:
        raise UsageError(f"no lab '{lab_id}' is up", hint=nearest(lab_id, known), where="--lab")
    several = ", ".join(f"{name} ({known[name].what})" for name in sorted(fitting))
    raise UsageError(f"{len(fitting)} labs are up: {several}", hint="say which with --lab ID")


def gc() -> tuple[str, ...]:
    """Ends and removes the labs whose holder is dead; returns their ids."""
    removed = []
    for folder in paths.labs_dir().iterdir():
        record = _load(folder)
        if record is None:
            if not _being_made(folder):
                shutil.rmtree(folder, ignore_errors=True)
                removed.append(folder.name)
        elif not record.held:
            end(record, None)
            removed.append(record.id)
    return tuple(sorted(removed))


def end(record: Record, broker: Broker | None) -> None:
    """Ends a lab: by its broker if given, else by its sandbox's process; then removes its folder."""
    if broker is not None:
        try:
            broker.shutdown()
        except (TestbedError, OSError):
            pass  # then by force
        else:
            _await_end(record.sandbox, END_TIMEOUT_S / 2)
    if _alive(record.sandbox):
        # unshare --kill-child takes the namespace's PID 1 with it, and that, the last to go, all else.
        everything = (*_children(record.sandbox), record.sandbox)
        os.kill(_pid(record.sandbox), signal.SIGKILL)
        if not all(_await_end(run_id, END_TIMEOUT_S) for run_id in everything):
            raise TestbedFault(f"lab '{record.id}' does not end", where=record.sandbox)
    shutil.rmtree(record.folder, ignore_errors=True)


def _await_end(run_id: str, timeout_s: float) -> bool:
    if not _alive(run_id):
        return True
    try:
        process = os.pidfd_open(_pid(run_id))
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(process, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))
    finally:
        os.close(process)


def _children(run_id: str) -> tuple[str, ...]:
    pid = _pid(run_id)
    try:
        words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return ()
    return tuple(child for word in words if (child := proc.run_id(int(word))))


def _load(folder: Path) -> Record | None:
    try:
        value: Any = json.loads((folder / RECORD).read_text())
        record = Record(**value)
    except (OSError, ValueError, TypeError):
        return None
    return record if record.id == folder.name else None


def _being_made(folder: Path) -> bool:
    """A folder is made under the name `.RUNID.ID` and renamed when its record is in it."""
    return folder.name.startswith(".") and _alive(folder.name[1:].partition(".")[0])


def _alive(run_id: str) -> bool:
    return bool(run_id) and proc.run_id(_pid(run_id)) == run_id


def _pid(run_id: str) -> int:
    number = run_id.partition(":")[0]
    return int(number) if number.isdigit() else 0
