"""Synthetic histories, composed as a real run writes them: quarter-second samples, changed values only."""

from __future__ import annotations

import bisect
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from testbed import store
from testbed.clock import NS
from testbed.history import Event, History
from testbed.model import Judging, Plan

BASE_NS = 5_000 * NS
TICK_NS = NS // 4
PAGES = 15_360

Values = dict[str, dict[str, int]]


def judging(**changes: Any) -> Judging:
    values: dict[str, Any] = {
        "subject": "A",
        "server": "C",
        "faults": ["cut"],
        "progress": ["A/anonymous.work_units", "A/blocksampler.reads_completed_0"],
        "in_flight": "A/blocksampler.in_flight_0",
        "free_pages": ["A/blocksampler.free_pages", "A/memory.free_pages"],
        "heals": ["cut"],
        "requires": ["in-flight", "still", "exhausted"],
        "finish": "sweep",
        "finish_loads": ["anonymous"],
        "bound_s": 60.0,
        "begin_at_s": 18.0,
        **changes,
    }
    return Judging.model_validate(
        {key: value for key, value in values.items() if key in Judging.model_fields}
    )


@dataclass(frozen=True)
class Story:
    """A cell of S1 as it is played: cut at 2 s, flood from 5 s to 14 s, heal and judging at 18 s.

    `recover_s` is from the heal; None is never. `tweak` may change any sample: it is handed the
    time in seconds and the values of all sources.
    """

    rules: Judging = field(default_factory=judging)
    cut_s: float | None = 2.0
    flood_s: tuple[float, float] | None = (5.0, 14.0)
    judge_s: float = 18.0
    heals: bool = True
    recover_s: float | None = 10.0
    watch_s: float = 60.0
    rate: float = 900.0
    rate_after: float = 800.0
    sweep_takes_s: float = 3.0
    sweep_pages: int = PAGES
    sweep_ends: bool = True
    least_free: int = 88
    in_flight: int = 4
    busy: float = 0.1
    scanning: bool = False
    delayed: float = 0.02
    guest_pace: float = 1.0
    dead_from_s: float | None = None
    consoles: dict[str, bytes] = field(default_factory=dict, hash=False)
    events: tuple[tuple[float, str, dict[str, Any]], ...] = field(default=(), hash=False)
    without: tuple[str, ...] = ()
    tweak: Callable[[float, Values], None] = lambda t, values: None

    # --- when

    @cached_property
    def resumes_s(self) -> float | None:
        if self.cut_s is None:
            return self.judge_s
        if self.recover_s is None or not self.heals:
            return None
        return self.judge_s + self.recover_s

    @cached_property
    def sweep_s(self) -> float | None:
        return None if self.resumes_s is None else self.resumes_s + 7.5

    @cached_property
    def swept_s(self) -> float | None:
        return None if self.sweep_s is None else self.sweep_s + self.sweep_takes_s

    @cached_property
    def end_s(self) -> float:
        if self.swept_s is None:
            return self.judge_s + self.watch_s
        return self.swept_s + (0.5 if self.sweep_ends else 5.0)

    def works(self, t: float) -> bool:
        if self.dead_from_s is not None and t >= self.dead_from_s:
            return False
        if self.cut_s is None or t < self.cut_s + 0.5:
            return True
        return self.resumes_s is not None and t >= self.resumes_s

    # --- what

    def timeline(self) -> Iterator[tuple[float, str, dict[str, Any]]]:
        yield -12, "lab.ready", {}
        yield -11, "transport.attached", {}
        yield -10, "load.started", {"name": "anonymous"}
        yield -0.01, "steady", {}
        yield 0, "timeline.begin", {}
        told = {"name": "cut", "fault": "drop", "read_back": True, "flows": ["swap.requests", "swap.replies"]}
        if self.cut_s is not None:
            yield self.cut_s, "fault.applied", told
        if self.flood_s is not None:
            yield self.flood_s[0], "load.started", {"name": "flood"}
            yield self.flood_s[1], "load.stopped", {"name": "flood"}
        if self.cut_s is not None:
            yield (self.judge_s if self.heals else self.end_s + 0.1), "fault.reverted", told
        yield self.judge_s + 0.01, "judging.begin", {}
        if self.resumes_s is not None and self.sweep_s is not None and self.swept_s is not None:
            yield self.resumes_s, "progress.resumed", {}
            if self.rules.finish == "sweep":
                yield self.sweep_s, "sweep.asked", {}
            yield (
                (self.swept_s, "sweep.done", {}) if self.sweep_ends else (self.end_s - 0.1, "sweep.late", {})
            )
        yield self.end_s, "judging.end", {"why": "bound" if self.resumes_s is None else "finished"}
        yield from self.events

    def samples(self) -> Iterator[tuple[float, Values]]:
        work, fed, swept, scans, again, offered, delivered = 0.0, 0.0, 0.0, 0, 0.0, 0, 0
        t = -10.0
        while t <= self.end_s + 1:
            alive_s = t if self.dead_from_s is None else min(t, self.dead_from_s)
            healed = self.heals and t > self.judge_s
            blocked = self.cut_s is not None and t >= self.cut_s and not healed
            sweeping = self.sweep_s is not None and t > self.sweep_s and (swept < self.sweep_pages)
            done = bool(self.swept_s and t >= self.swept_s and self.sweep_ends and self.works(t))
            if self.works(t):
                rate = self.rate if self.cut_s is None or t < self.cut_s + 0.5 else self.rate_after
                work += 0 if sweeping else rate * 0.25
                fed += rate * 0.1
            again += 0 if self.works(t) else 0.25
            passed = int(fed * 2) + int(again)
            offered, delivered = passed, delivered + (0 if blocked else passed - offered)
            if sweeping:
                swept = min(self.sweep_pages, swept + PAGES * 0.25 / self.sweep_takes_s)
            flooded = self.flood_s is not None and self.flood_s[0] <= t
            free = self.least_free if flooded and not self.works(t) else 900
            scans += 5000 if self.scanning else 0
            seconds = t + 10
            values: Values = {
                "A/machine": {
                    "beats": int((alive_s + 10) * 4),
                    "beat_ns": int((alive_s + 10) * NS * self.guest_pace),
                },
                "A/blocksampler": {
                    "samples": int((alive_s + 10) * 20),
                    "free_pages": free,
                    "min_pages": 256,
                    "low_pages": 320,
                    "high_pages": 384,
                    "reads_completed_0": int(fed),
                    "writes_completed_0": int(fed * 0.8),
                    "in_flight_0": self.in_flight if blocked or not self.works(t) else 1,
                },
                "A/vmsampler": {
                    "samples": int((alive_s + 10) * 4) if not blocked else 48,
                    "pgscan_kswapd": scans,
                    "allocstall": scans // 50,
                    "pfmemalloc_drop": 0,
                    "oom_kill": 0,
                },
                "A/anonymous": {
                    "state": 3,
                    "work_units": int(work),
                    "pages_total": PAGES,
                    "pages_filled": PAGES,
                    "bad_pages": 0,
                    "sweeps_done": int(done),
                    "sweep_pages": int(swept),
                    "sweep_bad_pages": 0,
                },
                "A/memory": {"free_pages": free},
                "A/vcpu": {
                    "run_ns": int(seconds * NS * self.busy),
                    "delay_ns": int(seconds * NS * self.delayed),
                },
                "C/vcpu": {"run_ns": int(seconds * NS * 0.05), "delay_ns": int(seconds * NS * 0.01)},
                "A/domain": {"state": 1},
                "wire/swap.requests": {"offered_packets": offered, "delivered_packets": delivered},
                "wire/swap.replies": {"offered_packets": int(fed * 2), "delivered_packets": int(fed * 2)},
            }
            if self.flood_s is not None:
                sent = int(max(0.0, min(t, self.flood_s[1]) - self.flood_s[0]) * 8000)
                values["wire/flood"] = {"offered_packets": sent, "delivered_packets": sent}
            for machine, console in self.consoles.items():
                values[f"{machine}/console"] = {"bytes": shown_bytes(console, t)}
            self.tweak(t, values)
            yield t, {source: given for source, given in values.items() if source not in self.without}
            t += 0.25

    def records(self) -> list[dict[str, Any]]:
        timed: list[tuple[int, dict[str, Any]]] = []
        for t, what, fields in self.timeline():
            timed.append((ns(t), {"t": ns(t), "kind": "event", "what": what, **fields}))
        last: Values = {}
        for t, values in self.samples():
            for source, given in values.items():
                before = last.setdefault(source, {})
                changed = {key: value for key, value in given.items() if before.get(key) != value}
                if changed:
                    before.update(changed)
                    timed.append((ns(t), {"t": ns(t), "kind": "sample", "of": source, "v": changed}))
        timed.sort(key=lambda pair: pair[0])
        return [record for _, record in timed]

    def evidence(self) -> store.Evidence:
        return store.Evidence(self.rules, as_history(self.records()), self.consoles)

    def but(self, **changes: Any) -> Story:
        return replace(self, **changes)


