"""The commands for a lab to play with by hand: up, ssh, console, status, down."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.markup import escape

from testbed import paths, proc, store
from testbed.cli import inputs, options
from testbed.cli.exits import Exit, err, out, print_json, shows_errors
from testbed.errors import TestbedError, UsageError, nearest
from testbed.machines import registry
from testbed.machines.console import Console
from testbed.machines.hypervisor import Hypervisor
from testbed.machines.layout import BROKER_SOCKET
from testbed.model import Plan, PlannedMachine
from testbed.printable import printable
from testbed.run.lab import Lab

CONSOLES = "consoles"
"""In a kept lab's folder: its consoles, or a link to where they are."""

SYSRQ = {
    "w": "blocked tasks",
    "m": "memory",
    "l": "backtraces of the processors",
    "t": "all tasks",
    "p": "registers",
    "q": "timers",
    "z": "ftrace buffer",
    "e": "terminate all",
    "f": "oom-kill",
    "c": "crash",
    "b": "reboot",
    "h": "help",
}
"""Documentation/admin-guide/sysrq.rst of Linux 6.1."""


@shows_errors
def up(
    topology: Annotated[str, typer.Argument(help="Name or path of a topology.")] = "abc",
    kernel: Annotated[str, typer.Option(help="Kernel of the machine under test.")] = "stock",
    nic: options.NicModel = None,
    accelerator: options.AcceleratorOption = "auto",
    image: options.Image = None,
    as_json: options.AsJson = False,
) -> None:
    """Boot a topology and leave it running.

    Example: testbed up abc --kernel vanilla-2007 && testbed ssh A
    """
    plan = inputs.idle_plan(topology, kernel, nic, accelerator, image)
    built = inputs.builder(image, quiet=as_json)(plan)
    with _console_folder() as consoles:
        with (
            err.status("booting " + ", ".join(machine.name for machine in plan.machines)),
            Lab(plan, built.kernels, built.image, consoles) as lab,
        ):
            lab_id = lab.keep()
        _move_in(consoles, left_up(lab_id).folder)
    if as_json:
        print_json({"id": lab_id, "machines": {one.name: _addresses(one) for one in plan.machines}})
        return
    out.print(f"lab {lab_id} is up: " + ", ".join(machine.name for machine in plan.machines))
    out.print(f"  testbed ssh {plan.machines[0].name}    testbed status    testbed down")


def _addresses(machine: PlannedMachine) -> dict[str, str]:
    """The machine's address on each link. They exist inside the lab only; `testbed ssh` goes there."""
    return {nic.link: nic.address for nic in machine.nics}


