"""The commands about many cells: which kernel wedges more often, and how many repeats show it."""

from __future__ import annotations

from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from testbed.campaign.comparison import Comparison
from testbed.campaign.comparison import compare as compare_all
from testbed.campaign.counterfactual import counterfactual
from testbed.campaign.expectation import MAIN_VARIANTS
from testbed.campaign.kept import Collected, read
from testbed.campaign.observation import Observation, mixed
from testbed.campaign.repeats import Place, Repeats, place_of, repeats_of
from testbed.campaign.statistics import LEVEL
from testbed.campaign.statistics import power as repeats_needed
from testbed.campaign.until_clear import families_of
from testbed.cli import show
from testbed.cli.exits import Exit, out, print_json, shows_errors
from testbed.cli.options import AsJson
from testbed.errors import UsageError, nearest

Only = Annotated[str | None, typer.Option(help="Only cells with this; without: each in turn.")]


@shows_errors
def compare(
    folder: Annotated[
        Path, typer.Argument(help="A campaign's folder, one of campaigns, or of summaries.", exists=True)
    ],
    kernel: Annotated[
        list[str] | None,
        typer.Option("--kernel", "-k", help="Which kernels, two or more; without: all that are there."),
    ] = None,
    variant: Annotated[str, typer.Option(help="The variant; without: the question itself.")] = "",
    playbook: Only = None,
    form: Only = None,
    transport: Only = None,
    nic: Only = None,
    as_json: AsJson = False,
) -> None:
    """Compare kernels over the cells that were kept: how often they wedged, and how soon they recovered.

    Example: testbed compare results/flood-short --kernel stock --kernel vanilla-2007

    Ends with 0 also where no difference is shown, with 3 where a kernel has no cell that counts.
    """
    kept = read(folder)
    wanted = {"playbook": playbook, "form": form, "transport": transport, "nic": nic}
    chosen = _chosen(kept, tuple(kernel or ()), variant, wanted)
    rows = _rows(kept, chosen)
    found = compare_all(rows, families_of(kept.notes))
    silent = sorted({row.kernel for row in rows if not row.wedged.tally.of})
    if as_json:
        cautions = {place.words: mixed(_cells(rows, place)) for place in dict.fromkeys(r.place for r in rows)}
        print_json(
            {
                "comparisons": [show.comparison_json(one) for one in found],
                "cautions": cautions,
                "counterfactual": _counterfactual(rows),
                "confounded": _confounded(rows),
                "without_a_cell_that_counts": silent,
            }
        )
    else:
        _print(rows, found)
    raise typer.Exit(Exit.INCONCLUSIVE if silent or not found else Exit.MET)


def _chosen(
    kept: Collected, kernels: tuple[str, ...], variant: str, wanted: dict[str, str | None]
) -> list[Observation]:
    """Raises UsageError where that leaves nothing to compare."""
    found = [one for one in kept.observations if _variant(one.labels.variant) == _variant(variant)]
    if not found:
        there = {one.labels.variant for one in kept.observations if one.labels.variant}
        raise UsageError(f"no cell of variant '{variant}'", hint=nearest(variant, there), where="--variant")
    for name, value in wanted.items():
        there = {str(getattr(one.labels, name)) for one in found}
        if value is not None and value not in there:
            raise UsageError(f"no cell of '{value}'", hint=nearest(value, there), where=f"--{name}")
        found = [one for one in found if value is None or getattr(one.labels, name) == value]
    there = {one.labels.kernel for one in found}
    for name in kernels:
        if name not in there:
            raise UsageError(f"no cell of kernel '{name}'", hint=nearest(name, there), where="--kernel")
    asked = dict.fromkeys(kernels or sorted(there))
    if len(asked) < 2:
        raise UsageError("one kernel alone has nothing to be compared with", hint=nearest("", there))
    return [one for one in found if one.labels.kernel in asked]


