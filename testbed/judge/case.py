"""Owns the judge's view of a cell: the moments that matter, and how series are read between them."""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from testbed.clock import NS
from testbed.consoles import KernelReport, Reading, read
from testbed.history import Event, History
from testbed.judge.console import written_ns
from testbed.judge.values import ConsoleLine
from testbed.model import Judging
from testbed.snapshot import atomic_floor
from testbed.store import Evidence
from testbed.waitfor import Examination, examine, strength

FAILED = 5
"""State of a slot (testbed/guest/witness.h)."""
SETTLE_NS = NS // 2
"""Within so long after a fault, or its heal, all that the host counts shows it."""
BOUND_SLACK_S = 1.0
"""The window may close a beat before its bound."""


@dataclass(frozen=True)
class Case:
    """The evidence with its moments (host monotonic ns).

    `origin_ns`: zero of all times shown. `deed_ns`: the timeline's first deed, the end of the
    undisturbed time. `applied_ns`: the first fault in force, None without faults. `before_ns`:
    the begin of the first heal, up to which preconditions hold: a server may work before it is read back.
    `heal_ns`: the last heal, as it was read back, from which the time to recover runs.
    `begin_ns`..`end_ns`: the judging window. `came_to_end`: whether it was closed.
    """

    evidence: Evidence
    origin_ns: int
    deed_ns: int
    applied_ns: int | None
    before_ns: int
    heal_ns: int
    begin_ns: int
    end_ns: int
    came_to_end: bool

    @property
    def rules(self) -> Judging:
        return self.evidence.judging

    @property
    def history(self) -> History:
        return self.evidence.history

    @property
    def subject(self) -> str:
        return self.rules.subject

    @property
    def still_ns(self) -> int:
        return round(self.rules.still_s * NS)

    @property
    def observed_s(self) -> float:
        return max(0, self.end_ns - self.begin_ns) / NS

    @property
    def watched_to_bound(self) -> bool:
        """Whether it was watched for as long as silence must last to be a verdict."""
        return self.observed_s >= self.rules.bound_s - BOUND_SLACK_S

    @cached_property
    def alike(self) -> frozenset[str]:
        """The machines that have the kernel under test: the subject, and who else has its sampler."""
        others = (self.rules.server,) if self.rules.server is not None else ()
        found = (name for name in others if self.history.series(f"{name}/vmsampler.samples"))
        return frozenset((self.subject, *found))

    def at(self, t_ns: int) -> float:
        """Seconds since the timeline began."""
        return (t_ns - self.origin_ns) / NS

    def own(self, source_field: str) -> str:
        """The series of the subject: `machine.beats` -> `A/machine.beats`."""
        return f"{self.subject}/{source_field}"

    def vcpus(self, machine: str) -> int:
        """Of a machine; old histories, of machines that had one, do not say how many there are."""
        return self.history.value_at(f"{machine}/vcpu.vcpus", self.end_ns) or 1

    def growth(self, name: str, from_ns: int, to_ns: int) -> int | None:
        """As `History.growth`."""
        return self.history.growth(name, from_ns, to_ns)

    def rate(self, name: str, from_ns: int, to_ns: int) -> float | None:
        """Growth a second; None where the span is under a second or the series unseen."""
        grown = self.growth(name, from_ns, to_ns)
        if grown is None or to_ns - from_ns < NS:
            return None
        return grown * NS / (to_ns - from_ns)

    def least(self, name: str, from_ns: int, to_ns: int) -> tuple[int, int] | None:
        """(time, value) of the least value in the span, that in force at its start included."""
        points = list(self.within(name, from_ns, to_ns))
        in_force = self.history.value_at(name, from_ns)
        if in_force is not None:
            points.insert(0, (from_ns, in_force))
        return min(points, key=lambda point: point[1], default=None)

    def within(self, name: str, from_ns: int, to_ns: int) -> tuple[tuple[int, int], ...]:
        """As `History.within`."""
        return self.history.within(name, from_ns, to_ns)

    @cached_property
    def hole_ns(self) -> int:
        """The longest time after the heal in which nothing at all was recorded, of no machine.

        Then the testbed itself did not run, and what moved meanwhile is told as of when it was read. Taking a
        look is no hole: the subject stands still for as long.
        """
        times = {each.t_ns for each in self.history.events if self.heal_ns <= each.t_ns <= self.end_ns}
        looks = {each.t_ns for each in self.history.events_of("look")}
        for name in self.history.values:
            times.update(t_ns for t_ns, _ in self.within(name, self.heal_ns, self.end_ns))
        order = [self.heal_ns, *sorted(times), self.end_ns]
        gaps = (after - before for before, after in pairwise(order) if after not in looks)
        return max(gaps, default=0)

    @property
    def unwatched(self) -> bool:
        """Whether there is a hole in which a standstill could not have been told from work."""
        return self.hole_ns > self.still_ns

    def rises(self, names: Iterable[str], from_ns: int, to_ns: int) -> tuple[int, ...]:
        """As `History.rises`."""
        return self.history.rises(names, from_ns, to_ns)

    def last_seen(self, name: str, to_ns: int) -> int | None:
        """When the process that samples this series is last known to have been at work.

        A sampler counts its own rounds in `SOURCE.samples` (or `beats`); a series whose source
        has no such counter is read by the host, and always current.
        """
        source = name.rpartition(".")[0]
        for counter in ("samples", "beats"):
            points = self.history.series(f"{source}.{counter}")
            index = bisect.bisect_right(points, to_ns, key=lambda point: point[0])
            if points:
                return points[index - 1][0] if index else None
        return to_ns if self.history.value_at(name, to_ns) is not None else None

    @cached_property
    def counters(self) -> tuple[str, ...]:
        """The progress counters: those of the playbook, and the pages that a sweep has checked."""
        return self.rules.progress + tuple(
            self.own(f"{load}.sweep_pages") for load in self.rules.finish_loads
        )

    @cached_property
    def examination(self) -> Examination | None:
        """What the looks into the subject show: the pair that proves most, the latest of such pairs.

        Only looks after the heal count; None without two of them. A deadlock after which something moved
        was none: it comes after all that is proved, and before what proves nothing.
        """
        looks = [each for each in self.evidence.snapshots if self.heal_ns <= each.taken_ns <= self.end_ns]
        found = [
            examine(first, second, self.history, self.rules)
            for number, second in enumerate(looks)
            for first in looks[:number]
        ]

        def weight(pair: Examination) -> tuple[float, int, int]:
            proved, second, first = strength(pair)
            refuted = pair.proves == "deadlocked" and self.moved_ns(pair) is not None
            return (0.5 if refuted else proved, second, first)

        return max(found, key=weight, default=None)

    def second_ns(self, pair: Examination) -> int:
        """When the second of its looks was taken."""
        return next(each.taken_ns for each in self.evidence.snapshots if each.number == pair.second)

    def moved_ns(self, pair: Examination) -> int | None:
        """The first progress after its second look, be it a single request, or the end of a job."""
        ends = tuple(self.own(f"{load}.exit_status_plus_1") for load in self.rules.finish_loads)
        times = self.rises(self.counters + ends, self.second_ns(pair), self.end_ns)
        return times[0] if times else None

    def atomic_floor(self, t_ns: int) -> int | None:
        """Free pages at which GFP_ATOMIC allocations of the subject fail; None if its marks are not known.

        What is set aside below all marks is in no mark, and known by looks alone: as much for the whole cell.
        """
        min_pages = self.history.value_at(self.own("blocksampler.min_pages"), t_ns)
        if min_pages is None:
            return None
        aside = (sum(zone.set_aside for zone in look.zones) for look in self.evidence.snapshots)
        return atomic_floor(min_pages) + max(aside, default=0)

    @property
    def lost_looks(self) -> str:
        """What is to be said of looks whose files are damaged, without a full stop; empty if none is."""
        count = self.evidence.damaged_snapshots
        looks = "1 look" if count == 1 else f"{count} looks"
        return f"{looks} into {self.subject} could not be read" if count else ""

    @cached_property
    def readings(self) -> dict[str, Reading]:
        """What each machine's console says."""
        return {machine: read(console) for machine, console in self.evidence.consoles.items()}

    @cached_property
    def told(self) -> tuple[tuple[str, KernelReport, int | None], ...]:
        """Machine, report and time (ns) of all that the kernels reported, over all consoles."""
        found = []
        for machine, reading in self.readings.items():
            sizes = self.history.series(f"{machine}/console.bytes")
            found += [(machine, report, written_ns(sizes, report.offset)) for report in reading.reports]
        return tuple(found)

    def shown(self, machine: str, report: KernelReport, t_ns: int | None) -> ConsoleLine:
        at_s = None if t_ns is None else self.at(t_ns)
        return ConsoleLine(
            machine=machine, number=report.number, kind=report.kind, text=report.text, at_s=at_s
        )


