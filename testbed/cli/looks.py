"""Owns how a look into a guest is shown on a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.markup import escape

from testbed.cli.look_names import Names, listed, seconds, spans, table
from testbed.cli.look_sockets import sockets
from testbed.snapshot import Request, Snapshot, Task
from testbed.waitfor import Graph, single_cycle, wait_for_graph
from testbed.waitfor.graph import reachable

LEAST_WIDTH = 100
FRAMES = 12
MOST_ENDS = 6
MOST_MISSING = 10
OF_SWAP = ("swap_used", "swap_total", "kswapd_failures")
"""What of `memory_pages` is told in words of its own."""


def snapshot(one: Snapshot) -> RenderableType:
    """Memory first, then who waits, then what is in flight; what could not be read comes last."""
    names = Names.of(one)
    title = f"[bold]look {one.number}[/]  Linux {escape(one.release)}"
    parts: list[RenderableType] = ["", f"{title}; the guest stood still for {one.paused_ms} ms"]
    parts += [_memory(one), _tasks(one, names), _locks(one, names)]
    parts += [_requests(one, names), sockets(names), _nics(one), _graph(one)]
    if one.counters:
        parts += ["", "counters of patch sets: " + escape(_counts(one.counters.items()))]
    if one.missing:
        parts += ["", "[dim]not read: " + escape(listed(one.missing, MOST_MISSING)) + "[/]"]
    return _Wide(Group(*parts))


@dataclass(frozen=True, slots=True)
class _Wide:
    """Laid out for LEAST_WIDTH columns at least: narrower, tables would cut numbers in two."""

    inside: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from console.render(self.inside, options.update(width=max(LEAST_WIDTH, options.max_width)))


def _memory(one: Snapshot) -> RenderableType:
    floors = (">atomic floor", ">throttle floor", ">process floor")
    kept = (">on CPU lists", ">kept for lower", ">for high order", ">set aside")
    columns = ("zone", ">free", *floors, ">min", ">boost", ">low", ">high", ">managed", *kept)
    rows = (
        (
            zone.name,
            zone.free,
            zone.atomic_floor,
            zone.throttle_floor,
            zone.process_floor,
            zone.minimum,
            zone.boost,
            zone.low,
            zone.high,
            zone.managed,
            zone.on_cpu_lists,
            zone.kept_for_lower,
            zone.kept_for_high_order,
            zone.set_aside,
        )
        for zone in one.zones
    )
    short = {number for number, zone in enumerate(one.zones) if zone.free <= zone.atomic_floor}
    used, total, failures = (one.memory_pages.get(name, "?") for name in OF_SWAP)
    others = _counts((name, count) for name, count in one.memory_pages.items() if name not in OF_SWAP)
    limits = (f"{each.protocol} {each.pages} (limits {_numbers(each.limits)})" for each in one.limits)
    fragments, packets = ("?" if each is None else each for each in (one.fragment_bytes, one.fragment_queues))
    return Group(
        table("zones, in pages; red: no more than the atomic floor is free", columns, rows, short),
        f"pages: {escape(others)}",
        f"swap: {used} of {total} pages used; kswapd_failures {failures}",
        f"pages of sockets: {escape(', '.join(limits))}; fragments {fragments} bytes of {packets} packets",
    )


def _counts(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts)


def _numbers(numbers: Iterable[int]) -> str:
    return " ".join(map(str, numbers))


def _tasks(one: Snapshot, names: Names) -> RenderableType:
    """Each stack once: loads stand where their likes do."""
    order = sorted(one.tasks, key=lambda task: (task.state == "S", task.pid))
    stacks = dict.fromkeys(_stack(task) for task in order)
    numbers = {stack: number for number, stack in enumerate(stacks, 1)}
    rows = (
        (
            task.pid,
            f"[{task.comm}]" if task.kthread else task.comm,
            " ".join([task.state, *_is(task)]),
            numbers[_stack(task)],
            _waits(task, names),
            names.held(task.holds_sockets),
        )
        for task in order
    )
    title = f"tasks that run, block or hold sockets ({one.idle_tasks} more sleep)"
    columns = (">pid", "task", "state", ">stack", "waits for", "holds sockets")
    return Group(
        table(title, columns, rows),
        table("stacks, the innermost function first", (">#", "stack"), ((n, s) for s, n in numbers.items())),
    )


def _is(task: Task) -> list[str]:
    told = {"memalloc": task.pf_memalloc, "serves FUSE": task.serves_fuse, "serves ublk": task.serves_ublk}
    return [words for words, holds in told.items() if holds]


def _stack(task: Task) -> str:
    return " < ".join([*task.stack[:FRAMES], *["..."] * (len(task.stack) > FRAMES)])


def _waits(task: Task, names: Names) -> str:
    if task.waits is None:
        return ""
    words = (task.waits.kind, task.waits.detail, names.thing(task.waits.address))
    return " ".join(word for word in words if word)


def _locks(one: Snapshot, names: Names) -> RenderableType:
    rows = (
        (
            f"{lock.address:x}",
            lock.kind,
            lock.name,
            "not known" if lock.owner is None else names.told([lock.owner]),
            names.told(lock.waiters),
        )
        for lock in one.locks
    )
    columns = ("address", "kind", "name", "owner", "waited for by")
    return table("locks that somebody waits for", columns, rows)


def _requests(one: Snapshot, names: Names) -> RenderableType:
    """The orphaned ones first: nothing ends them, and they may be few of many."""
    rows = (
        (
            each.device,
            each.tag,
            each.operation,
            each.sector,
            each.size_bytes >> 10,
            seconds(each.age_ms),
            _state(each),
            names.thing(each.socket),
            seconds(each.again_in_ms),
            names.told(each.waiters),
            spans(each.swap_slots),
        )
        for each in sorted(one.requests, key=lambda each: not each.orphaned)
    )
    slots = sum(len(each.swap_slots) for each in one.requests)
    what = ("device", ">tag", "operation", ">sector", ">KiB", ">age", "state", "socket")
    return table(
        f"requests in flight ({len(one.requests)}), of {slots} swap slots",
        (*what, ">sent again in", "waited for by", "swap slots"),
        rows,
    )


def _state(each: Request) -> str:
    return f"{each.state}, orphaned" if each.orphaned else each.state


def _nics(one: Snapshot) -> RenderableType:
    rows = (
        (
            each.name,
            each.driver,
            ", ".join(each.addresses),
            {True: "yes", False: "no", None: "?"}[each.carrier],
            *("?" if number is None else number for number in (each.ring, each.filled, each.usable)),
            "disabled" if each.stopped else "",
            "against a new buffer" if each.exchanges else "",
            _counts(each.counters.items()),
        )
        for each in one.nics
    )
    ring = (">ring", ">filled", ">usable")
    columns = ("name", "driver", "addresses", "carrier", *ring, "NAPI", "takes a frame", "counters")
    return table("NICs and their receive rings", columns, rows)


def _graph(one: Snapshot) -> RenderableType:
    graph = wait_for_graph(one)
    told = single_cycle(graph) or "No closed cycle in this look."
    return Group(
        "",
        "[bold]who waits for whom[/]",
        escape(told),
        *map(escape, _ends(graph)),
        "[dim]One look proves nothing: two, and what the host saw between them, do.[/]",
    )


def _ends(graph: Graph) -> list[str]:
    """What the requests hang on that moves, or may: each with the edge that leads to it."""
    nodes = graph.by_id
    hang = reachable(graph, [node.id for node in graph.nodes if node.kind == "request"])
    words = {"sure": "Waits for", "chance": "A chance"}
    ends = {
        edge.target: f"{words[how]}: {nodes[edge.source].words} {edge.verb} {nodes[edge.target].words}"
        for edge in graph.edges
        if edge.source in hang and (how := nodes[edge.target].ends or "") in words
    }
    told = list(ends.values())
    more = [f"and {len(told) - MOST_ENDS} more"] if len(told) > MOST_ENDS else []
    return [*told[:MOST_ENDS], *more]
