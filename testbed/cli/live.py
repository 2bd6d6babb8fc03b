"""Owns the live display of a running cell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from testbed.cli.exits import err
from testbed.model import Plan
from testbed.run.observe import Listener, View
from testbed.units import PAGE_BYTES, show_bytes, show_seconds


def expected_s(plan: Plan) -> tuple[float, float]:
    """Shortest and longest time of a cell: boot, fill and sweep as measured under TCG, the rest planned."""
    around_s = 30.0 + plan.steady_s + plan.judging.begin_at_s
    return around_s + 25.0, around_s + plan.judging.bound_s + plan.judging.finish_s


def _render(plan: Plan, view: View | None, title: str) -> RenderableType:
    shortest_s, longest_s = expected_s(plan)
    stage, since_s, faults = (view.stage, view.since_s, view.faults) if view else ("booting", 0.0, ())
    head = Text.assemble(
        (title, "bold"),
        f"   {stage}   {show_seconds(since_s)} of {show_seconds(shortest_s)} to {show_seconds(longest_s)}   ",
        (("fault in force: " + ", ".join(faults)), "bold red") if faults else ("no fault in force", "green"),
    )
    table = Table(box=None, pad_edge=False)
    for column in ("machine", "free memory", "swap used", "work", "heartbeat"):
        table.add_column(column, justify="left" if column == "machine" else "right")
    latest = view.latest if view else {}
    for machine in plan.machines:
        name = machine.name
        free = latest.get(f"{name}/memory.free_pages", latest.get(f"{name}/blocksampler.free_pages"))
        swap = latest.get(f"{name}/vmsampler.swap_used_kib")
        work = [
            latest[key]
            for load in plan.loads
            if load.machine == name
            for field in ("work_units", "packets", "packets_sent")
            if (key := f"{name}/{load.name}.{field}") in latest
        ]
        table.add_row(
            name,
            show_bytes(free * PAGE_BYTES) if free is not None else "-",
            show_bytes(swap << 10) if swap is not None else "-",
            " ".join(f"{count:,}" for count in work) or "-",
            f"{latest.get(f'{name}/machine.beats', 0):,}",
        )
    return Group(head, table)


@contextmanager
def live(plan: Plan, title: str, *, quiet: bool) -> Iterator[Listener]:
    """Shows a cell while it runs: redrawn on a terminal, one line a stage elsewhere."""
    if quiet or not err.is_terminal:
        last = ""

        def tell(view: View) -> None:
            nonlocal last
            if not quiet and view.stage != last:
                last = view.stage
                err.print(f"{title}: {show_seconds(view.since_s):>8}  {view.stage}")

        yield tell
        return
    with Live(_render(plan, None, title), console=err, refresh_per_second=4, transient=True) as display:
        yield lambda view: display.update(_render(plan, view, title))
