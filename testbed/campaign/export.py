"""Owns what of a result is kept for good: a summary that documents link to, evidence to judge again.

A summary has no raw history and no path of the machine that it was made on, but the hashes of what
it was drawn from, so that a folder can be told to be the one that it speaks of.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path
from typing import Any

from testbed import history, store
from testbed.campaign.counted import counted
from testbed.campaign.expectation import Cell
from testbed.campaign.until_clear import read_notes
from testbed.clock import NS
from testbed.errors import UsageError
from testbed.judge.values import Finding, Verdict, read_verdict
from testbed.model import Plan

SUMMARY_VERSION = 1
TAKEN_FROM = (store.PLAN, store.HISTORY)
"""What the judge reads besides consoles and snapshots."""

_PATH = re.compile(r"(?<![\w.])/(?:[\w.+@,=-]+/)+([\w.+@,=-]*)")


def summary_of(folder: Path) -> dict[str, Any]:
    """A judged result folder in a few KiB: labels, verdict, evidence in numbers, events, hashes.

    Times are seconds since the timeline began; `counters` are those of patch sets, at the last look, and null
    where nobody looked. Raises UsageError if it is no result folder, or was
    not judged.
    """
    plan, verdict = store.read_plan(folder), read_verdict(folder)
    log = _history(folder)
    return {
        "summary_version": SUMMARY_VERSION,
        "cell": plan.cell,
        "folder": folder.resolve().name,
        "labels": plan.labels.model_dump(mode="json"),
        "met": Cell(folder, plan, verdict).met,
        "verdict": _verdict(verdict),
        "rules": plan.judging.model_dump(mode="json"),
        "events": _events(log),
        "counters": counted(plan, store.read_snapshots(folder)[0]),
        "inputs": dict(sorted(plan.inputs.items())),
        "until_clear": _until_clear(folder, plan),
        "surroundings": _surroundings(folder, plan),
        "sha256": _hashes(folder),
    }


def write_summary(folder: Path, into: Path) -> Path:
    """Writes `into/<name of the result folder>.json` and returns its path."""
    summary = summary_of(folder)
    into.mkdir(parents=True, exist_ok=True)
    path = into / f"{summary['folder']}.json"
    store.write_json(path, summary)
    return path


def copy_evidence(folder: Path, into: Path) -> Path:
    """Copies what the judge reads, and its verdict, to `into/<name of the result folder>`: a corpus.

    Replaces what lies there. Surroundings and reports stay behind: `testbed judge` needs neither.
    """
    read_verdict(folder)
    target = into / folder.resolve().name
    if target.exists():
        shutil.rmtree(target)
    target.mkdir(parents=True)
    for path in (*_evidence(folder), folder / store.VERDICT):
        copy = Path(shutil.copyfile(path, target / path.name))
        copy.chmod(0o644)  # a console is the guest's alone while it runs
    return target


def _verdict(verdict: Verdict) -> dict[str, Any]:
    """Where the testbed failed, the message may name files of its host."""
    whole = verdict.model_dump(mode="json", exclude={"findings": True, "examination": {"graph"}})
    if verdict.testbed_fault is not None:
        whole |= {"testbed_fault": _bare(verdict.testbed_fault), "reason": _bare(verdict.reason)}
    return whole | {"findings": [_finding(finding) for finding in verdict.findings]}


def _finding(finding: Finding) -> dict[str, Any]:
    """Without its console lines; how many there are stays."""
    told = finding.model_dump(mode="json", exclude={"lines"}) | {"console_lines": len(finding.lines)}
    if finding.says == "broken":
        told["statement"] = _bare(finding.statement)
    return told


def _bare(text: str) -> str:
    """The text with every absolute path cut down to its last part."""
    return _PATH.sub(r"\1", text)


def _history(folder: Path) -> history.History:
    try:
        return history.read(folder / store.HISTORY)
    except OSError as error:
        raise UsageError("no history: is this a result folder?", where=str(folder)) from error


def _events(log: history.History) -> list[dict[str, Any]]:
    """What happened and when; messages and reasons are left to the folder."""
    origin = log.first("timeline.begin")
    origin_ns = origin.t_ns if origin else (log.events[0].t_ns if log.events else 0)
    told = []
    for event in log.events:
        entry: dict[str, Any] = {"at_s": round((event.t_ns - origin_ns) / NS, 3), "what": event.what}
        entry |= {key: event.fields[key] for key in ("name", "why") if key in event.fields}
        if event.what == "lab.ready":
            entry.pop("why", None)  # of the accelerator: an error of QEMU's, with its paths
        if event.what == "examined":
            entry = {**entry, "why": event.fields.get("proves")}  # the sentence is in the verdict
        told.append(entry)
    return told


def _surroundings(folder: Path, plan: Plan) -> dict[str, Any]:
    """What the run recorded of tools and kernels; empty where it recorded nothing."""
    known = store.read_environment(folder)
    host = known.get("host") if isinstance(known.get("host"), dict) else {}
    accelerator = known.get("accelerator") if isinstance(known.get("accelerator"), dict) else {}
    return {
        "command": _bare(str(known.get("command") or "")),
        "commit": str(known.get("commit") or ""),
        "wall_clock": str(known.get("wall_clock") or ""),
        "hypervisor": str(known.get("hypervisor") or ""),
        "accelerator": str((accelerator or {}).get("kind") or plan.accelerator),
        "cores": (host or {}).get("cores"),
        "load": (host or {}).get("load"),
        "kernels": known.get("kernels") if isinstance(known.get("kernels"), dict) else {},
    }


def _until_clear(folder: Path, plan: Plan) -> dict[str, Any] | None:
    """The note of the campaign by whose rule this cell was played, if there was one."""
    notes = [note for note in read_notes(folder.resolve().parent) if note.covers(plan.labels)]
    return notes[-1].model_dump(mode="json") if notes else None


def _evidence(folder: Path) -> list[Path]:
    more = (*sorted(folder.glob("console-*.log")), *sorted(folder.glob("snapshot-*.json")))
    return [*(folder / name for name in TAKEN_FROM), *more]


def _hashes(folder: Path) -> dict[str, str]:
    found = {}
    for path in _evidence(folder):
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