@contextmanager
def _console_folder() -> Iterator[Path]:
    """Where consoles go while the lab is made; named so that `gc` removes it if we are killed."""
    with TemporaryDirectory(
        dir=paths.labs_dir(), prefix=f".{proc.run_id(os.getpid())}.", ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


def _move_in(consoles: Path, lab: Path) -> None:
    """Puts the consoles into the lab's own folder, to go with it; QEMU holds the open files."""
    place = lab / CONSOLES
    place.unlink()
    consoles.rename(place)


@shows_errors
def ssh(
    machine: options.MachineName,
    command: Annotated[list[str] | None, typer.Argument(help="Command to run instead of a shell.")] = None,
    lab: options.Lab = "",
) -> None:
    """Log in to a machine of a running lab, or run one command there.

    Example: testbed ssh A -- cat /proc/swaps

    Ends with the command's exit code, with 255 where ssh itself failed, else as `testbed --help` says.
    """
    attached = left_up(lab)
    plan = store.read_plan(attached.folder)
    address = plan.management_address(machine_of(plan, machine))
    known = attached.folder / "known_hosts"
    known.write_text(f"{machine} {(attached.folder / 'host').read_text().strip()}\n")
    dial = f"{sys.executable} -P -m testbed.machines.dial {attached.folder / BROKER_SOCKET} {address} 22"
    settings = {
        "ProxyCommand": dial,
        "ProxyUseFdpass": "yes",
        "UserKnownHostsFile": str(known),
        "IdentitiesOnly": "yes",
        "LogLevel": "ERROR",
    }
    argv = ["ssh", "-F", "none", "-i", str(attached.folder / "login")]
    argv += [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
    os.execvp("ssh", [*argv, f"root@{machine}", *(command or [])])


@shows_errors
def console(
    machine: options.MachineName,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing until Ctrl-C.")] = False,
    sysrq: Annotated[
        str, typer.Option(help="Send this SysRq key first: w (blocked tasks), m (memory), l, t, ...")
    ] = "",
    lab: options.Lab = "",
) -> None:
    """Print a machine's console; it answers to SysRq even when the machine is wedged.

    Example: testbed console A --sysrq w

    Ends with 3 where a SysRq key was not answered.
    """
    attached = left_up(lab)
    plan = store.read_plan(attached.folder)
    machine_of(plan, machine)
    if sysrq and sysrq not in SYSRQ:
        raise UsageError(f"'{sysrq}' is no SysRq key", hint=nearest(sysrq, SYSRQ), where="--sysrq")
    file = Console((attached.folder / CONSOLES).resolve() / store.console_name(machine))
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
    as_json: options.AsJson = False,
) -> None:
    """List the labs that run, and the state of their machines.

    Example: testbed status --json
    """
    found = [(record, _states(record)) for record in registry.labs()]
    if as_json:
        print_json([_status_json(record, states) for record, states in found])
        return
    if not found:
        out.print("no lab runs")
        return
    for record, states in found:
        kind = "" if record.held else "  [red]its holder is dead: run 'testbed gc'[/]"
        out.print(f"[bold]{record.id}[/]  {escape(record.what)}  [dim]since {escape(record.since)}[/]{kind}")
        for name, state in sorted(states.items()):
            out.print(f"  {name}  {state}")


def _states(record: registry.Record) -> dict[str, str]:
    """The state of each machine; empty where the lab is still being made, or has no holder any more."""
    if not record.held or not record.sandbox:
        return {}
    try:
        with Hypervisor(registry.AttachedLab(record).libvirt_uri) as hypervisor:
            return {name: domain.state() for name, domain in hypervisor.domains().items()}
    except TestbedError as error:
        err.print(f"lab {record.id} does not answer: {escape(str(error))}")
        return {}


def _status_json(record: registry.Record, states: dict[str, str]) -> dict[str, object]:
    return {
        "id": record.id,
        "what": record.what,
        "since": record.since,
        "held": record.held,
        "machines": states,
    }


@shows_errors
def down(
    lab: options.Lab = "",
    as_json: options.AsJson = False,
) -> None:
    """End a lab that `up` or `run --keep` left running.

    Example: testbed down
    """
    attached = left_up(lab)
    attached.end()
    if as_json:
        print_json({"id": attached.record.id})
    else:
        out.print(f"lab {attached.record.id} is gone")


def left_up(lab_id: str) -> registry.AttachedLab:
    """The lab of that id or its beginning; empty: the only one that was left running.

    A lab in which a cell is being played is its controller's: its plan is not in its folder.
    """
    return registry.attach(lab_id, holding=store.PLAN)


def machine_of(plan: Plan, name: str) -> PlannedMachine:
    names = [machine.name for machine in plan.machines]
    if name not in names:
        raise UsageError(f"no machine '{name}' in this lab", hint=nearest(name, names))
    return plan.machine(name)


def _send_sysrq(uri: str, machine: str, key: str, file: Console) -> None:
    size = file.size
    with Hypervisor(uri) as hypervisor:
        hypervisor.domains()[machine].sysrq(key, heard=lambda: file.size > size)
    if file.size == size:
        err.print(f"{machine} did not answer to SysRq-{key}")
        raise typer.Exit(Exit.INCONCLUSIVE)


def _harmless(data: bytes) -> str:
    """Hostile text for a terminal: no control character but newline and tab."""
    text = data.decode(errors="replace").replace("\r\n", "\n")
    return printable(text, "\n\t")
