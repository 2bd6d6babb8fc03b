"""The command that tests the judge itself: real guests made to show what is known, judged blind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from testbed import history, store
from testbed import plan as planning
from testbed.campaign import matrix as matrices
from testbed.campaign import play as campaign
from testbed.campaign.matrix import Matrix, Question
from testbed.campaign.play import Played
from testbed.cli import inputs, lab, playing, show
from testbed.cli.exits import Exit, out, print_json, shows_errors
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
    accelerator: Annotated[str, typer.Option("--accelerator", help="auto, kvm or tcg.")] = "auto",
    image: lab.ImageOption = None,
    into: Annotated[
        Path | None, typer.Option(help="Folder of the cells and the matrix; finished cells are kept.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No live display.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="For programs: one JSON document on standard output.")
    ] = False,
) -> None:
    """Do to real guests what is known, have it judged blind, and print the confusion matrix.

    Example: testbed selftest --repeat 5
    """
    answers = _answers(only or [])
    plans = _plans(answers, repeat, accelerator, image)
    folder = into or inputs.RESULTS / PLAYBOOK
    folder.mkdir(parents=True, exist_ok=True)
    others = [plan for plan in _plans(_answers([]), _most(folder), accelerator, image) if plan not in plans]
    _judge_kept([*plans, *others], folder)
    silent = quiet or as_json
    played = playing.play_all(plans, folder, inputs.builder(image, quiet=silent), quiet=silent)
    asked = [
        _question(plan, answers[plan.labels.variant], one) for plan, one in zip(plans, played, strict=True)
    ]
    matrix = Matrix(tuple(asked))
    _keep(Matrix((*asked, *_kept(others, folder))), folder)
    if as_json:
        print_json(matrices.as_json(matrix))
    else:
        out.print(show.matrix(matrix))
        out.print(f"kept, with all cells of other runs: {folder / TEXT}, {JSON}", markup=False)
    raise typer.Exit(_exit_code(matrix))


def _answers(only: list[str]) -> dict[str, Answer]:
    """The variants with a known answer, all or those that were asked for. Raises UsageError."""
    answers = planning.read_playbook(find_file(PLAYBOOK, PLAYBOOKS)).answers
    for name in only:
        if name not in answers:
            raise UsageError(f"nothing is known of '{name}'", hint=nearest(name, answers), where="--only")
    return {name: answer for name, answer in answers.items() if not only or name in only}


def _plans(answers: dict[str, Answer], repeat: int, accelerator: str, image: Path | None) -> list[Plan]:
    """Repeats outermost, so that a self-test cut short has some of everything."""
    plans = []
    for name, answer in answers.items():
        wish = inputs.Wish(PLAYBOOK, (answer.kernel,), accelerator=accelerator, image=image)
        plans += inputs.plans(wish, variants=(name,), repeat=repeat)
    return sorted(plans, key=lambda plan: plan.labels.repeat)


def _most(folder: Path) -> int:
    """The highest repeat that was ever played into the folder, 0 if there is none."""
    return max((cell.plan.labels.repeat for cell in campaign.cells_of(folder)), default=0)


def _finished(plan: Plan, folder: Path) -> bool:
    return (folder / campaign.folder_name(plan) / store.VERDICT).exists()


def _judge_kept(plans: list[Plan], folder: Path) -> None:
    """Judges what was played on another day anew: it is today's judge that is tested."""
    for plan in plans:
        if _finished(plan, folder):
            campaign.judge_folder(folder / campaign.folder_name(plan))


def _kept(plans: list[Plan], folder: Path) -> Iterator[Question]:
    """Those of other runs that are finished, and would be played today as they were then."""
    answers = _answers([])
    for plan in plans:
        if _finished(plan, folder):
            place = folder / campaign.folder_name(plan)
            kept = Played(place, plan, read_verdict(place), fresh=False)
            yield _question(plan, answers[plan.labels.variant], kept)


def _keep(matrix: Matrix, folder: Path) -> None:
    rows = list(_answers([]))
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
