"""The run stage without guests: faults are healed whatever happens, and nothing waits in vain."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest

from testbed import history
from testbed.clock import NS, now_ns
from testbed.errors import TestbedFault
from testbed.faults import Fault, FaultTarget, fault_class
from testbed.judge import judge
from testbed.model import Plan, PlannedEvent
from testbed.run.endings import LINE_BYTES, Ending
from testbed.run.looking import Looker
from testbed.run.observe import Observer, View
from testbed.run.timeline import Timeline
from testbed.store import Evidence
from testbed.witnesses import Readings
from testbed.witnesses.page import Control, State, WitnessPage
from tests.histories import judging, plan_of

NOTHING = cast(FaultTarget, None)
LOAD = {
    "name": "anonymous",
    "kind": "anonymous",
    "machine": "A",
    "slot": 3,
    "page_kind": "anonymous",
    "start": "early",
    "options": {},
}


def event(at_s: float, do: str, name: str) -> PlannedEvent:
    return PlannedEvent.model_validate({"at_s": at_s, "do": do, "name": name})


def small_plan(*events: PlannedEvent, **changes: Any) -> Plan:
    rules = judging(
        progress=["A/anonymous.work_units"],
        bound_s=60.0,
        begin_at_s=3.0,
        rate_window_s=5.0,
        finish_s=30.0,
        **changes,
    )
    value = plan_of(rules).model_dump(mode="json")
    value |= {"loads": [LOAD], "steady_s": 3.0}
    return Plan.model_validate(value).model_copy(update={"events": events})


CUT = (event(0, "apply", "cut"), event(2, "revert", "cut"))


@dataclass
class Guest:
    """Page and witness of one load: works while it is told to run, until `dies` says no."""

    every_ticks: int = 1
    name: str = "A/anonymous"
    told: list[Control] = field(default_factory=list)
    swaps: bool = True
    ends: bool = True
    sweeps: bool = True
    works: Callable[[], bool] = lambda: True
    lives: Callable[[], bool] = lambda: True
    pages_filled: int | None = None
    state: State = State.RUNNING
    work_units: int = 0
    beats: int = 0
    exit_status_plus_1: int = 0

    def control(self, _slot: int, value: Control) -> None:
        self.told.append(value)

    def read(self) -> Readings:
        runs = bool(self.told) and self.works()
        self.work_units += runs
        self.beats += self.lives()
        filled = 10 if runs or self.work_units else 0
        values = {
            "pages_total": 10,
            "pages_filled": filled if self.pages_filled is None else self.pages_filled,
            "work_units": self.work_units,
            "exit_status_plus_1": self.exit_status_plus_1,
            "sweeps_done": int(runs and self.sweeps and Control.SWEEP in self.told),
            "state": State.DONE if self.ends and Control.QUIT in self.told else self.state,
            "error": errno.ENOMEM if self.state is State.FAILED else 0,
        }
        swap = {"swap_total_kib": 100, "swap_free_kib": 50 if self.swaps else 100, "samples": self.beats}
        moved = {"pswpin": self.work_units, "pswpout": 2 * self.work_units}
        return {"A/anonymous": values, "A/vmsampler": swap | moved, "A/machine": {"beats": self.beats}}


@dataclass
class FakeFault:
    """Notes its deeds in a log that all share; fails where it is told to."""

    name: str
    log: list[str]
    has_effect: bool = True
    heals: bool = True
    raises: Mapping[str, BaseException] = field(default_factory=dict)
    now: bool = False
    takes: Callable[[], bool] = lambda: True
    took: list[bool] = field(default_factory=list)
    lasting: bool = True
    ends_with_lab: bool = False
    kind: ClassVar[str] = "fake"
    machines: tuple[str, ...] = ()

    def cuts(self, _target: FaultTarget) -> tuple[str, ...]:
        return ("swap.requests",)

    def apply(self, _target: FaultTarget) -> None:
        self._do("apply")
        self.now = self.has_effect

    def revert(self, _target: FaultTarget) -> None:
        self._do("revert")
        if self.heals:
            self.now = False

    def in_force(self, _target: FaultTarget) -> bool:
        return self.now

    def _do(self, what: str) -> None:
        self.log.append(f"{what} {self.name}")
        self.took.append(self.takes())
        if what in self.raises:
            raise self.raises[what]


@dataclass
class Stage:
    """A timeline with its fakes."""

    folder: Path
    plan: Plan = field(default_factory=lambda: small_plan(*CUT))
    guest: Guest = field(default_factory=Guest)
    log: list[str] = field(default_factory=list)
    faults: dict[str, FakeFault] = field(default_factory=dict)
    console: Callable[[], bytes] = lambda: b""
    seen: list[View] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.writer = history.Writer(self.folder / "history.jsonl")
        if not self.faults:
            self.fault("cut")
        self.observer = Observer(self.writer, [self.guest], self.seen.append)
        self.timeline = Timeline(
            self.plan,
            {"A": cast(WitnessPage, self.guest)},
            cast(dict[str, Fault], self.faults),
            NOTHING,
            self.observer,
            self.writer,
            ending=Ending(lambda: self.console()),
        )

    def fault(self, name: str, **how: Any) -> FakeFault:
        self.faults[name] = FakeFault(name, self.log, **how)
        return self.faults[name]

    def events(self) -> list[str]:
        self.writer.flush()
        found = history.read(self.folder / "history.jsonl").events
        return [f"{event.what} {event.name}".strip() for event in found]

    def ending(self) -> str:
        self.writer.flush()
        end = history.read(self.folder / "history.jsonl").first("judging.end")
        return "" if end is None else str(end.fields["why"])


@dataclass
class Clock:
    """The host's monotonic time, which goes on a microsecond when it is read, and otherwise by sleeping."""

    at_ns: int = 5_000 * NS
    slept: list[float] = field(default_factory=list)

    def read(self) -> int:
        self.at_ns += 1_000
        return self.at_ns

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at_ns += round(seconds * NS)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "monotonic_ns", made.read)
    monkeypatch.setattr(time, "sleep", made.sleep)
    monkeypatch.setattr(os, "fsync", lambda _fd: None)
    return made


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.writer.close()


