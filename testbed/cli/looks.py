"""Owns how a look into a guest is shown on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from testbed.snapshot import Snapshot, Task
from testbed.waitfor import single_cycle, wait_for_graph

MOST_ROWS = 24
FRAMES = 6
MOST_SPANS = 6


def snapshot(one: Snapshot) -> RenderableType:
    """Memory first, then who waits, then what is in flight; what could not be read comes last."""
    parts: list[RenderableType] = [f"[bold]look {one.number}[/]  Linux {escape(one.release)}"]
    parts += [_memory(one), _tasks(one), _requests(one), _sockets(one), _nics(one), _graph(one)]
    if one.counters:
        told = ", ".join(f"{name} {count}" for name, count in one.counters.items())
        parts.append("counters of patch sets: " + escape(told))
    if one.missing:
        parts.append("[dim]not read: " + escape("; ".join(one.missing[:10])) + "[/]")
    return Group(*parts)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _memory(one: Snapshot) -> RenderableType:
    table = _table("memory, in pages", "zone", "free", "atomic floor", "min", "low", "high", "on CPU lists")
    for zone in one.zones:
        numbers = (zone.free, zone.atomic_floor, zone.minimum, zone.low, zone.high, zone.on_cpu_lists)
        style = "red" if zone.free <= zone.atomic_floor else ""
        table.add_row(escape(zone.name), *map(str, numbers), style=style)
    names = (
        "inactive_anon",
        "active_anon",
        "inactive_file",
        "active_file",
        "slab_unreclaimable",
        "writeback",
    )
    held = ", ".join(f"{name} {one.memory_pages[name]}" for name in names if name in one.memory_pages)
    limits = ", ".join(f"{each.protocol}_mem {each.pages} of {each.limits[2]}" for each in one.limits)
    return Group("", table, f"[dim]{held}; {limits}; fragments {one.fragment_bytes} bytes[/]")


def _tasks(one: Snapshot) -> RenderableType:
    table = _table(
        f"tasks that run, block or hold sockets ({one.idle_tasks} more sleep)",
        "pid",
        "task",
        "",
        "waits for",
        "stack",
    )
    order = sorted(one.tasks, key=lambda task: (task.state == "S", task.pid))
    for task in order[:MOST_ROWS]:
        flags = task.state + (" memalloc" if task.pf_memalloc else "")
        table.add_row(
            str(task.pid), escape(task.comm), flags, _waits(task), escape(" < ".join(task.stack[:FRAMES]))
        )
    return Group("", table)


def _waits(task: Task) -> str:
    if task.waits is None:
        return ""
    return escape(f"{task.waits.kind} {task.waits.detail}".strip())


def _requests(one: Snapshot) -> RenderableType:
    slots = sum(len(each.swap_slots) for each in one.requests)
    title = f"requests in flight ({len(one.requests)}), of {slots} swap slots"
    table = _table(title, "device", "tag", "operation", "KiB", "age", "swap slots")
    for each in one.requests[:MOST_ROWS]:
        age = "" if each.age_ms is None else f"{each.age_ms / 1000:.1f} s"
        table.add_row(
            each.device,
            str(each.tag),
            escape(each.operation),
            str(each.size_bytes >> 10),
            age,
            _spans(each.swap_slots),
        )
    return Group("", table)


def _spans(slots: Sequence[int]) -> str:
    """`12-15, 40`: those that lie side by side as one span."""
    spans: list[list[int]] = []
    for slot in sorted(slots):
        if spans and slot == spans[-1][-1] + 1:
            spans[-1] = [spans[-1][0], slot]
        else:
            spans.append([slot])
    told = ["-".join(map(str, span)) for span in spans[:MOST_SPANS]]
    return ", ".join([*told, "..."] if len(spans) > MOST_SPANS else told)


def _sockets(one: Snapshot) -> RenderableType:
    table = _table(
        f"sockets ({len(one.sockets)}), those with most in them",
        "protocol",
        "local",
        "remote",
        "memalloc",
        "to read",
        "unacknowledged",
        "sends again in",
        "times",
    )
    order = sorted(one.sockets, key=lambda each: -(each.unacknowledged_bytes + each.receive_bytes))
    for each in order[: MOST_ROWS // 3]:
        again = "" if each.retransmit_in_ms is None else f"{each.retransmit_in_ms / 1000:.1f} s"
        table.add_row(
            each.protocol,
            each.local,
            each.remote,
            "yes" if each.memalloc else "",
            str(each.receive_bytes),
            str(each.unacknowledged_bytes),
            again,
            str(each.retransmits),
        )
    return Group("", table)


def _nics(one: Snapshot) -> RenderableType:
    table = _table("NICs", "name", "driver", "carrier", "ring", "filled", "usable", "counters")
    for each in one.nics:
        numbers = ("" if number is None else str(number) for number in (each.ring, each.filled, each.usable))
        counters = ", ".join(f"{name} {count}" for name, count in each.counters.items())
        table.add_row(escape(each.name), escape(each.driver), str(each.carrier), *numbers, escape(counters))
    return Group("", table)


def _graph(one: Snapshot) -> RenderableType:
    graph = wait_for_graph(one)
    sentence = single_cycle(graph)
    told = sentence or "No closed cycle in this look."
    return Group(
        "",
        "[bold]who waits for whom[/]",
        escape(told),
        "[dim]One look proves nothing: two, and what the host saw between them, do.[/]",
    )