def _variant(name: str) -> str:
    return "" if name in MAIN_VARIANTS else name


def _rows(kept: Collected, chosen: list[Observation]) -> list[Repeats]:
    """Repeats in one row each; a place where only one of the kernels was is left out."""

    def key(one: Observation) -> tuple[str, ...]:
        place = place_of(one.labels)
        return (*asdict(place).values(), one.labels.kernel)

    ordered = sorted(chosen, key=lambda one: (key(one), one.labels.repeat, one.name))
    rows = []
    for _, group in groupby(ordered, key=key):
        cells = list(group)
        always = any(note.covers(cells[0].labels) for note in kept.notes)
        rows.append(repeats_of(cells, always=always))
    places = [row.place for row in rows]
    return [row for row in rows if places.count(row.place) > 1]


def _cells(rows: list[Repeats], place: Place) -> list[Observation]:
    return [one for row in rows if row.place == place for one in row.observations]


def _confounded(rows: list[Repeats]) -> list[str]:
    return sorted({row.kernel for row in rows for one in row.observations if one.confounders})


def _counterfactual(rows: list[Repeats]) -> list[str]:
    return list(dict.fromkeys(why for row in rows for why in counterfactual(row.observations[0].labels)))


def _print(rows: list[Repeats], found: tuple[Comparison, ...]) -> None:
    for place, group in groupby(rows, key=lambda row: row.place):
        out.print(f"[bold]{escape(place.words)}[/]")
        for row in group:
            out.print(f"  {escape(row.kernel)}: {escape(row.words)}")
        for caution in mixed(_cells(rows, place)):
            out.print(f"  [yellow]{escape(caution)}[/]")
        for one in found:
            if one.place == place:
                out.print(show.comparison(one))
    for why in _counterfactual(rows):
        out.print(f"[yellow]Counterfactual:[/] {escape(why)}.")
    for kernel in _confounded(rows):
        out.print(f"[yellow]{escape(kernel)} has confounders: what differs may be their doing.[/]")
    if len(found) > 1:
        out.print(f"[dim]{show.FAMILY}[/]")
    if not found:
        out.print("Nothing to compare: no two kernels have cells at one place that count.")


@shows_errors
def power(
    share: Annotated[float, typer.Option("--from", min=0, max=1, help="Share that wedges on one kernel.")],
    other: Annotated[float, typer.Option("--to", min=0, max=1, help="Share that wedges on the other.")],
    wanted: Annotated[
        float, typer.Option("--power", min=0.05, max=0.999, help="How often the difference is to be found.")
    ] = 0.8,
    as_json: AsJson = False,
) -> None:
    """Tell how many repeats of each kernel are needed to show that one wedges more often.

    Example: testbed power --from 0.9 --to 0.5 --power 0.8
    """
    if share == other:
        raise UsageError("a difference of nothing is never found", where="--to", hint="give another share")
    fixed = repeats_needed.needed(share, other, wanted)
    if fixed is None:
        raise UsageError(
            f"over {repeats_needed.MOST_REPEATS} repeats of each kernel would be needed",
            where="--to",
            hint="ask for a larger difference: a cell takes minutes",
        )
    course = repeats_needed.until_clear(share, other, 2 * fixed.repeats)
    if as_json:
        print_json({"fixed": asdict(fixed), "until_clear": asdict(course), "level": LEVEL})
        return
    out.print(
        f"{fixed.repeats} repeats of each kernel: where one wedges in {share:.0%} of its cells and the other "
        f"in {other:.0%}, Fisher's exact test then shows a difference {fixed.power:.0%} of the time "
        f"(two-sided, at {LEVEL:.0%}). The normal approximation would say {fixed.approximate}."
    )
    out.print(
        f"--until-clear --at-most {course.at_most} shows one {course.shown:.0%} of the time, after some "
        f"{course.mean_repeats:.0f} repeats of each on average."
    )