# --- a cell that goes well


def test_a_cell_from_steady_state_to_sweep(stage: Stage) -> None:
    stage.timeline.play()
    assert stage.events() == [
        "load.started anonymous",
        "steady",
        "timeline.begin",
        "fault.applied cut",
        "fault.reverted cut",
        "judging.begin",
        "progress.resumed",
        "sweep.asked",
        "sweep.done",
        "judging.end",
    ]
    assert stage.ending() == "finished"
    assert stage.guest.told == [Control.RUN, Control.SWEEP]
    stage.timeline.revert_all()
    assert stage.log == ["apply cut", "revert cut"]


def test_deeds_carry_their_read_back_and_flows(stage: Stage) -> None:
    stage.timeline.play()
    recorded = history.read(stage.folder / "history.jsonl")
    for what in ("fault.applied", "fault.reverted"):
        found = recorded.first(what, "cut")
        assert found is not None
        assert found.fields["read_back"] is True
        assert found.fields["fault"] == "fake"
    applied = recorded.first("fault.applied")
    assert applied is not None and applied.fields["flows"] == ["swap.requests"]


def test_deeds_come_when_planned_and_the_rest_is_no_wait(stage: Stage, clock: Clock) -> None:
    stage.timeline.play()
    recorded = history.read(stage.folder / "history.jsonl")
    begin, applied, reverted = (
        recorded.first(what) for what in ("timeline.begin", "fault.applied", "fault.reverted")
    )
    assert begin and applied and reverted
    assert begin.t_ns < applied.t_ns < reverted.t_ns
    assert (reverted.t_ns - begin.t_ns) / NS == pytest.approx(2, abs=0.01)
    # steady 3 s, timeline 3 s, "moves on" 2 s, rate 5 s, and a few beats of 0.25 s
    assert sum(clock.slept) == pytest.approx(13, abs=1)
    assert max(clock.slept) <= 0.25


