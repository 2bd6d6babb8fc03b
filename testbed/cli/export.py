"""The command that makes what is committed of results: summaries, and evidence to judge again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from testbed.campaign import export as exporting
from testbed.cli import inputs
from testbed.cli.exits import out, print_json, shows_errors
from testbed.cli.options import AsJson, Folder

SUMMARIES = inputs.RESULTS / "summaries"


@shows_errors
def export(
    folder: Folder,
    into: Annotated[
        Path, typer.Option(help="Where the summaries go; without: results/summaries.", show_default=False)
    ] = SUMMARIES,
    evidence: Annotated[
        bool, typer.Option("--evidence", help="Copy what the judge reads as well, to INTO/corpus.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a small summary of each judged cell: verdict, numbers, hashes, no raw history.

    Example: testbed export results/flood-short
    """
    inputs.made(into)
    written = []
    for one in inputs.cell_folders(folder):
        written.append(exporting.write_summary(one, into))
        if evidence:
            written.append(exporting.copy_evidence(one, into / "corpus"))
    if as_json:
        print_json([str(path) for path in written])
    else:
        for path in written:
            out.print(str(path), markup=False)
