"""Owns the HTML reports: of a cell and of a campaign, self-contained, everything escaped."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from testbed import store
from testbed.campaign.counted import counted
from testbed.campaign.expectation import Cell, Met
from testbed.campaign.repeats import AT, Repeats
from testbed.campaign.summary import Row, summarise
from testbed.campaign.until_clear import read_notes
from testbed.judge.case import Case, case_of
from testbed.judge.values import Verdict, read_verdict
from testbed.reports import curves, graph, plot
from testbed.reports.excerpt import excerpt
from testbed.reports.words import MEANS, tone
from testbed.units import show_bytes, show_seconds

INDEX = "index.html"
MOST_OTHER_LINES = 80
TEXTS = ("command", "commit", "wall_clock", "hypervisor", "cell_s")
TABLES = ("host", "accelerator", "kernels")

MET_WORDS: dict[Met, str] = {
    "met": "expectation met",
    "not met": "expectation not met",
    "inconclusive": "expectation open",
    "none": "nothing was expected",
}


@cache
def _environment() -> Environment:
    """One for all pages of a campaign: a template is compiled once."""
    made = Environment(
        loader=PackageLoader("testbed.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["seconds"] = lambda value: "\N{EM DASH}" if value is None else show_seconds(round(value, 2))
    made.filters["bytes"] = show_bytes
    made.globals |= {"tone": tone, "at": AT}
    made.filters["short"] = lambda digest: str(digest)[:12]
    return made


def _printable(value: Any) -> Any:
    """No control character reaches a page, whatever a label or a message holds."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return "".join(char if char >= " " or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in value)


def write_cell(folder: Path) -> Path:
    """Writes the report of a judged result folder beside it, and returns its path."""
    path = folder / store.REPORT
    store.write_atomically(path, render_cell(folder).encode())
    return path


def write_index(folder: Path, cells: Sequence[Cell]) -> Path:
    """Writes the campaign's report; links go to the cells' own, relative to `folder`."""
    path = folder / INDEX
    store.write_atomically(path, render_index(folder, cells).encode())
    return path


def render_cell(folder: Path) -> str:
    """The report of one cell from what lies in its folder. Raises UsageError if it was not judged."""
    plan, verdict = store.read_plan(folder), read_verdict(folder)
    case = case_of(store.read_evidence(folder))
    cell = Cell(folder, plan, verdict)
    others = [machine for machine in case.evidence.consoles if machine != case.subject]
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            plan=plan,
            labels=plan.labels,
            verdict=verdict,
            met=cell.met,
            met_words=MET_WORDS[cell.met],
            means=MEANS[verdict.outcome],
            counterfactual=cell.counterfactual,
            figures=_figures(verdict),
            plot=_plot(case),
            plot_text=_plot_text(case, verdict),
            console=excerpt(case, case.subject),
            other_consoles=[excerpt(case, machine, MOST_OTHER_LINES) for machine in others],
            counters=counted(plan, case.evidence.snapshots) or {},
            waits=verdict.examination,
            waits_drawn=graph.draw(verdict.examination) if verdict.examination else None,
            waits_edges=graph.edges(verdict.examination) if verdict.examination else None,
            waits_ends=graph.ends(verdict.examination) if verdict.examination else None,
            environment=surroundings(folder),
            folder=folder.name,
        )
    )


def render_index(folder: Path, cells: Sequence[Cell]) -> str:
    summary = summarise(cells, read_notes(folder))
    questions = [row for row in summary.rows if not row.is_control]
    return (
        _environment()
        .get_template("index.html.j2")
        .render(
            summary=summary,
            questions=questions,
            controls=summary.controls,
            curves=_curves(questions),
            link=lambda cell: _link(folder, cell),
            met_words=MET_WORDS,
            means=MEANS,
            title=folder.name,
        )
    )


def _curves(rows: Sequence[Row]) -> list[tuple[str, str, Markup, str]]:
    """Of each place with kernels to compare: its name, its picture's id, the picture, and that in words."""
    places: dict[str, list[Repeats]] = {}
    for row in rows:
        places.setdefault(row.place, []).append(row.repeats)
    return [
        (place, name, Markup(curves.draw(repeats, name)), curves.words(repeats))
        for count, (place, repeats) in enumerate(places.items(), 1)
        if curves.drawable(repeats) and (name := f"recovery-{count}")
    ]


def _link(folder: Path, cell: Cell) -> str | None:
    """The way from the index to a cell's report; None where it lies elsewhere or was not written."""
    report = cell.folder / store.REPORT
    if not report.exists() or not report.resolve().is_relative_to(folder.resolve()):
        return None
    return quote(report.resolve().relative_to(folder.resolve()).as_posix())


def surroundings(folder: Path) -> dict[str, Any]:
    """`environment.json` with every part that a report shows; what is not there is empty."""
    known = store.read_environment(folder)
    parts: dict[str, Any] = {name: str(known.get(name) or "") for name in TEXTS}
    parts |= {name: value if isinstance(value := known.get(name), dict) else {} for name in TABLES}
    kernels = parts["kernels"].items()
    parts["kernels"] = {key: kernel for key, kernel in kernels if isinstance(kernel, dict)}
    return parts


def _plot(case: Case) -> Markup | None:
    """Matplotlib escapes every text in its SVG. Without a plot the report is still a report."""
    try:
        return Markup(plot.draw(case))
    except (ValueError, OverflowError):
        return None


def _plot_text(case: Case, verdict: Verdict) -> str:
    """The plot in words, for those who can not see it."""
    parts = [
        f"{event.name} in force from {case.at(event.t_ns):.0f} s"
        for event in case.history.events_of("fault.applied")
        if event.t_ns <= case.end_ns
    ]
    parts += [f"{name} on from {start:.0f} s to {end:.0f} s" for start, end, name in plot.floods(case)]
    parts.append(f"judged from {case.at(case.begin_ns):.0f} s to {case.at(case.end_ns):.0f} s")
    parts += [one.statement.rstrip(".") for one in verdict.preconditions]
    return f"{'; '.join(parts)}. The verdict: {verdict.outcome}."


def _figures(verdict: Verdict) -> list[tuple[str, str, str]]:
    """What stands in figures at the top: name, value, remark."""
    figures = []
    if verdict.time_to_recover_s is not None:
        figures.append(
            (
                "Time to recover",
                show_seconds(round(verdict.time_to_recover_s, 1)),
                "from the heal to lasting work",
            )
        )
    elif verdict.censored and verdict.observed_s is not None:
        figures.append(
            ("Time to recover", f"over {show_seconds(verdict.observed_s)}", "not seen: watched no longer")
        )
    if verdict.sweep_s is not None:
        figures.append(("Sweep", show_seconds(round(verdict.sweep_s, 1)), "every page read and compared"))
    if verdict.rate_before is not None:
        figures.append(
            ("Rate before", f"{verdict.rate_before:,.0f}/s", "work units of the first load, undisturbed")
        )
    if verdict.rate_after is not None:
        share = (
            f"{verdict.rate_after / verdict.rate_before:.0%} of before"
            if verdict.rate_before
            else "work units"
        )
        figures.append(("Rate after", f"{verdict.rate_after:,.0f}/s", share))
    return figures
