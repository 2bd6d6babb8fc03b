"""Owns the picture of a cell over time: memory, work, swap requests and packets on one time axis."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from testbed.clock import NS
from testbed.judge.case import Case, in_force
from testbed.judge.resumption import resumption

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, GREY, RED = "#1f5fa8", "#c2570c", "#2c7a4b", "#5f6b7a", "#b3261e"
CUT_FILL, SWEEP_FILL = "#f4d9d2", "#e3efe7"
MOST_BINS = 320
LEAST_BIN_S = 0.5
LEAD_S = 8.0
LARGEST = 1e15
WORK = {"work_units": "pages worked on", "reads": "reads done"}
"""What loads count as their work, by the field of their slot (testbed/guest/witness.h)."""

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "testbed",
    "font.size": 9.5,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#9aa4b0",
    "axes.labelcolor": "#222a33",
    "xtick.color": "#4a5560",
    "ytick.color": "#4a5560",
    "text.parse_math": False,
    "path.simplify": True,
}


@dataclass(frozen=True, slots=True)
class Clip:
    """The stretch of the history that is drawn, in ns, and its bins."""

    case: Case
    from_ns: int
    to_ns: int

    @property
    def bin_ns(self) -> int:
        return max(round(LEAST_BIN_S * NS), (self.to_ns - self.from_ns) // MOST_BINS)

    def edges(self) -> range:
        return range(self.from_ns, self.to_ns + self.bin_ns, self.bin_ns)

    def has(self, name: str) -> bool:
        return bool(self.case.history.series(name))

    def level(self, name: str) -> tuple[list[float], list[float]]:
        """The least value in each bin: dips are what matters of free pages."""
        times, values = [], []
        for start in self.edges():
            low = self.case.least(name, start, start + self.bin_ns)
            if low is not None:
                times.append(self.case.at(start))
                values.append(_drawable(low[1]))
        return times, values

    def rate(self, *names: str) -> tuple[list[float], list[float]]:
        """Growth a second in each bin, of all these together."""
        times, values = [], []
        for start in self.edges():
            each = [self.case.growth(name, start, start + self.bin_ns) for name in names]
            grown = [one for one in each if one is not None]
            if grown:
                times.append(self.case.at(start))
                values.append(_drawable(sum(grown) * NS / self.bin_ns))
        return times, values


def _drawable(value: float) -> float:
    return float(max(-LARGEST, min(LARGEST, value)))


def draw(case: Case) -> str:
    """The plot as one SVG element, text kept as text; the same evidence always gives the same bytes."""
    # Half a second to import: only where a plot is drawn.
    import matplotlib as mpl
    from matplotlib.figure import Figure

    end_ns = max(case.end_ns, case.origin_ns + NS)
    clip = Clip(case, case.origin_ns - round(LEAD_S * NS), end_ns + 2 * NS)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 8.6), layout="constrained")
        axes = figure.subplots(4, 1, sharex=True, height_ratios=(1.25, 0.9, 1, 1))
        _memory(axes[0], clip)
        _work(axes[1], clip)
        _swap(axes[2], clip)
        _packets(axes[3], clip)
        for axis in axes:
            _bands(axis, clip)
            axis.margins(x=0)
            axis.grid(axis="y", color="#e6e9ed", linewidth=0.7)
            axis.set_axisbelow(True)
        _moments(axes, clip)
        axes[-1].set_xlabel("seconds since the timeline began")
        axes[-1].set_xlim(case.at(clip.from_ns), case.at(clip.to_ns))
        return inline(figure, "plot")


def _title(axis: Axes, text: str) -> None:
    axis.set_title(text, loc="left", fontsize=10, color="#222a33", pad=4)


def _key(axis: Axes) -> None:
    if axis.get_legend_handles_labels()[0]:
        axis.legend(
            loc="upper left", bbox_to_anchor=(1.005, 1.0), frameon=False, fontsize=8.5, handlelength=1.4
        )


def _memory(axis: Axes, clip: Clip) -> None:
    case = clip.case
    _title(axis, f"Free memory of {case.subject} (pages, least in each bin)")
    marks = {
        f"{word} watermark": case.history.value_at(case.own(f"blocksampler.{word}_pages"), case.end_ns)
        for word in ("high", "low", "min")
    }
    names = [name for name in case.rules.free_pages if clip.has(name)] or [
        case.own("blocksampler.free_pages")
    ]
    times, values = clip.level(names[-1])
    axis.plot(times, values, color=BLUE, linewidth=1.5, label="free pages", drawstyle="steps-post")
    for (word, value), shade in zip(marks.items(), ("#c3cad2", "#9aa4b0", GREY), strict=True):
        if value is not None:
            axis.axhline(
                _drawable(value), color=shade, linewidth=1.1, linestyle=(0, (5, 3)), label=f"{word} ({value})"
            )
    floor = case.atomic_floor(case.end_ns)
    if floor is not None:
        axis.axhline(_drawable(floor), color=RED, linewidth=1.3, label=f"GFP_ATOMIC floor ({floor})")
        top = max(marks["high watermark"] or 0, 2 * floor)
        axis.set_ylim(0, _drawable(max(1.0, min(3 * top, max(1.7 * top, 1.05 * max(values, default=0))))))
    _key(axis)


def _work(axis: Axes, clip: Clip) -> None:
    names = work_of(clip.case.rules.progress)
    _title(axis, work_words(names))
    times, values = clip.rate(*names)
    axis.fill_between(times, values, step="post", color=GREEN, alpha=0.25, linewidth=0)
    axis.plot(times, values, color=GREEN, linewidth=1.3, drawstyle="steps-post", label="work units")
    _from_zero(axis, values)
    _key(axis)


def work_of(progress: Sequence[str]) -> tuple[str, ...]:
    """The series whose sum is the work: all that count the same as the first; others count it once more."""
    if not progress:
        return ()
    unit = _field(progress[0])
    return tuple(name for name in progress if _field(name) == unit)


def work_words(names: Sequence[str]) -> str:
    """What is counted, and by how many; series have names of their own."""
    if not names:
        return "Work done: nothing counts it"
    unit, device = _field(names[0]), re.fullmatch(r"(\w+)_completed_(\d)", _field(names[0]))
    if device:
        return f"Work done ({device[1]} completed by block device {int(device[2]) + 1}, per second)"
    by = "1 load" if len(names) == 1 else f"{len(names)} loads together"
    return f"Work done by {by} ({WORK.get(unit, unit.replace('_', ' '))}, per second)"


def _field(name: str) -> str:
    return name.rpartition(".")[2]


def _swap(axis: Axes, clip: Clip) -> None:
    case = clip.case
    _title(axis, "Swap requests (per second completed; in flight)")
    shown: list[float] = []
    for word, colour in (("reads", BLUE), ("writes", ORANGE)):
        name = case.own(f"blocksampler.{word}_completed_0")
        if clip.has(name):
            times, values = clip.rate(name)
            shown += values
            axis.plot(
                times, values, color=colour, linewidth=1.2, drawstyle="steps-post", label=f"{word} completed"
            )
    flight = case.rules.in_flight
    if flight and clip.has(flight):
        times, values = clip.level(flight)
        shown += values
        axis.plot(
            times, values, color=GREY, linewidth=1.2, linestyle=":", drawstyle="steps-post", label="in flight"
        )
    _from_zero(axis, shown)
    _key(axis)


def _packets(axis: Axes, clip: Clip) -> None:
    _title(axis, "Packets on the wire (per second; line: offered, dots: delivered)")
    for source, colour in zip(_busiest_flows(clip.case), (BLUE, ORANGE, GREEN, GREY), strict=False):
        label = source.partition("/")[2]
        axis.plot(
            *clip.rate(f"{source}.offered_packets"),
            color=colour,
            linewidth=1.1,
            drawstyle="steps-post",
            label=label,
        )
        axis.plot(
            *clip.rate(f"{source}.delivered_packets"), color=colour, linewidth=0, marker=".", markersize=2.5
        )
    axis.set_yscale("symlog", linthresh=10, linscale=0.6)
    axis.set_ylim(bottom=0)
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    _key(axis)


def _busiest_flows(case: Case) -> list[str]:
    """The swap's own flows first, then those to and from the subject that were offered most."""
    offered = {
        name.rpartition(".")[0]: points[-1][1]
        for name, points in case.history.values.items()
        if name.startswith("wire/") and name.endswith(".offered_packets") and points[-1][1]
    }
    return sorted(offered, key=lambda name: (not name.startswith("wire/swap."), -offered[name], name))[:4]


