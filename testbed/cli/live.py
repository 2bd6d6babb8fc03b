"""Owns the live display of a running cell: at most 80 columns wide, and of the same height all the time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from testbed.cli.exits import err
from testbed.clock import NS, now_ns
from testbed.model import Plan
from testbed.run.observe import Listener, View
from testbed.units import PAGE_BYTES, show_bytes, show_seconds

AROUND_S = 30.0
"""From nothing to the steady state, as measured under TCG: boot, SSH, transport, filling."""
SWEEP_S = 25.0
REDRAWS_PER_S = 2.0
SILENT_S = 3.0
"""Heartbeats come ten times a second; this long without one is worth a word."""

WORK = {
    "anonymous": ("work_units", "pages worked"),
    "service": ("packets", "packets read"),
    "flood": ("packets_sent", "packets sent"),
}
"""The counter that says what a load has done, and what it counts, by the load's kind of slot."""


def expected_s(plan: Plan) -> tuple[float, float]:
    """How long a cell takes if progress resumes at once, and how long if it never does."""
    planned_s = AROUND_S + plan.steady_s + plan.judging.begin_at_s
    return planned_s + SWEEP_S, planned_s + plan.judging.bound_s + plan.judging.finish_s


@dataclass
class Screen:
    """What is drawn, anew at every call: time goes on also while no view comes."""

    plan: Plan
    title: str
    view: View | None = None
    started_ns: int = field(default_factory=now_ns)
    _beats: dict[str, tuple[int, int]] = field(default_factory=dict)

    def update(self, view: View) -> None:
        """Takes the newest view, and notes when each machine's heartbeat last moved."""
        self.view = view
        for machine in self.plan.machines:
            count = view.latest.get(f"{machine.name}/machine.beats", 0)
            if count and self._beats.get(machine.name, (0, 0))[0] != count:
                self._beats[machine.name] = count, now_ns()

    def __rich__(self) -> RenderableType:
        title = Text(self.title, style="bold", no_wrap=True, overflow="ellipsis")
        return Group(title, self._head(), self._machines())

    def _head(self) -> RenderableType:
        usual_s, longest_s = expected_s(self.plan)
        elapsed_s = int((now_ns() - self.started_ns) / NS)
        grid = Table.grid(padding=(0, 2))
        grid.add_row("stage", Text(self.view.stage if self.view else "booting the machines", style="cyan"))
        grid.add_row(
            "elapsed",
            f"{show_seconds(elapsed_s)}, of about {show_seconds(usual_s)} if progress resumes at once, "
            f"{show_seconds(longest_s)} at most",
        )
        return grid

    def _machines(self) -> RenderableType:
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("")
        table.add_column("free memory", justify="right", min_width=12)
        table.add_column("swap used", justify="right", min_width=9)
        table.add_column("work", justify="right", min_width=20)
        table.add_column("heartbeat", min_width=10)
        table.add_column("fault in force", min_width=14)
        latest = self.view.latest if self.view else {}
        for machine in self.plan.machines:
            name = machine.name
            table.add_row(
                Text(name, style="bold"),
                _free(latest, name),
                _swap(latest, name),
                self._work(latest, name),
                self._heartbeat(name),
                self._faults(name),
            )
        return table

    def _work(self, latest: Mapping[str, int], machine: str) -> str:
        """The counters of the machine's loads; those of one kind as one sum."""
        sums: dict[str, int] = {}
        for load in self.plan.loads:
            if load.machine == machine and load.page_kind in WORK:
                name, what = WORK[load.page_kind]
                sums[what] = sums.get(what, 0) + latest.get(f"{machine}/{load.name}.{name}", 0)
        return "\n".join(f"{count:,} {what}" for what, count in sums.items())

    def _heartbeat(self, machine: str) -> str:
        if machine not in self._beats:
            return "[dim]not yet[/]"
        silent_s = (now_ns() - self._beats[machine][1]) / NS
        return "[green]alive[/]" if silent_s < SILENT_S else f"[red]none {show_seconds(round(silent_s))}[/]"

    def _faults(self, machine: str) -> str:
        names = self.view.faults if self.view else ()
        here = [f.name for f in self.plan.faults if f.name in names and concerns(f.options, machine)]
        return f"[bold red]{escape(', '.join(here))}[/]" if here else "[dim]none[/]"


def concerns(options: Mapping[str, object], machine: str) -> bool:
    """Whether a fault with these options is at a machine: it names it somewhere."""
    words = [
        word for value in options.values() for word in (value if isinstance(value, list | tuple) else [value])
    ]
    return machine in words


def _free(latest: Mapping[str, int], machine: str) -> str:
    """As it is now, from the guest's RAM; before that is read, what there was when it was ready."""
    pages = latest.get(f"{machine}/memory.free_pages", latest.get(f"{machine}/blocksampler.free_pages"))
    if pages is not None:
        return show_bytes(pages * PAGE_BYTES)
    kib = latest.get(f"{machine}/machine.mem_free_kib")
    return f"[dim]{show_bytes(kib << 10)} at boot[/]" if kib else ""


def _swap(latest: Mapping[str, int], machine: str) -> str:
    total, free = (latest.get(f"{machine}/vmsampler.swap_{what}_kib") for what in ("total", "free"))
    return show_bytes((total - free) << 10) if total and free is not None else ""


@contextmanager
def live(plan: Plan, title: str, *, quiet: bool) -> Iterator[Listener]:
    """Shows a cell while it runs: redrawn on a terminal, one line a stage elsewhere."""
    if quiet or not err.is_terminal:
        yield _lines(title, quiet=quiet)
        return
    screen = Screen(plan, title)
    with Live(get_renderable=lambda: screen, console=err, refresh_per_second=REDRAWS_PER_S, transient=True):
        yield screen.update


def _lines(title: str, *, quiet: bool) -> Listener:
    started_ns, last = now_ns(), ""

    def tell(view: View) -> None:
        nonlocal last
        if not quiet and view.stage != last:
            last = view.stage
            since_s = round((now_ns() - started_ns) / NS)
            err.print(f"{title}: {show_seconds(since_s):>8}  {view.stage}", markup=False)

    return tell