def ns(seconds: float) -> int:
    return BASE_NS + round(seconds * NS)


@cache
def _sizes(console: bytes) -> tuple[list[float], list[int]]:
    """For every line with the guest's stamp: that stamp, and how much lies before the line."""
    stamps, sizes, size = [], [], 0
    for line in console.splitlines(keepends=True):
        if line.startswith(b"["):
            stamps.append(float(line[1 : line.index(b"]")]))
            sizes.append(size)
        size += len(line)
    return stamps, sizes


def shown_bytes(console: bytes, t: float) -> int:
    """How much of a console is written at `t`, by the guest's own stamps (the guest booted at -15 s)."""
    stamps, sizes = _sizes(console)
    first_later = bisect.bisect_right(stamps, t + 15)
    return sizes[first_later] if first_later < len(sizes) else len(console)


def kernel_line(t: float, text: str) -> bytes:
    return f"[{t + 15:12.6f}] {text}\r\n".encode()


def as_history(records: list[dict[str, Any]]) -> History:
    events: list[Event] = []
    values: dict[str, list[tuple[int, int]]] = {}
    for record in records:
        if record["kind"] == "event":
            fields = {key: value for key, value in record.items() if key not in ("t", "kind", "what")}
            events.append(Event(record["t"], record["what"], fields))
        else:
            for key, value in record["v"].items():
                values.setdefault(f"{record['of']}.{key}", []).append((record["t"], value))
    frozen = {name: tuple(points) for name, points in values.items()}
    return History(tuple(events), frozen, 0, records[-1]["t"] if records else 0)