def test_a_fault_that_flaps_is_read_back_each_time_and_left_healed(tmp_path: Path) -> None:
    spells = [event(at_s, do, "cut") for at_s, do in ((0, "apply"), (0.5, "revert"), (1.5, "apply"))]
    made = Stage(tmp_path, plan=small_plan(*spells))
    made.timeline.play()
    assert made.faults["cut"].now
    made.timeline.revert_all()
    assert made.log == ["apply cut", "revert cut"] * 2
    assert not made.faults["cut"].now
    assert [what for what in made.events() if "cut" in what] == [
        "fault.applied cut",
        "fault.reverted cut",
    ] * 2


def test_while_a_deed_takes_its_time_all_is_watched_on(stage: Stage) -> None:
    seen = threading.Event()

    def works() -> bool:
        if "apply cut" in stage.log:
            seen.set()
        return True

    stage.guest.works = works
    stage.faults["cut"].takes = lambda: seen.wait(10)
    stage.timeline.play()
    assert stage.faults["cut"].took == [True, True]
    assert [what for what in stage.events() if "cut" in what] == ["fault.applied cut", "fault.reverted cut"]


def test_a_load_of_the_timeline_is_started_and_stopped(tmp_path: Path) -> None:
    flood = {**LOAD, "name": "flood", "slot": 4, "start": "timeline"}
    plan = small_plan(event(0, "start", "flood"), event(1, "stop", "flood"))
    value = plan.model_dump(mode="json") | {"loads": [LOAD, flood]}
    made = Stage(tmp_path, plan=Plan.model_validate(value))
    made.timeline.play()
    assert made.guest.told == [Control.RUN, Control.RUN, Control.STOP, Control.SWEEP]
    assert {"load.started flood", "load.stopped flood"} <= set(made.events())


def test_what_was_before_anybody_worked_is_sampled_first(stage: Stage) -> None:
    stage.timeline.play()
    points = history.read(stage.folder / "history.jsonl").series("A/anonymous.work_units")
    assert points[0][1] == 0


def test_where_memory_must_be_whole_the_loads_are_ended_and_it_is_sampled_after(tmp_path: Path) -> None:
    plan = small_plan(*CUT, blocks={"order": 3, "least": 0.5})
    made = Stage(tmp_path, plan=plan)
    made.timeline.play()
    assert made.guest.told == [Control.RUN, Control.SWEEP, Control.QUIT]
    assert made.events()[-3:] == ["sweep.done", "loads.ended", "judging.end"]
    recorded = history.read(tmp_path / "history.jsonl")
    ended, end = recorded.first("loads.ended"), recorded.first("judging.end")
    assert ended and end and (end.t_ns - ended.t_ns) / NS == pytest.approx(5, abs=0.5)


def test_loads_that_do_not_end_are_not_said_to_have(tmp_path: Path) -> None:
    made = Stage(tmp_path, plan=small_plan(*CUT, blocks={"order": 3, "least": 0.5}), guest=Guest(ends=False))
    made.timeline.play()
    assert "loads.ended" not in made.events()
    assert made.ending() == "finished"


def test_a_deed_is_neither_read_back_nor_reverted(stage: Stage) -> None:
    stage.fault("cut", lasting=False, has_effect=False)
    stage.timeline.plan = stage.plan.model_copy(update={"events": CUT[:1]})
    stage.timeline.play()
    stage.timeline.revert_all()
    assert stage.log == ["apply cut"]
    applied = history.read(stage.folder / "history.jsonl").first("fault.applied", "cut")
    assert applied is not None and applied.fields["read_back"] is True


# --- and one that does not


def test_a_guest_that_never_resumes_ends_at_the_bound(stage: Stage) -> None:
    stage.guest.works = lambda: not stage.log
    stage.timeline.play()
    assert stage.ending() == "bound"
    assert "progress.resumed" not in stage.events()
    assert Control.SWEEP not in stage.guest.told


def test_a_job_that_ended_before_the_judging_point_is_not_waited_for(tmp_path: Path) -> None:
    made = Stage(tmp_path, plan=small_plan(*CUT, finish="exit"))
    made.guest.works = lambda: not made.log
    made.guest.exit_status_plus_1 = 1
    made.timeline.play()
    assert made.ending() == "finished"
    assert made.events()[-3:] == ["progress.resumed", "sweep.done", "judging.end"]


