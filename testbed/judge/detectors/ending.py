"""Owns the question whether the run came to its end: a failure of the testbed is no verdict."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.judge.case import Case
from testbed.judge.values import Finding


def detect(case: Case) -> Iterator[Finding]:
    history = case.history
    for event in history.events_of("testbed.fault"):
        message = str(event.fields.get("message", "no message"))[:300]
        late = case.came_to_end and event.t_ns > case.end_ns
        yield Finding(
            detector="ending",
            says="note" if late else "broken",
            statement=f"The testbed failed{' after the judging' if late else ''}: {message}",
            from_s=case.at(event.t_ns),
        )
    for event in history.events_of("boot.failed"):
        yield _finding(case, "broken", "The kernel under test did not boot.", event.t_ns)
    interrupted = history.first("interrupted")
    if interrupted is not None and not (case.came_to_end and interrupted.t_ns > case.end_ns):
        yield _finding(
            case, "broken", "The run was interrupted before the judging was over.", interrupted.t_ns
        )
    if not case.came_to_end:
        yield _finding(case, "broken", "The history stops before the judging was over.", case.end_ns)
    if history.damaged_lines:
        yield _finding(case, "doubt", f"{history.damaged_lines} lines of the history are damaged.", None)


def _finding(case: Case, says: str, statement: str, t_ns: int | None) -> Finding:
    from_s = None if t_ns is None else case.at(t_ns)
    return Finding.model_validate(
        {"detector": "ending", "says": says, "statement": statement, "from_s": from_s}
    )
