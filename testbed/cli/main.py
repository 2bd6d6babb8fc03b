"""The `testbed` command: its stages one by one, and `run`, which goes all the way."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Annotated, Any

import typer

from testbed import store
from testbed.campaign import play as campaign
from testbed.campaign.again import look_again
from testbed.campaign.expectation import Cell
from testbed.cli import claims, host, inputs, lab, patches, show, statistics
from testbed.cli.exits import TABLE, Exit, Told, err, out, print_json, shows_errors
from testbed.cli.exits import show as show_error
from testbed.cli.export import export
from testbed.cli.inspect import inspect
from testbed.cli.options import (
    AsJson,
    Folder,
    Form,
    Kernels,
    NicModel,
    Playbook,
    Settings,
    TopologyName,
    Transport,
    Variant,
)
from testbed.cli.output import OutputGone, written
from testbed.cli.run import exit_code, run
from testbed.cli.selftest import selftest
from testbed.errors import TestbedError, TestbedFault

app = typer.Typer(
    help="Does this kernel, with these patches, get out of the networked-swap deadlock?",
    epilog=TABLE,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"testbed {metadata.version('testbed')}")
        raise typer.Exit(Exit.MET)


@app.callback()
def common(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more of what is done.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """What all commands share."""
    level = logging.DEBUG if verbose else logging.WARNING
    logging.basicConfig(level=level, handlers=[Told()])
    if not verbose:
        logging.getLogger("testbed.run.cell").setLevel(logging.CRITICAL)  # what it says is shown at the end
    for noisy in ("paramiko", "pyroute2", "fabric", "invoke", "matplotlib"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


@app.command()
@shows_errors
def check(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            help="Playbooks, topologies, set.toml files, claims.toml; without: all of the project."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check TOML files and patch sets without building or booting anything.

    Example: testbed check playbooks/flood.toml
    """
    found = inputs.check_all(files or [])
    if as_json:
        print_json([{"file": name, "holds": said} for name, said in found])
        return
    for name, said in found:
        out.print(f"[green]ok[/] {name}  [dim]{said}[/]")


@app.command()
@shows_errors
def plan(
    playbook: Playbook,
    kernel: Kernels = None,
    form: Form = "short",
    variant: Variant = "",
    nic: NicModel = None,
    transport: Transport = None,
    topology: TopologyName = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Show what `run` would do: events, addresses, hashes. No kernel is built, and nothing boots.

    Example: testbed plan flood --kernel vanilla-2007 --set outage=50s

    What is hashed must be there: the guest image is made, a base's source fetched, if the cache lacks it.
    """
    chosen, told = tuple(kernel or ["stock"]), tuple(settings or ())
    wish = inputs.Wish(playbook, chosen, form, nic, transport, told, topology=topology)
    plans = inputs.plans(wish, variants=(variant,))
    if as_json:
        print_json([one.model_dump(mode="json") for one in plans])
        return
    for one in plans:
        out.print(show.plan(one))


@app.command()
@shows_errors
def build(
    kernel: Annotated[
        list[str] | None, typer.Argument(help="Kernels; without: only the guest image.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Build the guest image and kernels, or find them in the cache.

    Example: testbed build stock vanilla-2007 complete-rx debian
    """
    specs = {name: inputs.resolve(name, quiet=as_json) for name in kernel or []}
    image = inputs.build_image(quiet=as_json)
    made: dict[str, Any] = {"image": image.digest}
    if not as_json:
        out.print(f"guest image: {image.digest} in {image.folder}")
    for name, spec in specs.items():
        built = inputs.build_kernel(spec, quiet=as_json)
        made[name] = {"digest": built.digest, "release": built.release, "folder": str(built.folder)}
        if not as_json:
            out.print(f"{name}: {built.release} in {built.folder}")
            for confounder in built.confounders:
                out.print(f"  [yellow]confounder[/] {confounder}")
    if as_json:
        print_json(made)


@app.command()
@shows_errors
def judge(
    folder: Folder,
    again: Annotated[
        bool, typer.Option("--look-again", help="Read the kept memory dumps anew first, with today's reader.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Judge saved results again, with the detectors of today. Needs no guest.

    Example: testbed judge results/flood-short
    """
    cells, failed, dumps = [], [], []
    for one in inputs.cell_folders(folder):
        try:
            if again:
                dumps.append(look_again(one))
            verdict = campaign.judge_folder(one)
            cells.append(Cell(one, store.read_plan(one), verdict))
        except TestbedError as error:  # one that is damaged must not hide what the others say
            show_error(error)
            failed.append(error)
    if again:
        err.print(_read_anew(dumps))
    if as_json:
        print_json([show.cell_json(cell) for cell in cells])
    else:
        for cell in cells:
            out.print(show.cell(cell))
    raise typer.Exit(exit_code(cells, failed))


def _read_anew(dumps: Sequence[int]) -> str:
    """How many memory dumps were read, by cell."""
    if not any(dumps):
        return "no memory dump is kept there: nothing was read anew"
    count, cells = sum(dumps), sum(bool(number) for number in dumps)
    return f"{count} memory dump{'s' * (count > 1)} read anew, of {cells} cell{'s' * (cells > 1)}"


@app.command()
@shows_errors
def report(folder: Folder, as_json: AsJson = False) -> None:
    """Write the HTML, JUnit and KTAP reports of saved results anew.

    Example: testbed report results/flood-short
    """
    written = inputs.write_reports(folder)
    if as_json:
        print_json([str(path) for path in written])
    else:
        for path in written:
            out.print(str(path))


@app.command()
@shows_errors
def schema(
    kind: Annotated[str, typer.Argument(help="playbook, topology, set or claims.")] = "playbook",
) -> None:
    """Print the JSON schema of a kind of TOML file, for editors.

    Example: testbed schema playbook > playbook.schema.json
    """
    print_json(inputs.schema(kind))


for command in (
    *(run, selftest, statistics.compare, statistics.power, export, host.doctor, host.gc),
    *(lab.up, lab.ssh, lab.console, inspect, lab.status, lab.down),
):
    app.command()(command)


app.add_typer(patches.app, name="patches")
app.add_typer(claims.app, name="claims")

for group in (app, patches.app, claims.app):
    for registered in group.registered_commands:
        if registered.callback is not lab.ssh:  # that one ends with the code of somebody else's command
            registered.epilog = TABLE


def main() -> None:
    """Entry point. SIGTERM is treated as Ctrl-C: heal, save, tear down."""
    # Set for SIGINT too: a shell starts what runs in the background with it ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        with written(sys.stdout):  # the help is printed outside of all commands
            app()
    except (OutputGone, TestbedFault) as error:
        if isinstance(error, TestbedFault):
            show_error(error)
        sys.exit(Exit.UNREAD if isinstance(error, OutputGone) else Exit.FAULT)
    except SystemExit as ended:
        # Its printer (rich, Console.on_broken_pipe) ends with 1, which means something else of ours.
        sys.exit(Exit.UNREAD if isinstance(ended.__context__, BrokenPipeError) else ended.code)