def _from_zero(axis: Axes, values: Sequence[float]) -> None:
    axis.set_ylim(0, 1.08 * max([1.0, *values]))


def _bands(axis: Axes, clip: Clip) -> None:
    case = clip.case
    for event in case.history.events_of("fault.applied"):
        if case.origin_ns <= event.t_ns <= case.end_ns:
            start, end = in_force(case, event)
            axis.axvspan(case.at(start), case.at(end), color=CUT_FILL, linewidth=0, zorder=0)
    for from_s, to_s, _ in floods(case):
        axis.axvspan(from_s, to_s, ymax=0.045, color=BLUE, alpha=0.45, linewidth=0, zorder=0.5)
    finish = resumption(case).finish
    if finish.asked_ns is not None:
        swept_ns = case.end_ns if finish.done_ns is None else finish.done_ns
        axis.axvspan(case.at(finish.asked_ns), case.at(swept_ns), color=SWEEP_FILL, linewidth=0, zorder=0)
    axis.axvline(case.at(case.begin_ns), color="#222a33", linewidth=0.9, linestyle=(0, (2, 2)))
    if case.heal_ns != case.begin_ns:
        axis.axvline(case.at(case.heal_ns), color=RED, linewidth=1.0)


def floods(case: Case) -> tuple[tuple[float, float, str], ...]:
    """Loads that ran during the timeline only: from, to (s) and name."""
    spans = []
    for event in case.history.events_of("load.started"):
        if case.origin_ns <= event.t_ns <= case.end_ns:
            stops = [e.t_ns for e in case.history.events_of("load.stopped") if e.name == event.name]
            end_ns = min((t_ns for t_ns in stops if t_ns >= event.t_ns), default=case.end_ns)
            spans.append((case.at(event.t_ns), case.at(min(end_ns, case.end_ns)), event.name))
    return tuple(spans)


