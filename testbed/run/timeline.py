"""Owns the playing of a plan on a ready lab: steady state, faults and floods in time, the judging window.

Every deed goes through shared memory or the host's side, so that none can hang on the guest under test; one
to the server is bounded, and watched on meanwhile.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field

from testbed.clock import NS, now_ns
from testbed.errors import TestbedFault
from testbed.faults import Fault, FaultTarget
from testbed.history import Writer
from testbed.model import Plan, PlannedEvent, PlannedLoad
from testbed.run.emptying import end_loads
from testbed.run.endings import Ending
from testbed.run.looking import Looker
from testbed.run.observe import Observer
from testbed.run.steady import Way
from testbed.witnesses.page import Control, WitnessPage

log = logging.getLogger(__name__)

AT_ONCE_S = 0.1
"""A deed on the host's side takes some milliseconds."""
RESUMED_MOVES_S = 2.0
"""Progress must be seen in two samples this far apart before the sweep is asked for."""


class _Stillness:
    """Says yes once `signs` have been the same for `seconds`."""

    def __init__(self, signs: Callable[[], tuple[int, ...]], seconds: float) -> None:
        self._signs = signs
        self._patience_ns = round(seconds * NS)
        self._last = signs()
        self._since_ns = now_ns()

    def __call__(self) -> bool:
        current = self._signs()
        if current != self._last:
            self._last, self._since_ns = current, now_ns()
        return now_ns() - self._since_ns >= self._patience_ns


