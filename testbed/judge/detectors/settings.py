"""Owns the question whether what the cell's name says of its machines was done: settings, and deeds."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.clock import NS
from testbed.judge.case import FAILED, Case
from testbed.judge.values import Finding

DEED = ".hit"
"""The field that deeds alone have: how many processes, files, clocks or pages it was done to."""
LINES = "/machine.failed_lines"
STATUS = ".exit_status_plus_1"
NOT_STARTED = 127 + 1
"""Of a job whose command could not be run (testbed/guest/job.c)."""
LAST_WORD_S = 2.0
"""A word that ends the timeline, as `end` of reserve-burn: where it is not done, what is judged is why."""


def detect(case: Case) -> Iterator[Finding]:
    if not case.came_to_end:
        return
    for name in sorted(case.history.values):
        if name.endswith(DEED):
            yield from _deed(case, name.removesuffix(DEED))
        elif name.endswith(STATUS) and _most(case, name) == NOT_STARTED:
            machine, _, job = name.removesuffix(STATUS).partition("/")
            statement = f"The command of '{job}' could not be run on {machine}."
            yield Finding(detector="settings", says="doubt", statement=statement)
        elif name.endswith(LINES):
            yield from _lines(case, name.removesuffix(LINES), name)


def _deed(case: Case, source: str) -> Iterator[Finding]:
    """One that was started: the kernel refused the word, nobody was there to be hit, or there is no sign."""
    machine, _, deed = source.partition("/")
    started = [
        event.t_ns
        for event in case.history.events_of("load.started")
        if event.name == deed and event.t_ns <= case.end_ns
    ]
    if not started:
        return
    # The most, not the last: a machine that was reset since has forgotten it.
    hit = _most(case, f"{source}{DEED}")
    failed = FAILED in (state for _, state in case.within(f"{source}.state", -1, case.end_ns))
    if hit and not failed:
        return
    if not failed and case.begin_ns - started[0] < LAST_WORD_S * NS:
        return
    error = _most(case, f"{source}.error")
    yield Finding(
        detector="settings",
        says="doubt",
        statement=f"'{deed}' was started on {machine}"
        + (f", and failed with error {error}." if failed else ", and nothing shows that it was done."),
        from_s=case.at(started[0]),
        numbers={"error": error, "hit": hit},
    )


def _lines(case: Case, machine: str, name: str) -> Iterator[Finding]:
    count = _most(case, name)
    if count:
        what = "one setting" if count == 1 else f"{count} settings"
        yield Finding(
            detector="settings",
            says="doubt",
            statement=f"{machine} could not apply {what} that it was to start with.",
            numbers={"failed_lines": count},
        )


def _most(case: Case, name: str) -> int:
    return max((value for _, value in case.within(name, -1, case.end_ns)), default=0)
