"""Owns the remark on queues that can not hold all memory: a full one drops, and receive lives on."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.judge.case import Case
from testbed.judge.values import Finding
from testbed.units import show_bytes

GRANTED = ".rcvbuf_bytes"
"""Of a `service`: receive buffers of its UDP sockets, as granted by the kernel (testbed/guest/service.c)."""


def detect(case: Case) -> Iterator[Finding]:
    had = case.history.series(case.own("machine.mem_available_kib"))
    if not had:
        return
    before = had[0][1] << 10
    for name in sorted(case.history.values):
        service = name.removesuffix(GRANTED)
        granted = case.history.value_at(name, case.deed_ns)
        if service == name or service.partition("/")[0] != case.subject or not granted:
            continue  # 0: it has TCP alone
        if granted < before:
            yield Finding(
                detector="queues",
                says="note",
                statement=f"The sockets of '{service.partition('/')[2]}' may hold {show_bytes(granted)}, and"
                f" {case.subject} had {show_bytes(before)}: a full one drops what comes, and gives it back.",
                numbers={"granted_bytes": granted, "available_bytes": before},
            )
