"""Owns the options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Playbook = Annotated[str, typer.Argument(help="Name (in playbooks/) or path of a playbook.")]
Kernels = Annotated[
    list[str] | None,
    typer.Option(
        "--kernel",
        "-k",
        help="SET[+SET...]\\[@BASE], `stock`, or `debian` (prebuilt); -SET takes one out of a composition. "
        "BASE: 6.1, a tarball, a folder, git:PATH#COMMIT. Several times for several.",
    ),
]
Form = Annotated[str, typer.Option(help="The playbook's form: short, and mostly long or soak.")]
Variant = Annotated[str, typer.Option(help="The playbook's variant; without: the question itself.")]
NicModel = Annotated[str | None, typer.Option("--nic", help="NIC model of the machine under test.")]
Transport = Annotated[str | None, typer.Option(help="Another transport than the playbook's: nbd, nfs3, ...")]
TopologyName = Annotated[
    str | None, typer.Option("--topology", help="Another topology of topologies/ than the playbook's.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="A parameter of the playbook: outage=50s. Several times for several."),
]
Sweep = Annotated[
    str | None,
    typer.Option("--sweep", help="One parameter, each of several values in turn: mapped=0,0.1,0.3,0.6."),
]
MachineName = Annotated[str, typer.Argument(help="Machine, as the topology names it.")]
Lab = Annotated[str, typer.Option("--lab", help="Id of the lab, if several are up (see `testbed status`).")]
Image = Annotated[
    Path | None,
    typer.Option("--image", help="Your own root instead of ours: a folder, or an ext4 image.", exists=True),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No live display.")]
AcceleratorOption = Annotated[str, typer.Option("--accelerator", help="auto, kvm or tcg.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs: one JSON document on standard output.")]
Folder = Annotated[Path, typer.Argument(help="A result folder, or a campaign's folder of such.", exists=True)]
