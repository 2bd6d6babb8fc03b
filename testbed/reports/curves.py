"""Owns the picture of a table's times to recover: of each kernel the share that had recovered by then."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING

from testbed.campaign.repeats import Repeats
from testbed.campaign.statistics.recovery import LEAST_FOR_INTERVAL, curve
from testbed.reports.plot import BLUE, GREEN, GREY, ORANGE, RED, STYLE, inline
from testbed.units import show_seconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_CURVES = 8
LINES = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (7, 2, 1.5, 2)))
"""Kernels that recover at TCP's pace lie on one line: through the pattern of each the next shows."""
COLOURS = (BLUE, ORANGE, GREEN, RED, GREY)
TICKS_S = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000)
NAME_LENGTH = 40


def drawable(rows: Sequence[Repeats]) -> bool:
    """Whether there is anything to compare: two kernels or more, one of which recovered."""
    timed = [row for row in rows if row.recovery.times.of]
    return len(timed) > 1 and any(row.recovery.times.seen_s for row in timed)


def draw(rows: Sequence[Repeats], name: str) -> str:
    """At most MOST_CURVES kernels of one place, as an SVG element; for `name` see `plot.inline`."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    timed = [row for row in rows if row.recovery.times.of][:MOST_CURVES]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 3.4), layout="constrained")
        axis = figure.subplots()
        end_s = max(max(row.recovery.bound_s, *_times_s(row)) for row in timed)
        for number, row in enumerate(timed):
            _curve(axis, row, number, end_s)
        _dress(axis, end_s)
        return inline(figure, name)


def words(rows: Sequence[Repeats]) -> str:
    """The same for those who can not see it."""
    timed = [row for row in rows if row.recovery.times.of]
    return "; ".join(f"{row.kernel}: {row.recovery.median_words}" for row in timed) + "."


def _times_s(row: Repeats) -> tuple[float, ...]:
    return row.recovery.times.seen_s + row.recovery.times.unseen_s


def _curve(axis: Axes, row: Repeats, number: int, end_s: float) -> None:
    steps = curve(row.recovery.times)
    at_s = [*steps.at_s, end_s]
    colour, line = COLOURS[number % len(COLOURS)], LINES[number % len(LINES)]
    times = row.recovery.times
    axis.step(
        at_s,
        [*steps.share, steps.share[-1]],
        where="post",
        color=colour,
        linestyle=line,
        linewidth=1.9,
        label=f"{_label(row.kernel)}: {len(times.seen_s)} of {times.of}",
    )
    if len(times.seen_s) >= LEAST_FOR_INTERVAL:
        known = [share < 1 for share in steps.share]  # where all have recovered there is no interval
        until_s = at_s[: sum(known) + 1]
        low, high = ([*limit[: sum(known)], limit[sum(known) - 1]] for limit in (steps.low, steps.high))
        axis.fill_between(until_s, low, high, step="post", color=colour, alpha=0.12, linewidth=0)
    left_s = sorted(set(times.unseen_s))
    shares = [steps.share[bisect_right(steps.at_s, each) - 1] for each in left_s]
    axis.plot(left_s, shares, linestyle="", marker="|", markersize=9, markeredgewidth=1.6, color=colour)


def _label(name: str) -> str:
    return "".join(char for char in name[:NAME_LENGTH] if char.isprintable())


def _dress(axis: Axes, end_s: float) -> None:
    axis.set_xscale("symlog", linthresh=1, linscale=0.4)
    axis.set_xlim(0, end_s)
    ticks = [tick for tick in TICKS_S if tick < 0.6 * end_s]
    axis.set_xticks([*ticks, end_s])
    axis.xaxis.set_major_formatter(lambda value, _: show_seconds(value) if value else "0")
    axis.minorticks_off()
    axis.set_ylim(-0.03, 1.05)
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axis.set_ylabel("recovered by then")
    axis.set_xlabel("time since the heal (logarithmic from 1 s)")
    axis.grid(color="#e6e9ed", linewidth=0.7)
    axis.set_axisbelow(True)
    axis.legend(loc="upper left", bbox_to_anchor=(1.005, 1.0), frameon=False, fontsize=9, handlelength=2.6)