def test_one_more_request_is_no_recovery(stage: Stage) -> None:
    left = iter([True])
    stage.guest.works = lambda: not stage.log or ("revert cut" in stage.log and late() and next(left, False))

    def late() -> bool:
        return "judging.begin" in stage.events()

    stage.timeline.play()
    assert stage.ending() == "bound"
    assert "progress.resumed" not in stage.events()
    assert Control.SWEEP not in stage.guest.told


@dataclass
class Proves:
    """A looker that finds a deadlock whenever it is asked, but not within `after_s` of its beginning."""

    after_s: float = 3.0
    begun: list[int] = field(default_factory=list)
    proved: bool = False

    def begin(self) -> None:
        self.begun.append(now_ns())

    def step(self) -> bool:
        self.proved = now_ns() >= self.begun[-1] + self.after_s * NS
        return self.proved

    def refute(self) -> None:
        self.proved = False
        self.begin()


def test_a_proof_ends_the_wait(stage: Stage) -> None:
    looker = Proves()
    stage.timeline.looker = cast(Looker, looker)
    stage.guest.works = lambda: "revert cut" not in stage.log
    stage.timeline.play()
    assert stage.ending() == "proof" and stage.timeline.wedged
    assert stage.events().count("proved") == 1 and len(looker.begun) == 1


def test_a_panic_after_a_proof_refutes_nothing(stage: Stage) -> None:
    looker = Proves()
    stage.timeline.looker = cast(Looker, looker)
    stage.guest.works = lambda: "revert cut" not in stage.log
    panic = b"[   60.000000] Kernel panic - not syncing: System is deadlocked on memory\r\n"
    soon_s = looker.after_s + 2
    stage.console = lambda: panic if looker.begun and now_ns() > looker.begun[0] + soon_s * NS else b""
    stage.timeline.play()
    assert stage.ending() == "console"
    assert [what for what in stage.events() if what in ("proved", "refuted")] == ["proved"]


def test_a_proof_is_refuted_by_what_moves_after_it_and_looks_begin_anew(stage: Stage, clock: Clock) -> None:
    looker = Proves()
    stage.timeline.looker = cast(Looker, looker)
    last: list[int] = []

    def works() -> bool:
        if "revert cut" not in stage.log:
            return True
        if looker.proved and not last:
            last.append(clock.at_ns)
            return True
        return False

    stage.guest.works = works
    stage.timeline.play()
    assert stage.ending() == "proof"
    told = [what for what in stage.events() if what in ("proved", "refuted")]
    assert told == ["proved", "refuted", "proved"]
    recorded = history.read(stage.folder / "history.jsonl")
    refuted, end = recorded.first("refuted"), recorded.first("judging.end")
    assert refuted and end and (end.t_ns - refuted.t_ns) / NS > looker.after_s + 5


def test_a_panic_ends_the_wait(stage: Stage) -> None:
    stage.guest.works = lambda: not stage.log
    said = iter((b"login: \r\n[   12.345678] Kernel pa", b"nic - not syncing: Fatal exception\r\n"))
    stage.console = lambda: next(said, b"")
    far = stage.plan.judging.model_copy(update={"bound_s": 600.0})
    stage.timeline.plan = stage.plan.model_copy(update={"judging": far})
    stage.timeline.play()
    assert stage.ending() == "console"
    recorded = history.read(stage.folder / "history.jsonl")
    begin, end = recorded.first("judging.begin"), recorded.first("judging.end")
    assert begin and end
    # It is heard at the first beat, and may print a little more for a second.
    assert (end.t_ns - begin.t_ns) / NS == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize(
    ("console", "over"),
    [
        (b"[    3.000000] Out of memory: Killed process 71 (agent)\r\n", True),
        (b"[ 1234.567890][    T1] Kernel panic - not syncing: x", True),
        # A prompt ends no line: what the kernel says next stands behind it.
        (b"login: [   12.345678] Kernel panic - not syncing: x\r\n", True),
        (b"Kernel panic - not syncing: x\r\n", False),
        (b"x" * 2 * LINE_BYTES + b"[   12.345678] Kernel panic - not syncing: x\r\n", False),
        (b"[   12.345678] " + b"x" * 2 * LINE_BYTES + b"Kernel panic - not syncing: x\r\n", False),
        (b"[   12.345678]\r\nKernel panic - not syncing: x\r\n", False),
    ],
)
@pytest.mark.parametrize("step", [1, 7, LINE_BYTES, LINE_BYTES + 1, 1000])
def test_a_line_ends_the_wait_in_however_many_pieces_it_comes(console: bytes, over: bool, step: int) -> None:
    console = b"[    0.000000] Linux version 6.1\r\n" + console
    pieces = iter([console[at : at + step] for at in range(0, len(console), step)])
    ending = Ending(lambda: next(pieces, b""))
    assert any(ending.came() for _ in range(len(console) + 1)) is over
    assert ending.came() is over


