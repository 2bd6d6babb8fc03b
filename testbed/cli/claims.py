"""The commands about the claims of the thread: list, show, run what is missing, write the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from testbed import paths, store
from testbed.campaign import claims, kept
from testbed.campaign import play as campaign
from testbed.campaign.claims import Assessed, Wanted, document
from testbed.campaign.claims.table import Key
from testbed.campaign.kept import Collected
from testbed.cli import claimed, inputs, playing
from testbed.cli.exits import TABLE, Exit, code_of, out, print_json, shows_errors
from testbed.cli.options import AcceleratorOption, AsJson, Quiet
from testbed.errors import TestbedError, UsageError, nearest
from testbed.model import Plan

FOLDER = "claims"
PAGE = paths.PROJECT / "docs" / "claims.md"
SUMMARIES = "summaries"

app = typer.Typer(
    help="What was said in the thread of 2007, how it is tested, and what results make of it; without a "
    "command the list of it.\n\nExample: testbed claims",
    epilog=TABLE,
    invoke_without_command=True,
)
Results = Annotated[
    Path,
    typer.Option(
        help="Where campaigns and summaries/ lie; without: results/.",
        show_default=False,
        exists=True,
        file_okay=False,
    ),
]
Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="Claims, as C3.")]


@app.callback()
@shows_errors
def list_(context: typer.Context, results: Results = inputs.RESULTS, as_json: AsJson = False) -> None:
    """List the claims of the thread with their state, by all cells that were kept.

    Example: testbed claims
    """
    if context.invoked_subcommand is not None:
        return
    assessed = claims.assess(claims.read(), _kept(results))
    if as_json:
        print_json([claimed.claim_json(one) for one in assessed])
    else:
        out.print(claimed.table(assessed))


@app.command()
@shows_errors
def show(id_: Ids, results: Results = inputs.RESULTS, as_json: AsJson = False) -> None:
    """Tell claims in full: what was said, the rule, every arm with its cells, and what is missing.

    Example: testbed claims show C3
    """
    assessed = _named(id_, claims.assess(claims.read(), _kept(results)))
    if as_json:
        print_json([claimed.claim_json(one) for one in assessed])
    else:
        for one in assessed:
            out.print(claimed.in_full(one))


@app.command()
@shows_errors
def run(
    id_: Ids,
    repeat: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Cells of each arm, instead of the table's number.")
    ] = None,
    into: Annotated[
        Path | None, typer.Option(help="Folder of the campaign; without: claims/ below --results.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say which cells, and how long about; play none.")
    ] = False,
    accelerator_wish: AcceleratorOption = "auto",
    results: Results = inputs.RESULTS,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Play the cells that claims lack, in rounds over their arms. What was kept is not played again.

    Example: testbed claims run C3 C4 --dry-run

    Ends with 3 where cells did not count, so that some are missing still.
    """
    folder, table = into or results / FOLDER, claims.read()
    asked = _named(id_, claims.assess(table, _kept(results, folder)))
    for one in asked:
        if not one.arms:
            raise UsageError(
                f"{one.claim.id} can not be asked yet", hint=f"missing: {one.claim.about.missing}", where="ID"
            )
    cells = claims.wanted(asked, repeat)
    if dry_run:
        if as_json:
            print_json(claimed.wanted_json(cells))
        else:
            out.print(claimed.wanted(cells))
        return
    quiet = quiet or as_json
    failed = _play(cells, accelerator_wish, folder, quiet=quiet) if cells else []
    after = _named(id_, claims.assess(table, _kept(results, folder)))
    if as_json:
        print_json([claimed.claim_json(one) for one in after])
    else:
        for one in after:
            out.print(claimed.in_full(one))
    left = claims.wanted(after, repeat)
    raise typer.Exit(code_of(*failed) if failed else Exit.INCONCLUSIVE if left else Exit.MET)


@app.command()
@shows_errors
def write(
    into: Annotated[Path, typer.Option(help="The page; without: docs/claims.md.", show_default=False)] = PAGE,
    results: Results = inputs.RESULTS,
    as_json: AsJson = False,
) -> None:
    """Write the page of the claims, from committed summaries alone.

    Example: testbed claims write
    """
    inputs.made(into.absolute().parent)
    if into.is_dir():
        raise UsageError(f"'{into}' is a folder", hint="name the page itself", where="--into")
    summaries = kept.together(kept.summaries_below(results / SUMMARIES))
    text = document.render(claims.assess(claims.read(), summaries), into.absolute().parent)
    store.write_atomically(into, text.encode())
    if as_json:
        print_json(str(into))
    else:
        out.print(str(into), markup=False)


def _kept(results: Path, *more: Path) -> Collected:
    """Summaries first: where a cell is kept as both, its summary is linked to."""
    folders = [path for path in sorted(results.glob("*")) if path.is_dir() and path.name != SUMMARIES]
    own = [path for path in more if path.resolve() not in {folder.resolve() for folder in folders}]
    return kept.together(kept.summaries_below(results / SUMMARIES), kept.campaigns([*folders, *own]))


def _named(ids: Sequence[str], assessed: Sequence[Assessed]) -> tuple[Assessed, ...]:
    """The claims of these ids, in the table's order. Raises UsageError."""
    known = {one.claim.id.lower(): one for one in assessed}
    for id_ in ids:
        if id_.lower() not in known:
            right = [one.claim.id for one in assessed]
            raise UsageError(f"no claim '{id_}'", hint=nearest(id_.upper(), right), where="ID")
    return tuple(one for name, one in known.items() if name in {id_.lower() for id_ in ids})


def _play(cells: Sequence[Wanted], accelerator: str, folder: Path, *, quiet: bool) -> list[TestbedError]:
    """Plays the cells as `testbed run` does; what failed."""
    plans = _plans(cells, accelerator)
    inputs.made(folder)
    build, display = inputs.builder(quiet=quiet), playing.display(plans, quiet=quiet)
    played = playing.tell(campaign.play(plans, folder, build, display), folder, quiet=quiet)
    inputs.write_index(folder, campaign.cells_of(folder))
    return [one for one in played if isinstance(one, TestbedError)]


def _plans(cells: Sequence[Wanted], accelerator: str) -> list[Plan]:
    """In the order of the cells. All repeats of an arm are planned at once: its kernel is looked up once."""
    by_arm: dict[Key, list[Wanted]] = {}
    for cell in cells:
        by_arm.setdefault(cell.arm.key, []).append(cell)
    planned: dict[tuple[Key, int], Plan] = {}
    for key, own in by_arm.items():
        table = own[0].arm.table
        settings = tuple(f"{name}={value}" for name, value in table.settings.items())
        wish = inputs.Wish(
            table.playbook, (table.kernel,), table.form, table.nic, table.transport, settings, accelerator
        )
        for plan in inputs.numbered_plans(wish, table.variant, [cell.repeat for cell in own]):
            planned[key, plan.labels.repeat] = plan
    return [planned[cell.arm.key, cell.repeat] for cell in cells]