def plan_of(rules: Judging, **labels: Any) -> Plan:
    """A plan around the rules, with all that a report shows."""
    told = {
        "playbook": "flood",
        "form": "short",
        "variant": "main",
        "kernel": "stock",
        "nic": "e1000e",
        "transport": "nbd",
        "repeat": 1,
        "expect": None,
        **labels,
    }
    machine = {
        "name": "A",
        "memory_bytes": 96 << 20,
        "vcpus": 1,
        "kernel": "subject",
        "nics": [
            {
                "link": "data",
                "model": told["nic"],
                "mac": "52:54:00:00:00:01",
                "address": "10.20.0.1",
                "tap": "tapA",
                "ifname": "data",
                "rx_ring": 64,
            }
        ],
        "disks": [],
    }
    spec: dict[str, Any] = {
        "base": "6.1",
        "sets": [] if told["kernel"] == "stock" else [told["kernel"]],
        "prebuilt": False,
    }
    return Plan.model_validate(
        {
            "cell": f"{told['playbook']}-{told['kernel']}-{told['repeat']}",
            "seed": 7,
            "accelerator": "tcg",
            "labels": told,
            "links": [{"name": "data", "bridge": "br0", "subnet": "10.20.0.0/24", "management": False}],
            "machines": [machine, {**machine, "name": "C", "kernel": "other"}],
            "kernels": {
                "subject": {"spec": spec, "digest": "4f" * 16},
                "other": {"spec": {"base": "6.1"}, "digest": "0c" * 16},
            },
            "image": "ab" * 16,
            "transport": {"kind": told["transport"], "client": "A", "server": "C", "options": {}},
            "loads": [],
            "faults": [],
            "events": [],
            "steady_s": 3.0,
            "judging": rules.model_dump(mode="json"),
            "inputs": {"playbooks/flood.toml": "9d" * 32, "kernel-patches/x/series": "77" * 32},
        }
    )


@cache
def _text(story: Story) -> str:
    """Campaigns play the same story in many cells."""
    encode = json.JSONEncoder(separators=(",", ":")).encode
    return "".join(f"{encode(record)}\n" for record in story.records())


def write_result(folder: Path, story: Story, **labels: Any) -> Path:
    """A result folder as a run leaves it, but for the verdict."""
    store.write_plan(folder, plan_of(story.rules, **labels))
    (folder / store.HISTORY).write_text(_text(story))
    for machine, console in story.consoles.items():
        (folder / store.console_name(machine)).write_bytes(console)
    return folder
