"""The commands about patch sets: list, show, check, import, new, compose, write."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from testbed import store
from testbed.campaign import kept, setpage
from testbed.cli import checks, inputs
from testbed.cli.exits import TABLE, Exit, out, print_json, shows_errors
from testbed.cli.options import AcceleratorOption, AsJson
from testbed.errors import UsageError
from testbed.kernels import checked, composing, importing, naming, patchset, source
from testbed.model import DEFAULT_BASE
from testbed.paths import PROJECT

app = typer.Typer(
    help="Patch sets: what there is, whether one is sound, and how a new one comes about.",
    epilog=TABLE,
    no_args_is_help=True,
)
CHECKS = inputs.RESULTS / "checks"
PAGE = PROJECT / "docs" / "sets.md"
Into = Annotated[
    Path,
    typer.Option(
        help="The folder that sets lie in; without: kernel-patches/.", show_default=False, resolve_path=True
    ),
]
Bases = Annotated[
    list[str] | None,
    typer.Option("--base", "-b", help="A base that it is made for. Several times for several."),
]


def _json(one: patchset.PatchSet) -> dict[str, Any]:
    return {
        "name": one.name,
        **one.about.model_dump(mode="json"),
        "patches": [
            {"name": patch.name, "sha256": patch.sha256, "touches": list(patch.touches)}
            for patch in one.patches
        ],
    }


@app.command("list")
@shows_errors
def list_(into: Into = naming.PATCHES, as_json: AsJson = False) -> None:
    """List the patch sets.

    Example: testbed patches list
    """
    sets = [patchset.load(name, into) for name in patchset.known(into)]
    if as_json:
        print_json([_json(one) for one in sets])
        return
    table = Table("set", "patches", "bases", "what it is", box=None)
    for one in sets:
        count = str(len(one.patches)) if one.patches else "+".join(one.about.sets)
        table.add_row(*map(escape, (one.name, count, ", ".join(one.about.bases), one.about.title)))
    out.print(table)


@app.command()
@shows_errors
def show(
    name: Annotated[str, typer.Argument(metavar="SET[@BASE]", help="A patch set; its patches for a base.")],
    into: Into = naming.PATCHES,
    as_json: AsJson = False,
) -> None:
    """Show a patch set: whose idea, how it differs, its patches, its counters.

    Example: testbed patches show complete-rx@7.3
    """
    plain, _, base = name.partition("@")
    if base:
        with inputs.progress("base", quiet=as_json) as told:
            base = source.named(base, told)
    one = patchset.load(plain, into, base)
    if base:
        patchset.check_together([one], base)
    if as_json:
        print_json(_json(one))
        return
    about = one.about
    lines = [f"[bold]{escape(one.name)}[/]  {escape(about.title)}", f"  {escape(about.differs)}"]
    lines += [f"  idea: {escape(f'{idea.who}, {idea.date}: {idea.subject}')}" for idea in about.idea]
    lines += [f"  bases: {escape(', '.join(about.bases))}    licence: {escape(about.license)}"]
    for what, names in (
        ("scenarios", about.scenarios),
        ("conflicts", about.conflicts),
        ("stands for", about.sets),
    ):
        lines += [f"  {what}: {escape(', '.join(names))}"] if names else []
    lines += [f"  {escape(patch.name)}\n      {escape(', '.join(patch.touches))}" for patch in one.patches]
    lines += [f"  counter {escape(file)}: {escape(meaning)}" for file, meaning in about.counters.items()]
    lines += [f"  expected of {escape(file)}: {escape(verdict)}" for file, verdict in about.expect.items()]
    out.print("\n".join(lines))


@app.command("import")
@shows_errors
def import_(
    name: Annotated[str, typer.Argument(help="The new set's name.")],
    origin: Annotated[str, typer.Argument(metavar="FROM", help=f"{importing.KNOWN}.")],
    base: Bases = None,
    into: Into = naming.PATCHES,
    as_json: AsJson = False,
) -> None:
    """Make a set of a series from elsewhere. Nothing is fetched, and nothing is left of what is wrong.

    Example: testbed patches import my-idea thread:mails.mbox --base 6.12
    """
    one = importing.take(name, origin, inputs.made(into), tuple(base or [DEFAULT_BASE]))
    if as_json:
        print_json(_json(one))
        return
    out.print(f"{escape(str(one.folder))}: {len(one.patches)} patches. Say in its set.toml whose idea it is,")
    out.print(f"how it differs, and what counts where it ran; then: testbed patches check {escape(name)}")


@app.command()
@shows_errors
def new(
    name: Annotated[str, typer.Argument(help="The new set's name.")],
    base: Bases = None,
    into: Into = naming.PATCHES,
    as_json: AsJson = False,
) -> None:
    """Make the skeleton of a set, to be filled by hand.

    Example: testbed patches new my-idea --base 6.1
    """
    folder = importing.skeleton(name, inputs.made(into), tuple(base or [DEFAULT_BASE]))
    if as_json:
        print_json(str(folder))
        return
    out.print(
        f"{escape(str(folder))}: write set.toml, and the patches by git format-patch -o {escape(str(folder))}"
    )


@app.command()
@shows_errors
def compose(
    expression: Annotated[str, typer.Argument(metavar="A+B-C[@BASE]", help="Sets to add, and to take out.")],
    into: Into = naming.PATCHES,
    as_json: AsJson = False,
) -> None:
    """Try sets together on a base, in the order given and without building: what is in the way, hunk by hunk.

    The first patch that does not go in is explained; those after it are not tried.

    Example: testbed patches compose complete-rx+tcp-strict@6.1
    """
    wanted, _, base = expression.partition("@")
    with inputs.progress("composition", quiet=as_json) as told:
        base = source.named(base, told) if base else DEFAULT_BASE
        names = composing.expand(composing.parse(wanted, naming.names(into)), into, expression)
        if not names:
            raise UsageError("nothing is left to compose", where=expression)
        sets = [patchset.load(name, into, base) for name in names]
        found = composing.compose(sets, base, told)
    if as_json:
        print_json(checks.composition_json(found, base))
    else:
        out.print(checks.composition(found, base))
    if found.conflicts:
        raise typer.Exit(Exit.NOT_MET)


@app.command()
@shows_errors
def check(
    name: Annotated[list[str] | None, typer.Argument(help="Patch sets; without: all.")] = None,
    base: Annotated[
        list[str] | None,
        typer.Option(
            "--base", "-b", help="On these: a series, as 6.1, a tarball, a folder, git:PATH#COMMIT."
        ),
    ] = None,
    until: Annotated[
        str, typer.Option(help="The last step: applies, builds, boots or counters.")
    ] = "counters",
    into: Into = naming.PATCHES,
    accelerator: AcceleratorOption = "auto",
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep what was found in results/checks, for `patches write`.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check sets on each base that they state: they apply without fuzz, build without a new warning, boot
    with LOCKDEP and DEBUG_ATOMIC_SLEEP clean, and their counters are there.

    Ends with 1 if a check failed, else with 3 if something could not be looked at.
    Example: testbed patches check complete-rx --until builds
    """
    steps = checks.steps_until(until)
    with inputs.progress("bases", quiet=as_json) as told:
        bases = [source.named(one, told) for one in base or ()]
    found: dict[tuple[str, str], checks.Row] = {}

    def note(row: checks.Row) -> None:
        found[row.name, row.base] = row
        if keep and (one := checks.kept(row, into)) is not None:
            checked.keep(CHECKS, one)

    todo = checks.rows(name or patchset.known(into), bases, into)
    try:
        for row in todo:
            checks.look(row, steps, into, accelerator, note, quiet=as_json)
    finally:  # what comes later may fail, and what was found stays found
        if found:
            _show(list(found.values()), as_json=as_json)
    verdicts = {one.ok for row in found.values() for one in row.checks}
    if verdicts != {True}:
        raise typer.Exit(Exit.NOT_MET if False in verdicts else Exit.INCONCLUSIVE)


def _show(rows: list[checks.Row], *, as_json: bool) -> None:
    if as_json:
        print_json([checks.row_json(row) for row in rows])
    else:
        out.print(checks.table(rows))


@app.command()
@shows_errors
def write(
    page: Annotated[
        Path, typer.Option("--page", help="The page; without: docs/sets.md.", show_default=False)
    ] = PAGE,
    results: Annotated[
        Path, typer.Option(help="Where checks/ and summaries/ lie; without: results/.", show_default=False)
    ] = inputs.RESULTS,
    into: Into = naming.PATCHES,
    as_json: AsJson = False,
) -> None:
    """Write the page of patch sets, from kept checks and committed summaries alone.

    Example: testbed patches write
    """
    cells = kept.together(kept.summaries_below(results / "summaries")).cells
    if not page.absolute().parent.is_dir():
        raise UsageError("there is no such folder", where=f"--page: {page.parent}")
    text = setpage.render(into, checked.kept(results / "checks"), cells, page.absolute().parent)
    store.write_atomically(page, text.encode())
    if as_json:
        print_json(str(page))
    else:
        out.print(str(page), markup=False)