def _moments(axes: Sequence[Axes], clip: Clip) -> None:
    """Names of bands and lines: in the top panel, staggered so that they do not run into each other."""
    case = clip.case
    named: list[tuple[float, str, str]] = []
    for event in case.history.events_of("fault.applied"):
        if case.origin_ns <= event.t_ns <= case.end_ns:
            named.append((case.at(event.t_ns), f"{event.name[:24]} in force", RED))
    named += [(start, f"{name[:24]} on", BLUE) for start, _, name in floods(case)]
    named.append((case.at(case.begin_ns), _judging_words(case), "#222a33"))
    resumed = resumption(case).resumed_ns
    if resumed is not None and resumed > case.begin_ns:
        for axis in axes:
            axis.axvline(case.at(resumed), color=GREEN, linewidth=1.1)
        named.append((case.at(resumed), "work goes on", GREEN))
    asked_ns = resumption(case).finish.asked_ns
    if asked_ns is not None:
        named.append((case.at(asked_ns), "sweep", GREEN))
    for place, (at_s, text, colour) in enumerate(sorted(named)[:8]):
        axes[0].annotate(
            text,
            (at_s, 0.97 - 0.105 * (place % 5)),
            xycoords=("data", "axes fraction"),
            xytext=(3, 0),
            textcoords="offset points",
            fontsize=8.5,
            color=colour,
            va="top",
            bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.8},
        )


def _judging_words(case: Case) -> str:
    near = abs(case.heal_ns - case.begin_ns) < NS
    return "heal, judging begins" if case.rules.heals and near else "judging begins"


def inline(figure: Figure, name: str) -> str:
    """The SVG element alone, without fixed size, so that the page may scale it.

    The page says what it shows in elements with the ids `NAME-title` and `NAME-text`.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    written = io.StringIO()
    FigureCanvasSVG(figure).print_svg(  # type: ignore[no-untyped-call]
        written, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
    )
    svg = written.getvalue()
    head, rest = svg[svg.index("<svg") :].split(">", 1)
    head = re.sub(r'\s(?:width|height)="[^"]*"', "", head)
    head += f' role="img" aria-labelledby="{name}-title {name}-text"'
    return re.sub(r"<metadata>.*?</metadata>", "", f"{head}>{rest}", flags=re.DOTALL)