@dataclass
class Timeline:
    """Plays one plan. `pages` are the witness pages by machine, `faults` the plan's, by name.

    `lab_stays`: whether the guests live on when the cell is done.
    """

    plan: Plan
    pages: dict[str, WitnessPage]
    faults: dict[str, Fault]
    target: FaultTarget
    observer: Observer
    history: Writer
    cpu_scale: float = 1.0
    ending: Ending = field(default_factory=lambda: Ending(lambda: b""))
    looker: Looker | None = None
    wedged: bool = False
    lab_stays: bool = False
    _in_force: list[str] = field(default_factory=list)

    def play(self) -> None:
        """From attached transport to the end of the judging window; faults are reverted by `revert_all`.

        Where the machine under test does not get as far as a steady state, nothing is done to it and nothing
        judged: `unsteady` is the last word of the history. Raises TestbedFault where it is us who failed.
        """
        if not self._reach_steady_state():
            return
        begin_ns = self.history.event("timeline.begin")
        for event in self.plan.events:
            self.observer.until(begin_ns + round(event.at_s * NS))
            self._do(event)
        judge_ns = begin_ns + round(self.plan.judging.begin_at_s * NS)
        self.observer.enter("waiting for the judging point")
        self.observer.until(judge_ns)
        self._judging_window()

    def revert_all(self) -> None:
        """Reverts what is still in force, newest first; goes on after any failure, raises the first.

        What is inside a guest, and would have to be waited for, goes with the lab if that does not stay.
        Ctrl-C in the middle is held back until all were tried: it must not leave half of them in force.
        """
        first: BaseException | None = None
        for name in reversed(tuple(self._in_force)):
            try:
                if self.lab_stays or not getattr(self.faults[name], "ends_with_lab", False):
                    self._revert(name, watched=False)
                else:
                    self.history.event("fault.left", name=name, fault=self.faults[name].kind)
            except BaseException as error:
                log.warning("revert of %s: %s", name, error)
                first = first or error
        self._in_force.clear()
        if first is not None:
            raise first

    # --- before the faults

    def _reach_steady_state(self) -> bool:
        self.observer.enter("filling memory")
        self.observer.tick()  # how all was before anybody worked
        early = [load for load in self.plan.loads if load.start == "early"]
        for load in early:
            self._control(load, Control.RUN)
            self.history.event("load.started", name=load.name)
        fillers = [load for load in early if load.kind == "anonymous"]
        way = Way(self.plan.judging.subject, self.observer, self.history, self.ending, self.cpu_scale)
        if fillers and not way.reached(fillers):
            return False
        self.observer.enter("steady state")
        before = way.swapped()
        self.observer.until(now_ns() + round(self.plan.steady_s * NS))
        moved = {name: pages - before[name] for name, pages in way.swapped().items()}
        self.history.event("steady", swap_used_kib=way.swap_used_kib(), **moved)
        return True

    # --- the timeline's deeds

    def _do(self, event: PlannedEvent) -> None:
        if event.do == "apply":
            self._apply(event.name)
        elif event.do == "revert":
            self._revert(event.name)
        elif event.do == "start":
            self._control(self._load(event.name), Control.RUN)
            self.history.event("load.started", name=event.name)
        else:
            self._control(self._load(event.name), Control.STOP)
            self.history.event("load.stopped", name=event.name)
        self.observer.enter(f"{event.do} {event.name}")

    def _apply(self, name: str) -> None:
        fault = self.faults[name]
        if fault.lasting:
            self._in_force.append(name)
        if not self._watching(lambda: _apply(fault, self.target)):
            raise TestbedFault(f"fault '{name}' was applied but is not in force")
        cuts = fault.cuts(self.target)
        told = {"fault": fault.kind, "machines": fault.machines, "flows": cuts}
        self.history.event("fault.applied", name=name, read_back=True, **told)
        self.observer.faults = tuple(self._in_force)

    def _revert(self, name: str, *, watched: bool = True) -> None:
        fault = self.faults[name]
        begun_ns = now_ns()
        healed = (
            self._watching(lambda: _revert(fault, self.target)) if watched else _revert(fault, self.target)
        )
        if not healed:
            raise TestbedFault(f"fault '{name}' was reverted but is still in force")
        self._in_force.remove(name)
        self.history.event("fault.reverted", name=name, fault=fault.kind, read_back=True, begun_ns=begun_ns)
        self.observer.faults = tuple(self._in_force)

    def _watching(self, deed: Callable[[], bool]) -> bool:
        """What a deed comes to; while one takes its time (a machine boots) all is watched on."""
        doing = Future[bool]()
        # Not of a pool: their threads are waited for, here and at the interpreter's end.
        threading.Thread(target=_do, args=(deed, doing), name="deed", daemon=True).start()
        try:
            if not wait((doing,), AT_ONCE_S).done:
                self.observer.until(sys.maxsize, doing.done)
        except BaseException:
            wait((doing,), AT_ONCE_S)  # what takes no time is not to be overtaken by its own revert
            raise
        return doing.result()

    # --- after the heal

    def _judging_window(self) -> None:
        judging = self.plan.judging
        begin_ns = self.history.event("judging.begin")
        end_ns = begin_ns + round(judging.bound_s * NS)
        if self.looker is not None:
            self.looker.begin()
        why = self._await_resumption(end_ns)
        self.wedged = why in ("bound", "proof")
        if why == "console":
            # What ended it may print a little more; it is evidence.
            self.observer.until(now_ns() + NS)
        if why != "resumed":
            self.history.event("judging.end", why=why)
            return
        self.history.event("progress.resumed")
        self.observer.enter("measuring the rate")
        self.observer.until(now_ns() + round(judging.rate_window_s * NS), self.ending.came)
        self._finish()
        if judging.blocks is not None:
            self.observer.enter("ending the loads")
            end_loads(self.plan, self.pages, self.observer, self.history, self.cpu_scale)
        self.history.event("judging.end", why="finished")

    def _await_resumption(self, end_ns: int) -> str:
        """Why the waiting ended: `resumed`, `console` (it is over), `proof` of a deadlock, or the `bound`.

        A job that has ended already has nothing to resume.
        """
        while True:
            if self.plan.judging.finish == "exit" and self._jobs_ended():
                return "resumed"
            self.observer.enter("does progress resume?")
            before = self._progress()
            why = self._await_progress(end_ns, before)
            if why != "moved":
                return why
            if self._moves_on(end_ns):
                return "console" if self.ending.came() else "resumed"

    def _await_progress(self, end_ns: int, before: tuple[int, ...]) -> str:
        """`moved`, or why there is nothing to wait for any more; looks into the guest meanwhile."""

        def moved() -> bool:
            return self._progress() != before

        def looked() -> bool:
            return self.looker is not None and self.looker.step()

        self.observer.until(end_ns, lambda: self.ending.came() or moved() or looked())
        if not (moved() or self.ending.came()) and self.looker is not None and self.looker.proved:
            self.history.event("proved")
            self.observer.enter("a deadlock is proved; watching on")
            rules = self.plan.judging
            watched_ns = now_ns() + round(max(rules.watch_s, rules.still_s) * NS)
            self.observer.until(watched_ns, lambda: self.ending.came() or moved())
            if not (moved() or self.ending.came()):
                return "proof"
            if moved():
                self.history.event("refuted")
                self.looker.refute()
        if self.ending.came():
            return "console"
        return "moved" if moved() else "bound"

    def _moves_on(self, end_ns: int) -> bool:
        """Whether progress is still seen after a while: a single completed request is no recovery."""
        self.observer.until(now_ns() + round(RESUMED_MOVES_S * NS))
        before = self._progress()
        patience_ns = now_ns() + round(self.plan.judging.still_s * NS)
        return self.observer.until(
            min(end_ns, patience_ns), lambda: self.ending.came() or self._progress() != before
        )

    def _finish(self) -> None:
        """Asks for the proof at the end; gives up when nothing has moved for the bound, or at its own."""
        judging = self.plan.judging
        loads = [self._load(name) for name in judging.finish_loads]
        field = "sweeps_done" if judging.finish == "sweep" else "exit_status_plus_1"
        before = {load.name: self._field(load, field) if judging.finish == "sweep" else 0 for load in loads}
        if judging.finish == "sweep":
            self.history.event("sweep.asked")
            for load in loads:
                self._control(load, Control.SWEEP)
        self.observer.enter(
            "sweeping every page" if judging.finish == "sweep" else "waiting for the job to end"
        )

        def done() -> bool:
            proved = all(self._field(load, field) > before[load.name] for load in loads)
            ended = (self.observer.value(f"{job}.exit_status_plus_1") > 0 for job in judging.ends_too)
            return proved and all(ended)

        def signs() -> tuple[int, ...]:
            return (*self._progress(), *(self._field(load, "sweep_pages") for load in loads))

        still = _Stillness(signs, judging.bound_s)
        end_ns = now_ns() + round(judging.finish_s * self.cpu_scale * NS)
        self.observer.until(end_ns, lambda: done() or self.ending.came() or still())
        # Late, or dead: who stands still by then is watched for as long as silence must last to be a verdict.
        late = signs()
        self.observer.until(sys.maxsize, lambda: done() or self.ending.came() or still() or signs() != late)
        self.history.event("sweep.done" if done() else "sweep.late")

    # --- the witness page

    def _jobs_ended(self) -> bool:
        loads = [self._load(name) for name in self.plan.judging.finish_loads]
        return all(self._field(load, "exit_status_plus_1") > 0 for load in loads)

    def _load(self, name: str) -> PlannedLoad:
        return next(load for load in self.plan.loads if load.name == name)

    def _field(self, load: PlannedLoad, name: str) -> int:
        return self.observer.value(f"{load.machine}/{load.name}.{name}")

    def _progress(self) -> tuple[int, ...]:
        return tuple(self.observer.value(name) for name in self.plan.judging.progress)

    def _control(self, load: PlannedLoad, control: Control) -> None:
        self.pages[load.machine].control(load.slot, control)


def _do(deed: Callable[[], bool], doing: Future[bool]) -> None:
    try:
        doing.set_result(deed())
    except BaseException as error:
        doing.set_exception(error)


def _apply(fault: Fault, target: FaultTarget) -> bool:
    """Applies it, and says whether it is in force; of what is no state there is nothing to ask."""
    fault.apply(target)
    return not fault.lasting or fault.in_force(target)


def _revert(fault: Fault, target: FaultTarget) -> bool:
    """Reverts it, and says whether it is not in force any more."""
    fault.revert(target)
    return not fault.in_force(target)
