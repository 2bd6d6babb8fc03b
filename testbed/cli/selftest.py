"""The command that tests the judge itself: real guests made to show what is known, judged blind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from testbed import history, store
from testbed import plan as planning
from testbed.campaign import matrix as matrices
from testbed.campaign import play as campaign
from testbed.campaign.matrix import Matrix, Question
from testbed.campaign.play import Played
from testbed.cli import inputs, playing, show
from testbed.cli.exits import Exit, out, print_json, shows_errors
from testbed.cli.options import AcceleratorOption, AsJson, Image, Quiet
from testbed.configuration import Answer
from testbed.errors import TestbedError, UsageError, nearest
from testbed.judge.values import read_verdict
from testbed.load import PLAYBOOKS, find_file
from testbed.model import Plan

PLAYBOOK = "selftest"
TEXT, JSON = "matrix.txt", "matrix.json"


@shows_errors
def selftest(
    repeat: Annotated[int, typer.Option(min=1, max=1000, help="Cells for each thing done.")] = 1,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Only this variant; several times for several.")
    ] = None,
    accelerator: AcceleratorOption = "auto",
    image: Image = None,
    into: Annotated[
        Path | None, typer.Option(help="Folder of the cells and the matrix; finished cells are kept.")
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Do to real guests what is known, have it judged blind, and print the confusion matrix.

    Example: testbed selftest --repeat 5
    """
    answers = planning.read_playbook(find_file(PLAYBOOK, PLAYBOOKS)).answers
    chosen = _chosen(only or [], answers)
    folder = inputs.made(into or inputs.RESULTS / PLAYBOOK)
    wish = inputs.Wish(PLAYBOOK, (), accelerator=accelerator, image=image)
    known = inputs.answered_plans(wish, answers, max(repeat, _most(folder)))
    plans = [one for one in known if one.labels.variant in chosen and one.labels.repeat <= repeat]
    _judge_kept(known, folder)
    others = [one for one in known if one not in plans and campaign.finished(_place(one, folder))]
    silent = quiet or as_json
    build, display = inputs.builder(image, quiet=silent), playing.display(plans, quiet=silent)
    played = playing.tell(campaign.play(plans, folder, build, display), folder, quiet=silent)
    asked = [
        _question(plan, answers[plan.labels.variant], one) for plan, one in zip(plans, played, strict=True)
    ]
    matrix = Matrix(tuple(asked))
    _keep(Matrix((*asked, *(_kept(one, answers, folder) for one in others))), list(answers), folder)
    if as_json:
        print_json(matrices.as_json(matrix))
    else:
        out.print(show.matrix(matrix))
        out.print(f"kept, with all cells of other runs: {folder / TEXT}, {JSON}", markup=False)
    raise typer.Exit(_exit_code(matrix))


def _chosen(only: list[str], answers: Mapping[str, Answer]) -> tuple[str, ...]:
    """The variants that were asked for, or all. Raises UsageError."""
    for name in only:
        if name not in answers:
            raise UsageError(f"nothing is known of '{name}'", hint=nearest(name, answers), where="--only")
    return tuple(only or answers)


def _most(folder: Path) -> int:
    """The highest repeat that was ever played into the folder, 0 if there is none."""
    return max((cell.plan.labels.repeat for cell in campaign.cells_of(folder)), default=0)


def _place(plan: Plan, folder: Path) -> Path:
    return folder / campaign.folder_name(plan)


def _judge_kept(plans: list[Plan], folder: Path) -> None:
    """Judges what was played on another day anew: it is today's judge that is tested."""
    for plan in plans:
        if (_place(plan, folder) / store.VERDICT).exists():
            campaign.judge_folder(_place(plan, folder))


def _kept(plan: Plan, answers: Mapping[str, Answer], folder: Path) -> Question:
    """One of another run that is finished, and would be played today as it was then."""
    place = _place(plan, folder)
    played = Played(place, plan, read_verdict(place), fresh=False)
    return _question(plan, answers[plan.labels.variant], played)


def _keep(matrix: Matrix, rows: list[str], folder: Path) -> None:
    ordered = sorted(matrix.questions, key=lambda each: (rows.index(each.variant), each.repeat))
    whole = Matrix(tuple(ordered))
    store.write_json(folder / JSON, matrices.as_json(whole))
    store.write_atomically(folder / TEXT, matrices.as_text(whole).encode())
    inputs.write_index(folder, campaign.cells_of(folder))


def _question(plan: Plan, answer: Answer, played: Played | TestbedError) -> Question:
    variant, number = plan.labels.variant, plan.labels.repeat
    if isinstance(played, TestbedError):
        return Question(variant, number, answer, None, failure=str(played))
    undone = matrices.undone(plan, history.read(played.folder / store.HISTORY))
    return Question(variant, number, answer, played.verdict, undone=undone, folder=played.folder.name)


def _exit_code(matrix: Matrix) -> Exit:
    if matrix.of("not done"):
        return Exit.FAULT
    if matrix.of("wrong"):
        return Exit.NOT_MET
    return Exit.INCONCLUSIVE if matrix.of("undecided") else Exit.MET