def test_a_late_sweep_is_said_to_be_late(stage: Stage) -> None:
    stage.guest.works = lambda: Control.SWEEP not in stage.guest.told
    stage.timeline.play()
    assert "sweep.late" in stage.events()


def test_who_stands_still_when_the_sweep_is_late_is_watched_to_the_bound(stage: Stage) -> None:
    stage.guest.works = lambda: Control.SWEEP not in stage.guest.told
    stage.timeline.play()
    recorded = history.read(stage.folder / "history.jsonl")
    asked, late = recorded.first("sweep.asked"), recorded.first("sweep.late")
    assert asked and late
    assert (late.t_ns - asked.t_ns) / NS == pytest.approx(60, abs=1)  # not 30, which the sweep may take


def test_who_works_on_when_the_sweep_is_late_is_not_waited_for(stage: Stage) -> None:
    stage.guest.sweeps = False
    stage.timeline.play()
    recorded = history.read(stage.folder / "history.jsonl")
    asked, late = recorded.first("sweep.asked"), recorded.first("sweep.late")
    assert asked and late
    assert (late.t_ns - asked.t_ns) / NS == pytest.approx(30, abs=1)


def test_memory_that_does_not_fill_is_our_fault(stage: Stage) -> None:
    stage.guest.works = lambda: False
    with pytest.raises(TestbedFault, match="did not fill their memory before any fault"):
        stage.timeline.play()
    assert stage.log == []


def test_swap_that_is_not_used_is_our_fault(stage: Stage) -> None:
    stage.guest.swaps = False
    with pytest.raises(TestbedFault, match="no swap was used before any fault"):
        stage.timeline.play()
    assert stage.log == []


def test_a_load_that_gives_up_on_a_machine_that_lives_is_our_fault(stage: Stage) -> None:
    stage.guest.pages_filled, stage.guest.state = 4, State.FAILED
    with pytest.raises(TestbedFault, match="a load gave up before any fault: Cannot allocate memory"):
        stage.timeline.play()
    assert stage.log == []


PANIC = b"[   12.345678] Kernel panic - not syncing: x\r\n"


@pytest.mark.parametrize(
    ("guest", "console", "told"),
    [
        # It stops in the middle, and its witness lives, or nothing does; or its kernel says that it is over.
        ({"pages_filled": 4}, b"", ("memory", True, False)),
        ({"pages_filled": 4, "lives": lambda: False}, b"", ("memory", False, False)),
        ({"pages_filled": 0, "lives": lambda: False}, b"", ("memory", False, False)),
        ({"pages_filled": 4, "state": State.FAILED, "lives": lambda: False}, b"", ("memory", False, False)),
        ({"pages_filled": 0}, PANIC, ("memory", True, True)),
        ({"swaps": False, "lives": lambda: False}, b"", ("swap", False, False)),
        ({"swaps": False}, PANIC, ("swap", True, True)),
    ],
)
def test_a_machine_that_fails_before_any_fault_is_no_fault_of_ours(
    guest: dict[str, Any], console: bytes, told: tuple[object, ...], tmp_path: Path
) -> None:
    said = iter([console])
    made = Stage(tmp_path, guest=Guest(**guest), console=lambda: next(said, b""))
    made.timeline.play()
    made.timeline.revert_all()
    assert made.events() == ["load.started anonymous", "unsteady"]
    assert made.log == [] and made.guest.told == [Control.RUN]
    recorded = history.read(tmp_path / "history.jsonl")
    event = recorded.first("unsteady")
    assert event is not None
    assert tuple(event.fields[name] for name in ("missing", "lives", "console")) == told
    found = judge(Evidence(judging=made.plan.judging, history=recorded, consoles={}))
    assert (found.outcome, found.testbed_fault) == ("inconclusive", None)