def case_of(evidence: Evidence) -> Case:
    """Finds the moments in the history; a moment that is missing falls back on the next one known."""
    history, rules = evidence.history, evidence.judging
    end = history.first("judging.end")
    begin = history.first("judging.begin")
    stop = end or history.first("testbed.fault") or history.first("interrupted")
    end_ns = stop.t_ns if stop else history.last_ns
    begin_ns = min(begin.t_ns, end_ns) if begin else end_ns
    reverts = [e for e in history.events_of("fault.reverted") if e.name in rules.heals and e.t_ns <= end_ns]
    applied = [e.t_ns for e in history.events_of("fault.applied") if e.t_ns <= end_ns]
    origin_ns = _origin(history)
    return Case(
        evidence=evidence,
        origin_ns=origin_ns,
        deed_ns=_first_deed(history, origin_ns, begin_ns),
        applied_ns=min(applied, default=None),
        before_ns=min(map(_begun, reverts), default=begin_ns),
        heal_ns=max((e.t_ns for e in reverts), default=begin_ns),
        begin_ns=begin_ns,
        end_ns=end_ns,
        came_to_end=begin is not None and end is not None,
    )


def _begun(revert: Event) -> int:
    """When it was begun; the event itself comes when it was read back."""
    begun_ns = revert.fields.get("begun_ns")
    return min(begun_ns, revert.t_ns) if isinstance(begun_ns, int) else revert.t_ns


def _origin(history: History) -> int:
    begin = history.first("timeline.begin") or (history.events[0] if history.events else None)
    if begin:
        return begin.t_ns
    return min((points[0][0] for points in history.values.values() if points), default=0)


def _first_deed(history: History, origin_ns: int, begin_ns: int) -> int:
    deeds = ("fault.applied", "load.started")
    times = [e.t_ns for e in history.events if e.what in deeds and origin_ns <= e.t_ns < begin_ns]
    return min(times, default=begin_ns)


def in_force(case: Case, event: Event) -> tuple[int, int]:
    """From when to when an applied fault was in force, at the longest up to the end of judging."""
    ends = [
        _begun(e)
        for e in case.history.events_of("fault.reverted")
        if e.name == event.name and e.t_ns >= event.t_ns
    ]
    return event.t_ns, min(min(ends, default=case.end_ns), case.end_ns)
