"""Owns the remarks on what loads counted besides: system calls that failed, blocks that came late or not,
writes that were held up.
"""

from __future__ import annotations

from collections.abc import Iterator

from testbed.judge.case import Case
from testbed.judge.measures import CALLS, CLASSES, measures
from testbed.judge.values import Finding

ERRNO = {"no_memory": "for want of memory", "again": "to be tried again", "other": "otherwise"}


def detect(case: Case) -> Iterator[Finding]:
    if not case.came_to_end:
        return
    found = measures(case)
    if "calls" in found:
        yield _note(
            f"Of {found['calls']:,.0f} system calls {_failed(found)}{_longest(found)}", found, "calls"
        )
    if "blocks_tried" in found:
        told = f"{found['blocks_got']:,.0f} of {found['blocks_tried']:,.0f} blocks of several pages came,"
        told += f" {found['blocks_late']:,.0f} of them late;"
        told += f" the longest took {found['blocks_longest_ms']:,.0f} ms."
        yield _note(told, found, "blocks")
    if "writes_kib" in found:
        told = f"{found['writes_kib'] / 1024:,.0f} MiB were written through the page cache; the writer was"
        told += f" held up {found['writes_held']:,.0f} times, once for {found['writes_longest_ms']:,.0f} ms."
        yield _note(told, found, "writes")


def _failed(found: dict[str, float]) -> str:
    failed = [
        f"{found[name]:,.0f} of {call} {ERRNO[kind]}"
        for call in CALLS
        for kind in CLASSES
        if (name := f"calls_{call}_{kind}") in found
    ]
    return f"failed: {', '.join(failed)}" if failed else "none failed"


def _longest(found: dict[str, float]) -> str:
    call = max(CALLS, key=lambda call: found[f"calls_{call}_longest_ms"])
    waited = f"; {found['calls_waiting_most']:.0f} waited for over a second at a time"
    return f"{waited}, and the longest was {call} with {found[f'calls_{call}_longest_ms']:,.0f} ms."


def _note(statement: str, found: dict[str, float], prefix: str) -> Finding:
    numbers = {name: number for name, number in found.items() if name.startswith(prefix)}
    return Finding(detector="counts", says="note", statement=statement, numbers=numbers)
