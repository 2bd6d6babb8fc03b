"""The two cells that all real-guest tests of verdicts share: one that wedges, one that recovers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from testbed.campaign import play as campaign
from testbed.campaign.play import Played
from testbed.cli import inputs
from testbed.model import Plan
from testbed.run.observe import Listener, View

WEDGING, RECOVERING = "vanilla-2007", "complete-rx"


@dataclass(frozen=True)
class Cells:
    """Both cells, and what the display was shown of them."""

    wedging: Played
    recovering: Played
    shown: dict[str, list[str]]

    def __iter__(self) -> Iterator[Played]:
        return iter((self.wedging, self.recovering))


@pytest.fixture(scope="session")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Cells:
    into = tmp_path_factory.mktemp("cells")
    build = inputs.builder(quiet=True)
    plans: list[Plan] = []
    for kernel, settings in ((WEDGING, ("bound=90s",)), (RECOVERING, ())):
        plans += inputs.plans(inputs.Wish("flood", (kernel,), settings=settings), variants=("",))
    for plan in plans:
        build(plan)
    shown: dict[str, list[str]] = {}

    @contextmanager
    def display(plan: Plan) -> Iterator[Listener]:
        stages = shown.setdefault(plan.labels.kernel, [])

        def listen(view: View) -> None:
            if view.stage not in stages[-1:]:
                stages.append(view.stage)

        yield listen

    wedging, recovering = campaign.play(plans, into, build, display)
    assert isinstance(wedging, Played), wedging
    assert isinstance(recovering, Played), recovering
    return Cells(wedging, recovering, shown)


def copy_of(folder: Path, to: Path) -> Path:
    """A result folder's evidence, without its verdict and report."""
    to.mkdir()
    for path in folder.iterdir():
        if path.is_file() and path.name not in ("verdict.json", "report.html"):
            (to / path.name).write_bytes(path.read_bytes())
    return to
