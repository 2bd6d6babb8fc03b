"""Owns the playing of cells from the command line: each shown while it runs, and when it is done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from testbed import store
from testbed.campaign.play import Display, Played
from testbed.cli import inputs, show
from testbed.cli.exits import err, out
from testbed.cli.exits import show as show_error
from testbed.cli.live import live
from testbed.errors import MissingCapability, TestbedError, UsageError
from testbed.model import Plan
from testbed.run.lab import Lab
from testbed.run.observe import Listener


def display(plans: Sequence[Plan], *, quiet: bool, at_most: bool = False) -> Display:
    """What shows each cell of `plans` while it runs, by its place among them."""
    place = {one.cell: count for count, one in enumerate(plans, 1)}
    bound = "at most " if at_most else ""

    @contextmanager
    def shown(plan: Plan) -> Iterator[Listener]:
        try:
            with live(plan, f"{place[plan.cell]}/{bound}{len(place)} {plan.cell}", quiet=quiet) as listener:
                yield listener
        except KeyboardInterrupt as error:
            error.add_note("healed, saved and torn down")
            raise

    return shown


def tell(
    outcomes: Iterable[Played | TestbedError], folder: Path, *, quiet: bool
) -> list[Played | TestbedError]:
    """Says what comes out as it comes, and writes each cell's report; all of it, in order.

    Raises what would be the same for every cell: UsageError, MissingCapability.
    """
    told = []
    for played in outcomes:
        if not isinstance(played, TestbedError):
            if played.fresh or not (played.folder / store.REPORT).exists():
                inputs.write_report(played)
            if not quiet:
                out.print(show.played(played))
        elif isinstance(played, UsageError | MissingCapability):
            with suppress(OSError):
                folder.rmdir()  # if nothing is in it
            raise played
        else:
            show_error(played)
        told.append(played)
    return told


def tell_if_none_is_kept(last: Played | TestbedError) -> None:
    """Says so where `--keep` had no lab to leave up, and how to come by one."""
    if isinstance(last, TestbedError):
        err.print("[yellow]no lab is left up[/]: the last cell came to no end, and its lab went with it")
    elif not last.fresh:
        err.print(
            "[yellow]no lab is left up[/]: the last cell was finished before, and is kept as it is\n"
            "  [dim]hint:[/] to play it again with --keep, name a new folder by --into, or one --repeat more"
        )


def keep(running: Lab) -> None:
    """Leaves the lab up, and says what to do with it."""
    lab_id = running.keep()
    err.print(
        f"lab {lab_id} is left up: testbed inspect A, testbed status, testbed ssh A,"
        " testbed console A --sysrq w, testbed down"
    )
