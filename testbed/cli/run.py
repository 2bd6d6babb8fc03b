"""The command that plays cells: which, how many of them, and what is said when they are done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from testbed.campaign import play as campaign
from testbed.campaign.expectation import Cell
from testbed.campaign.outcomes import counts
from testbed.campaign.summary import state_of, summarise
from testbed.campaign.until_clear import AT_MOST, WIDTH, Rule, read_notes
from testbed.cli import inputs, playing, show
from testbed.cli.exits import Exit, code_of, out, print_json, shows_errors
from testbed.cli.options import (
    AcceleratorOption,
    AsJson,
    Form,
    Image,
    Kernels,
    NicModel,
    Playbook,
    Quiet,
    Settings,
    Sweep,
    TopologyName,
    Transport,
    Variant,
)
from testbed.errors import TestbedError, UsageError
from testbed.model import Plan

Outcomes = Iterator[campaign.Played | TestbedError]


@dataclass(frozen=True, slots=True)
class Course:
    """What is played: the question's cells, all or until `rule` finds them clear, then the controls."""

    question: tuple[Plan, ...]
    controls: tuple[Plan, ...]
    rule: Rule | None

    @property
    def plans(self) -> tuple[Plan, ...]:
        return (*self.question, *self.controls)


@shows_errors
def run(
    playbook: Playbook,
    kernel: Kernels = None,
    repeat: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Cells for each kernel; without: one.")
    ] = None,
    until_clear: Annotated[
        bool, typer.Option("--until-clear", help="Repeat until it is clear how often each wedges.")
    ] = False,
    at_most: Annotated[
        int | None, typer.Option(min=1, max=1000, help=f"With --until-clear; without: {AT_MOST}.")
    ] = None,
    width: Annotated[
        float | None,
        typer.Option(min=0.05, max=1.0, help=f"With --until-clear: so narrow is clear; without: {WIDTH}."),
    ] = None,
    form: Form = "short",
    variant: Variant = "",
    controls: Annotated[
        bool, typer.Option("--controls", help="Run the playbook's controls beside it.")
    ] = False,
    nic: NicModel = None,
    transport: Transport = None,
    topology: TopologyName = None,
    settings: Settings = None,
    sweep: Sweep = None,
    accelerator_wish: AcceleratorOption = "auto",
    image: Image = None,
    into: Annotated[
        Path | None, typer.Option(help="Folder of the campaign; finished cells in it are kept.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the last lab up; of a kept cell there is none.")
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Play a playbook on kernels, judge, and report. Finished cells are kept and not run again.

    Example: testbed run flood --kernel stock --kernel vanilla-2007 --repeat 5 --controls
    """
    rule = _rule(until_clear=until_clear, repeat=repeat, at_most=at_most, width=width, keep=keep)
    if rule and sweep:
        raise UsageError(
            "--until-clear asks one question", where="--sweep", hint="give the values one by one, by --set"
        )
    chosen = tuple(dict.fromkeys(kernel or ["stock"]))
    told = tuple(settings or ())
    wish = inputs.Wish(playbook, chosen, form, nic, transport, told, accelerator_wish, image, topology)
    wishes = inputs.swept(wish, sweep)
    course = Course(
        _in_turn(wishes, (variant,), repeat=rule.at_most if rule else repeat or 1),
        _in_turn(wishes, inputs.control_variants(wish)) if controls else (),
        rule,
    )
    folder = inputs.made(into or inputs.RESULTS / inputs.campaign_name(wish))
    quiet = quiet or as_json
    played = playing.tell(_play(course, folder, image, quiet=quiet, keep=keep), folder, quiet=quiet)
    if keep:
        playing.tell_if_none_is_kept(played[-1])
    failed = [one for one in played if isinstance(one, TestbedError)]
    _conclude(folder, course, failed, as_json=as_json)


def _in_turn(wishes: Sequence[inputs.Wish], variants: Sequence[str], repeat: int = 1) -> tuple[Plan, ...]:
    """The cells of all wishes; repeats outermost, so that a campaign cut short has some of each."""
    found = (plan for wish in wishes for plan in inputs.plans(wish, variants=variants, repeat=repeat))
    return tuple(sorted(found, key=lambda plan: plan.labels.repeat))


def _rule(
    *, until_clear: bool, repeat: int | None, at_most: int | None, width: float | None, keep: bool
) -> Rule | None:
    """Raises UsageError on options that contradict each other."""
    if not until_clear:
        for option, value in (("--at-most", at_most), ("--width", width)):
            if value is not None:
                raise UsageError(f"{option} is of --until-clear", where=option, hint="give --until-clear too")
        return None
    if repeat is not None:
        raise UsageError(
            "--repeat fixes the number of cells, --until-clear leaves it open",
            where="--repeat",
            hint="give --at-most for a bound",
        )
    if keep:
        raise UsageError(
            "--until-clear does not know which cell is the last", where="--keep", hint="give --repeat instead"
        )
    return Rule(at_most=at_most or AT_MOST, width=width or WIDTH)


def _play(course: Course, folder: Path, image: Path | None, *, quiet: bool, keep: bool) -> Outcomes:
    display = playing.display(course.plans, quiet=quiet, at_most=course.rule is not None)
    build = inputs.builder(image, quiet=quiet)
    if course.rule is None:
        yield from campaign.play(course.plans, folder, build, display, keep=playing.keep if keep else None)
        return
    yield from campaign.play_until_clear(course.question, course.rule, folder, build, display)
    yield from campaign.play(course.controls, folder, build, display)


def _conclude(folder: Path, course: Course, failed: Sequence[TestbedError], *, as_json: bool) -> None:
    names = {campaign.folder_name(one) for one in course.plans}
    every = campaign.cells_of(folder)
    cells = [cell for cell in every if cell.folder.name in names]
    summary = summarise(cells, read_notes(folder))
    index = inputs.write_index(folder, every)
    if as_json:
        print_json(show.summary_json(summary, cells, index))
    else:
        out.print(show.summary(summary))
        out.print(f"report: {index}")
    code = exit_code(cells, failed)
    kernels = {one.labels.kernel for one in course.question}
    stops = [stop for stop in summary.stops if set(stop.kernels) == kernels]
    if code is Exit.MET and course.rule and not all(stop.clear for stop in stops):
        code = Exit.INCONCLUSIVE
    raise typer.Exit(code)


def exit_code(cells: Sequence[Cell], failed: Sequence[TestbedError] = ()) -> Exit:
    """Of the cells that were asked for; what failed outweighs what they say."""
    if failed:
        return code_of(*failed)
    if any(cell.met == "not met" for cell in cells if not cell.is_control):
        return Exit.NOT_MET
    undecided = any(not counts(cell.verdict.outcome) and cell.met != "met" for cell in cells)
    return Exit.INCONCLUSIVE if undecided or state_of(cells) == "void" else Exit.MET
