"""The `testbed` command: its stages one by one, and `run`, which goes all the way."""

from __future__ import annotations

import logging
import signal
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from testbed import kernels, store
from testbed.campaign import play as campaign
from testbed.campaign.expectation import Cell
from testbed.campaign.summary import Summary, summarise
from testbed.cli import host, inputs, lab, playing, show
from testbed.cli.exits import TABLE, Exit, Told, out, print_json, shows_errors
from testbed.cli.export import export
from testbed.cli.selftest import selftest
from testbed.errors import TestbedError
from testbed.model import Plan

app = typer.Typer(
    help="Does this kernel, with these patches, get out of the networked-swap deadlock?",
    epilog=TABLE,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Playbook = Annotated[str, typer.Argument(help="Name (in playbooks/) or path of a playbook.")]
Kernels = Annotated[
    list[str] | None,
    typer.Option(
        "--kernel",
        "-k",
        help="SET[+SET...]\\[@BASE], `stock`, or `debian` (prebuilt). Several times for several.",
    ),
]
Form = Annotated[str, typer.Option(help="The playbook's form: short or long.")]
Variant = Annotated[str, typer.Option(help="The playbook's variant; without: the question itself.")]
NicModel = Annotated[str | None, typer.Option("--nic", help="NIC model of the machine under test.")]
Transport = Annotated[str | None, typer.Option(help="Another transport than the playbook's: nbd, nfs3, ...")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="A parameter of the playbook: outage=50s. Several times for several."),
]
AcceleratorOption = Annotated[str, typer.Option("--accelerator", help="auto, kvm or tcg.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs: one JSON document on standard output.")]
Folder = Annotated[Path, typer.Argument(help="A result folder, or a campaign's folder of such.", exists=True)]


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
        list[str] | None, typer.Argument(help="Playbooks, topologies; without: all of the project.")
    ] = None,
) -> None:
    """Check TOML files and patch sets without building or booting anything.

    Example: testbed check playbooks/flood.toml
    """
    for name, said in inputs.check_all(files or []):
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
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Show what `run` would do: events, addresses, hashes. Nothing is built or booted.

    Example: testbed plan flood --kernel vanilla-2007 --set outage=50s
    """
    wish = inputs.Wish(playbook, tuple(kernel or ["stock"]), form, nic, transport, tuple(settings or ()))
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
    allow_voiding: Annotated[
        bool, typer.Option(help="Build a configuration that voids results, on purpose.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Build the guest image and kernels, or find them in the cache.

    Example: testbed build stock vanilla-2007 complete-rx debian
    """
    made: dict[str, Any] = {"image": inputs.build_image(quiet=as_json).digest}
    for name in kernel or []:
        built = inputs.build_kernel(kernels.resolve(name), quiet=as_json, allow_voiding=allow_voiding)
        made[name] = {"digest": built.digest, "release": built.release, "folder": str(built.folder)}
        if not as_json:
            out.print(f"{name}: {built.release} in {built.folder}")
            for confounder in built.confounders:
                out.print(f"  [yellow]confounder[/] {confounder}")
    if as_json:
        print_json(made)


@app.command()
@shows_errors
def run(
    playbook: Playbook,
    kernel: Kernels = None,
    repeat: Annotated[int, typer.Option(min=1, max=1000, help="Cells for each kernel.")] = 1,
    form: Form = "short",
    variant: Variant = "",
    controls: Annotated[
        bool, typer.Option("--controls", help="Run the playbook's controls beside it.")
    ] = False,
    nic: NicModel = None,
    transport: Transport = None,
    settings: Settings = None,
    accelerator_wish: AcceleratorOption = "auto",
    image: lab.ImageOption = None,
    into: Annotated[
        Path | None, typer.Option(help="Folder of the campaign; finished cells in it are kept.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the last lab up for inspection.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No live display.")] = False,
    as_json: AsJson = False,
) -> None:
    """Play a playbook on kernels, judge, and report. Finished cells are kept and not run again.

    Example: testbed run flood --kernel stock --kernel vanilla-2007 --repeat 5 --controls
    """
    wish = inputs.Wish(
        playbook,
        tuple(kernel or ["stock"]),
        form,
        nic,
        transport,
        tuple(settings or ()),
        accelerator_wish,
        image,
    )
    variants = inputs.control_variants(wish) if controls else ()
    plans = inputs.plans(wish, variants=(variant, *variants), repeat=repeat)
    folder = into or inputs.RESULTS / inputs.campaign_name(wish)
    folder.mkdir(parents=True, exist_ok=True)
    build = inputs.builder(image, quiet=quiet or as_json)
    played = playing.play_all(plans, folder, build, quiet=quiet or as_json, keep=keep)
    faults = sum(isinstance(one, TestbedError) for one in played)
    _conclude(folder, plans, faults, as_json=as_json)


def _conclude(folder: Path, plans: list[Plan], faults: int, *, as_json: bool) -> None:
    names = {campaign.folder_name(one) for one in plans}
    cells = [cell for cell in campaign.cells_of(folder) if cell.folder.name in names]
    summary = summarise(cells)
    index = inputs.write_index(folder, campaign.cells_of(folder))
    if as_json:
        print_json(show.summary_json(summary, cells, index))
    else:
        out.print(show.summary(summary))
        out.print(f"report: {index}")
    raise typer.Exit(_exit_code(summary, cells, faults))


def _exit_code(summary: Summary, cells: list[Cell], faults: int) -> Exit:
    if faults:
        return Exit.FAULT
    if any(cell.met == "not met" for cell in cells if not cell.is_control):
        return Exit.NOT_MET
    if summary.state == "void" or any(cell.verdict.outcome == "inconclusive" for cell in cells):
        return Exit.INCONCLUSIVE
    return Exit.MET


@app.command()
@shows_errors
def judge(folder: Folder, as_json: AsJson = False) -> None:
    """Judge saved results again, with the detectors of today. Needs no guest.

    Example: testbed judge results/flood-short
    """
    cells = []
    for one in inputs.cell_folders(folder):
        verdict = campaign.judge_folder(one)
        cells.append(Cell(one, store.read_plan(one), verdict))
    if as_json:
        print_json([show.cell_json(cell) for cell in cells])
    else:
        for cell in cells:
            out.print(show.cell(cell))
    raise typer.Exit(_exit_code(summarise(cells), cells, 0))


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
    kind: Annotated[str, typer.Argument(help="playbook, topology or set.")] = "playbook",
) -> None:
    """Print the JSON schema of a kind of TOML file, for editors.

    Example: testbed schema playbook > playbook.schema.json
    """
    print_json(inputs.schema(kind))


for command in (selftest, host.doctor, host.gc, export, lab.up, lab.ssh, lab.console, lab.status, lab.down):
    app.command()(command)


def main() -> None:
    """Entry point. SIGTERM is treated as Ctrl-C: heal, save, tear down."""
    # Set for SIGINT too: a shell starts what runs in the background with it ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    app()
