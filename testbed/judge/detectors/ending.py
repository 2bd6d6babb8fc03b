"""Owns the question whether the run came to its end: a failure of the testbed is no verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

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
    unsteady = history.first("unsteady")
    if unsteady is not None:
        yield _finding(case, "broken", _unsteady(case.subject, unsteady.fields), unsteady.t_ns)
    elif not case.came_to_end:
        yield _finding(case, "broken", "The history stops before the judging was over.", case.end_ns)
    if history.damaged_lines:
        yield _finding(case, "doubt", f"{history.damaged_lines} lines of the history are damaged.", None)


def _unsteady(subject: str, fields: Mapping[str, object]) -> str:
    """What run/steady.py says of a machine that failed before anything was done to it."""
    what = "did not fill its memory" if fields.get("missing") == "memory" else "did not swap"
    still = "goes on nevertheless" if fields.get("lives") else "stands still"
    said = ", and its console says that nothing more will come" if fields.get("console") else ""
    when = f"within {fields.get('bound_s')} s, before anything was done to it"
    return f"{subject} {what} {when}: it {still}{said}."


def _finding(case: Case, says: str, statement: str, t_ns: int | None) -> Finding:
    from_s = None if t_ns is None else case.at(t_ns)
    return Finding.model_validate(
        {"detector": "ending", "says": says, "statement": statement, "from_s": from_s}
    )