def test_the_steady_state_says_what_is_swapped(stage: Stage) -> None:
    stage.timeline.play()
    steady = history.read(stage.folder / "history.jsonl").first("steady")
    assert steady is not None and steady.fields["swap_used_kib"] == 50
    # Of its 3 s alone, at four beats a second.
    assert 10 <= steady.fields["pswpin_pages"] <= 14
    assert steady.fields["pswpout_pages"] == 2 * steady.fields["pswpin_pages"]


# --- faults are in force or it is said, and healed whatever happens


def test_a_fault_without_effect_is_found_out_and_reverted(stage: Stage) -> None:
    stage.faults["cut"].has_effect = False
    with pytest.raises(TestbedFault, match="'cut' was applied but is not in force"):
        stage.timeline.play()
    stage.timeline.revert_all()
    assert stage.log == ["apply cut", "revert cut"]
    assert "fault.applied cut" not in stage.events()


def test_a_fault_that_stays_is_found_out(stage: Stage) -> None:
    stage.faults["cut"].heals = False
    with pytest.raises(TestbedFault, match="'cut' was reverted but is still in force"):
        stage.timeline.play()
    assert "fault.reverted cut" not in stage.events()


def test_a_half_applied_fault_is_reverted(stage: Stage) -> None:
    stage.faults["cut"].raises = {"apply": TestbedFault("no answer")}
    with pytest.raises(TestbedFault, match="no answer"):
        stage.timeline.play()
    stage.timeline.revert_all()
    assert stage.log == ["apply cut", "revert cut"]


def three(folder: Path) -> Stage:
    names = ("first", "second", "third")
    made = Stage(folder, plan=small_plan(*(event(0, "apply", name) for name in names)))
    for name in names:
        made.fault(name)
    return made


def test_the_newest_goes_first(tmp_path: Path) -> None:
    made = three(tmp_path)
    made.timeline.play()
    made.timeline.revert_all()
    assert made.log[3:] == ["revert third", "revert second", "revert first"]
    assert made.observer.faults == ()
    made.timeline.revert_all()
    assert len(made.log) == 6


@pytest.mark.parametrize(
    "error", [TestbedFault("gone"), OSError("pipe"), ValueError("a bug"), KeyboardInterrupt()]
)
def test_one_that_fails_does_not_hold_up_the_rest(tmp_path: Path, error: BaseException) -> None:
    made = three(tmp_path)
    made.timeline.play()
    made.faults["third"].raises = {"revert": error}
    made.faults["second"].raises = {"revert": TestbedFault("a later error")}
    with pytest.raises(type(error)) as caught:
        made.timeline.revert_all()
    assert caught.value is error
    assert made.log[3:] == ["revert third", "revert second", "revert first"]
    assert not made.faults["first"].now


def test_a_full_disk_does_not_keep_the_others_in_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = three(tmp_path)
    made.timeline.play()

    def full(_what: str, **_fields: object) -> int:
        raise TestbedFault("cannot write the history: No space left on device")

    monkeypatch.setattr(made.writer, "event", full)
    with pytest.raises(TestbedFault, match="No space left"):
        made.timeline.revert_all()
    assert not any(fault.now for fault in made.faults.values())


