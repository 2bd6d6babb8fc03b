"""The commands for a lab to play with by hand: up, ssh, console, status, down."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from testbed import store
from testbed.cli import inputs
from testbed.cli.exits import Exit, err, out, print_json, shows_errors
from testbed.errors import UsageError, nearest
from testbed.machines import registry
from testbed.machines.console import Console
from testbed.machines.hypervisor import Hypervisor
from testbed.machines.layout import BROKER_SOCKET
from testbed.model import Plan, PlannedMachine
from testbed.run.lab import Lab

LabOption = Annotated[
    str, typer.Option("--lab", help="Id of the lab, if several run (see `testbed status`).")
]


@shows_errors
def up(
    topology: Annotated[str, typer.Argument(help="Name or path of a topology.")] = "abc",
    kernel: Annotated[str, typer.Option(help="Kernel of the machine under test.")] = "stock",
    nic: Annotated[str | None, typer.Option(help="NIC model of the machine under test.")] = None,
    accelerator: Annotated[str, typer.Option(help="auto, kvm or tcg.")] = "auto",
) -> None:
    """Boot a topology and leave it running.

    Example: testbed up abc --kernel vanilla-2007 && testbed ssh A
    """
    plan = inputs.idle_plan(topology, kernel, nic, accelerator)
    built = inputs.builder(quiet=False)(plan)
    with (
        live(plan, plan.cell, quiet=True),
        Lab(plan, built.kernels, built.image, Path(inputs.lab_folder())) as lab,
    ):
        lab_id = lab.keep()
    out.print(f"lab {lab_id} is up: " + ", ".join(machine.name for machine in plan.machines))
    out.print(f"  testbed ssh {plan.machines[0].name}    testbed status    testbed down")


@shows_errors
def ssh(
    machine: Annotated[str, typer.Argument(help="Machine, as the topology names it.")],
    command: Annotated[list[str] | None, typer.Argument(help="Command to run instead of a shell.")] = None,
    lab: LabOption = "",
) -> None:
    """Log in to a machine of a running lab, or run one command there.

    Example: testbed ssh A -- cat /proc/swaps
    """
    attached = registry.attach(lab)
    plan = store.read_plan(attached.folder)
    address = _management_address(plan, _machine(plan, machine))
    known = attached.folder / "known_hosts"
    known.write_text(f"{machine} {(attached.folder / 'host').read_text().strip()}\n")
    dial = f"{sys.executable} -P -m testbed.machines.dial {attached.folder / BROKER_SOCKET} {address} 22"
    options = {
        "ProxyCommand": dial,
        "ProxyUseFdpass": "yes",
        "UserKnownHostsFile": str(known),
        "IdentitiesOnly": "yes",
        "LogLevel": "ERROR",
    }
    argv = ["ssh", "-F", "none", "-i", str(attached.folder / "login")]
    argv += [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    os.execvp("ssh", [*argv, f"root@{machine}", *(command or [])])


@shows_errors
def console(
    machine: Annotated[str, typer.Argument(help="Machine, as the topology names it.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing until Ctrl-C.")] = False,
    sysrq: Annotated[str, typer.Option(help="Send this SysRq key first: w, m, l, t.")] = "",
    lab: LabOption = "",
) -> None:
    """Print a machine's console; it answers to SysRq even when the machine is wedged.

    Example: testbed console A --sysrq w
    """
    attached = registry.attach(lab)
    plan = store.read_plan(attached.folder)
    _machine(plan, machine)
    file = Console((attached.folder / "consoles").resolve() / store.console_name(machine))
    if sysrq:
        _send_sysrq(attached.libvirt_uri, machine, sysrq, file)
    while True:
        while data := file.new():
            out.print(_harmless(data), end="", markup=False)
        if not follow:
            return
        time.sleep(0.2)


@shows_errors
def status(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List the labs that run, and the state of their machines.

    Example: testbed status --json
    """
    rows: list[tuple[registry.Record, dict[str, str]]] = []
    for record in registry.labs():
        machines = {}
        if record.held:
            with Hypervisor(registry.AttachedLab(record).libvirt_uri) as hypervisor:
                machines = {name: domain.state() for name, domain in hypervisor.domains().items()}
        rows.append((record, machines))
    if as_json:
        print_json([{"id": r.id, "what": r.what, "since": r.since, "machines": machines} for r, machines in rows])
        return
    if not rows:
        out.print("no lab runs")
        return
    table = Table("lab", "what", "since", "machines", box=None)
    for row in rows:
        states = ", ".join(f"{name} {state}" for name, state in sorted(dict(row["machines"]).items()))
        table.add_row(
            str(row["id"]), str(row["what"]), str(row["since"]), states or "ended: run 'testbed gc'"
        )
    out.print(table)


@shows_errors
def down(
    lab: Annotated[str, typer.Argument(help="Id of the lab, if several run.")] = "",
) -> None:
    """End a lab that `up` or `run --keep` left running.

    Example: testbed down
    """
    attached = registry.attach(lab)
    attached.end()
    out.print(f"lab {attached.record.id} is gone")


def _machine(plan: Plan, name: str) -> PlannedMachine:
    names = [machine.name for machine in plan.machines]
    if name not in names:
        raise UsageError(f"no machine '{name}' in this lab", hint=nearest(name, names))
    return plan.machine(name)


def _management_address(plan: Plan, machine: PlannedMachine) -> str:
    management = {link.name for link in plan.links if link.management}
    return next(nic.address for nic in machine.nics if nic.link in management)


def _send_sysrq(uri: str, machine: str, key: str, file: Console) -> None:
    size = file.size
    with Hypervisor(uri) as hypervisor:
        hypervisor.domains()[machine].sysrq(key, heard=lambda: file.size > size)
    if file.size == size:
        err.print(f"{machine} did not answer to SysRq-{key}")
        raise typer.Exit(Exit.NOT_MET)


def _harmless(data: bytes) -> str:
    """Hostile text for a terminal: no control character but newline and tab."""
    text = data.decode(errors="replace").replace("\r\n", "\n")
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text)
