"""Owns the tables of a look and what its tasks, locks, requests and sockets are called in them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from testbed.snapshot import Snapshot, Socket

MOST_ROWS = 24
MOST_NAMES = 6
MOST_SPANS = 6
WHOLE = 21
"""Letters of a word that a line's end does not cut: an address of IPv4 with its port."""


@dataclass(frozen=True, slots=True)
class Names:
    """Tasks by pid, objects by address. `sockets` are numbered from 1 in the order they are shown in."""

    comms: dict[int, str]
    objects: dict[int, str]
    numbers: dict[int, int]
    sockets: tuple[Socket, ...]

    @classmethod
    def of(cls, one: Snapshot) -> Names:
        sockets = _in_order(one)
        numbers = {each.address: number for number, each in enumerate(sockets, 1)}
        requests = {
            folio: f"of request {each.tag} of {each.device}" for each in one.requests for folio in each.folios
        }
        locks = {lock.address: lock.name or f"{lock.address:x}" for lock in one.locks}
        return cls(
            comms={task.pid: task.comm for task in one.tasks},
            objects=requests | locks | {address: f"#{number}" for address, number in numbers.items()},
            numbers=numbers,
            sockets=sockets,
        )

    def told(self, pids: Iterable[int]) -> str:
        """`kswapd0 28, agent 131-134`; the pid alone of a task that is idle, and so not in the look."""
        alike: dict[str, list[int]] = {}
        for pid in pids:
            alike.setdefault(self.comms.get(pid, ""), []).append(pid)
        return listed([f"{comm} {spans(those)}".strip() for comm, those in alike.items()], MOST_NAMES)

    def thing(self, address: int) -> str:
        """What lies at an address, which itself is told where that is not known."""
        return self.objects.get(address, f"{address:x}") if address else ""

    def held(self, addresses: Iterable[int]) -> str:
        """`#1-3, 7` of the look's sockets, then the addresses of those that are idle, and so not in it."""
        those = tuple(addresses)
        numbers = spans([self.numbers[address] for address in those if address in self.numbers])
        idle = [f"{address:x}" for address in those if address not in self.numbers]
        return ", ".join([f"#{numbers}"] * bool(numbers) + [listed(idle, MOST_NAMES)] * bool(idle))


def _in_order(one: Snapshot) -> tuple[Socket, ...]:
    """Those that carry requests first, then those with somebody asleep on them, then the fullest."""
    carriers = {each.socket for each in one.requests}

    def rank(each: Socket) -> tuple[bool, bool, int]:
        held_bytes = each.receive_bytes + each.backlog_bytes + each.send_bytes
        return each.address not in carriers, not each.readers, -held_bytes

    return tuple(sorted(one.sockets, key=rank))


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], red: Collection[int] = ()
) -> RenderableType:
    """At most MOST_ROWS rows, those in `red` marked, counted from 0.

    A column of numbers begins with `>`; one with nothing in it is left out. Where the width is short, what
    is of several words gives way first.
    """
    every = [[str(cell) for cell in row] for row in rows]
    shown = every[:MOST_ROWS]
    left_out = f"; the first {len(shown)}, all with --json" if len(every) > len(shown) else ""
    made = Table(box=None, pad_edge=False)
    kept = [at for at in range(len(columns)) if any(row[at] for row in shown)]
    for at in kept:
        name = columns[at]
        side: Literal["left", "right"] = "right" if name.startswith(">") else "left"
        whole = side == "left" and all(len(row[at]) <= WHOLE and " " not in row[at] for row in shown)
        made.add_column(name.removeprefix(">"), justify=side, overflow="fold", no_wrap=whole)
    for number, row in enumerate(shown):
        made.add_row(*(escape(row[at]) for at in kept), style="red" if number in red else "")
    if not shown:
        return Group("", f"[bold]{escape(title)}[/]: none")
    return Group("", f"[bold]{escape(title)}[/]{left_out}", made)


def listed(words: Sequence[str], most: int) -> str:
    more = [f"{len(words) - most} more"] if len(words) > most else []
    return ", ".join([*words[:most], *more])


def seconds(time_ms: int | None) -> str:
    return "" if time_ms is None else f"{time_ms / 1000:.1f} s"


def spans(numbers: Sequence[int]) -> str:
    """`12-15, 40`: those that lie side by side as one span."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][-1] + 1:
            found[-1] = [found[-1][0], number]
        else:
            found.append([number])
    told = ["-".join(map(str, span)) for span in found[:MOST_SPANS]]
    return ", ".join([*told, "..."] if len(found) > MOST_SPANS else told)