def test_control_c_in_the_middle_leaves_the_fault_to_be_reverted(stage: Stage) -> None:
    def stop() -> bool:
        if "apply cut" in stage.log:
            raise KeyboardInterrupt
        return True

    stage.guest.works = stop
    with pytest.raises(KeyboardInterrupt):
        stage.timeline.play()
    stage.timeline.revert_all()
    assert stage.log == ["apply cut", "revert cut"]
    assert stage.events()[-1] == "fault.reverted cut"


def test_control_c_waits_for_no_deed_that_takes_its_time(stage: Stage) -> None:
    release = threading.Event()

    def stop() -> bool:
        if "apply cut" in stage.log:
            raise KeyboardInterrupt
        return True

    stage.fault("cut", takes=lambda: release.wait(30), ends_with_lab=True)
    stage.guest.works = stop
    begun_s = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        stage.timeline.play()
    stage.timeline.revert_all()
    assert time.perf_counter() - begun_s < 10
    assert stage.faults["cut"].took == [] and stage.log == ["apply cut"]
    assert stage.events()[-1] == "fault.left cut"
    release.set()


@pytest.mark.parametrize("stays", [False, True])
def test_what_is_inside_a_guest_is_left_to_go_with_it(stays: bool, tmp_path: Path) -> None:
    made = three(tmp_path)
    made.faults["second"].ends_with_lab = True
    made.timeline.play()
    made.timeline.lab_stays = stays
    made.timeline.revert_all()
    assert made.log[3:] == ["revert third", *(["revert second"] if stays else []), "revert first"]
    assert made.faults["second"].now is not stays
    assert ("fault.left second" in made.events()) is not stays
    assert made.timeline._in_force == []


@pytest.mark.parametrize("kind", ["server-kill", "reboot", "disk-full"])
def test_faults_that_wait_for_a_guest_end_with_the_lab(kind: str) -> None:
    assert fault_class(kind).ends_with_lab
    assert not getattr(fault_class("drop"), "ends_with_lab", False)


# --- the observer


@dataclass
class Flaky:
    """Fails as told, reading by reading."""

    fails: Iterator[bool]
    every_ticks: int = 1
    name: str = "A/flaky"
    count: int = 0

    def read(self) -> Readings:
        self.count += 1
        if next(self.fails, False):
            raise OSError("unreadable")
        return {"A/flaky": {"count": self.count}}


def observer(folder: Path, *witnesses: Any) -> Observer:
    return Observer(history.Writer(folder / "observed.jsonl"), witnesses, lambda _view: None)


def test_a_witness_may_fail_once_now_and_then(tmp_path: Path) -> None:
    flaky = Flaky(iter([True, False, True, False]))
    watched = observer(tmp_path, flaky)
    for _ in range(4):
        watched.tick()
    assert watched.value("A/flaky.count") == 4


def test_a_witness_that_fails_twice_is_our_fault(tmp_path: Path) -> None:
    watched = observer(tmp_path, Flaky(iter([True, True])))
    watched.tick()
    with pytest.raises(TestbedFault, match="'A/flaky' failed twice in a row: unreadable"):
        watched.tick()


def test_each_witness_has_its_own_beat(tmp_path: Path) -> None:
    often, seldom = Flaky(iter([])), Flaky(iter([]), every_ticks=4)
    watched = observer(tmp_path, often, seldom)
    for _ in range(9):
        watched.tick()
    assert (often.count, seldom.count) == (9, 3)


def test_waiting_ends_as_soon_as_it_is_met(tmp_path: Path) -> None:
    flaky = Flaky(iter([]))
    watched = observer(tmp_path, flaky)
    assert watched.until(now_ns() + 60 * NS, lambda: watched.value("A/flaky.count") == 3)
    assert flaky.count == 3


def test_a_time_that_is_over_costs_one_sample_and_no_sleep(tmp_path: Path, clock: Clock) -> None:
    flaky = Flaky(iter([]))
    assert not observer(tmp_path, flaky).until(now_ns() - 1, lambda: False)
    assert (flaky.count, clock.slept) == (1, [])


def test_what_is_unknown_is_zero(tmp_path: Path) -> None:
    assert observer(tmp_path).value("A/nobody.field") == 0
