"""Owns the ending of the loads that hold the subject's memory, where what is left of it is to be measured."""

from __future__ import annotations

from collections.abc import Mapping

from testbed.clock import NS, now_ns
from testbed.history import Writer
from testbed.model import Plan
from testbed.run.observe import Observer
from testbed.witnesses.page import Control, State, WitnessPage

HOLD_MEMORY = ("anonymous", "service")
"""Kinds of slots; a deed that holds some does so on purpose."""
END_BOUND_S = 6.0
SETTLE_S = 5.0
"""For memory to come back after its owners have said that they are done, and to be sampled then."""


def end_loads(
    plan: Plan, pages: Mapping[str, WitnessPage], observer: Observer, history: Writer, cpu_scale: float
) -> None:
    """Bounded; it is in the history only if all of them ended."""
    subject = plan.judging.subject
    holding = [load for load in plan.loads if load.machine == subject and load.page_kind in HOLD_MEMORY]
    for load in holding:
        pages[subject].control(load.slot, Control.QUIT)

    def ended() -> bool:
        states = (observer.value(f"{subject}/{load.name}.state") for load in holding)
        return all(state == State.DONE for state in states)

    if observer.until(now_ns() + round(END_BOUND_S * cpu_scale * NS), ended):
        history.event("loads.ended")
        observer.until(now_ns() + round(SETTLE_S * NS))
