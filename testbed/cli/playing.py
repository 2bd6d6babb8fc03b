"""Owns the playing of many cells from the command line: each shown while it runs, and when it is done."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from testbed.campaign import play as campaign
from testbed.campaign.play import Played
from testbed.cli import inputs, show
from testbed.cli.exits import err, out
from testbed.cli.exits import show as show_error
from testbed.cli.live import live
from testbed.errors import MissingCapability, TestbedError, UsageError
from testbed.model import Plan
from testbed.run.lab import Lab


def play_all(
    plans: list[Plan], folder: Path, build: campaign.Builder, *, quiet: bool, keep: bool = False
) -> list[Played | TestbedError]:
    """Plays every plan, or finds it played; what became of each, in their order.

    Raises what would be the same for every cell: UsageError, MissingCapability.
    """
    done: list[Played | TestbedError] = []
    last = plans[-1]
    for count, one in enumerate(plans, 1):
        title = f"{count}/{len(plans)} {one.cell}"
        for played in campaign.play(
            [one],
            folder,
            build,
            lambda plan, title=title: live(plan, title, quiet=quiet),  # type: ignore[misc]
            keep=_keep if keep and one is last else None,
        ):
            _tell(played, folder, quiet=quiet)
            done.append(played)
    return done


def _tell(played: Played | TestbedError, folder: Path, *, quiet: bool) -> None:
    if isinstance(played, UsageError | MissingCapability):
        with suppress(OSError):
            folder.rmdir()
        raise played
    if isinstance(played, TestbedError):
        show_error(played)
        return
    inputs.write_report(played)
    if not quiet:
        out.print(show.played(played))


def _keep(running: Lab) -> None:
    lab_id = running.keep()
    err.print(
        f"lab {lab_id} is left up: testbed status, testbed ssh A, testbed console A --sysrq w, testbed down"
    )
