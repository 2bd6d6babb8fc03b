"""The command to look into a machine of a lab that was left up, or into the looks of a saved cell."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from testbed import introspection, store
from testbed.cli import lab as labs
from testbed.cli import looks
from testbed.cli.exits import Exit, out, print_json, shows_errors
from testbed.cli.options import AsJson, Lab, MachineName
from testbed.clock import now_ns
from testbed.errors import UsageError
from testbed.machines import layout
from testbed.machines.hypervisor import Hypervisor
from testbed.machines.registry import AttachedLab
from testbed.snapshot import Snapshot
from testbed.waitfor import wait_for_graph


@shows_errors
def inspect(
    machine: MachineName = "A",
    result: Annotated[
        Path | None, typer.Option("--result", help="A saved cell instead of a running lab.", exists=True)
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Read it while it goes on; else it stops for 0.1 to 0.8 s.")
    ] = False,
    shell: Annotated[
        bool, typer.Option("--drgn", help="A drgn shell on its memory while it goes on, with our views.")
    ] = False,
    gdb: Annotated[bool, typer.Option("--gdb", help="gdb on the guest; it stands still meanwhile.")] = False,
    as_json: AsJson = False,
    lab: Lab = "",
) -> None:
    """Look into a machine without its help: who waits for whom, memory, locks, requests, sockets, the ring.

    Example: testbed inspect A --drgn

    For a lab that `testbed run ... --keep` or `testbed up` left. SysRq: `testbed console A --sysrq w`.
    """
    if result is not None:
        _show(_saved(result), as_json=as_json)
        return
    attached = labs.left_up(lab)
    labs.machine_of(store.read_plan(attached.folder), machine)
    vmlinux = layout.vmlinux(attached.folder, machine)
    if not vmlinux.exists():
        raise UsageError(
            f"there is no debug information of the kernel of '{machine}'",
            hint="a kernel that the testbed builds has it; a distribution's has not",
        )
    vmlinux = vmlinux.resolve()
    if gdb:
        _gdb(attached, machine, vmlinux)
    if shell:
        introspection.become_shell(attached.broker.guest_memory(machine), vmlinux)
    seen = _live(attached, machine, vmlinux) if live else _at_one_moment(attached, machine, vmlinux)
    _show((seen,), as_json=as_json)


def _live(attached: AttachedLab, machine: str, vmlinux: Path) -> Snapshot:
    memory = attached.broker.guest_memory(machine)
    try:
        return introspection.look(memory, vmlinux, number=1, taken_ns=now_ns(), paused_ms=0)
    finally:
        os.close(memory)


def _at_one_moment(attached: AttachedLab, machine: str, vmlinux: Path) -> Snapshot:
    dump = layout.dump(attached.folder, machine)
    dump.unlink(missing_ok=True)
    taken_ns = now_ns()
    try:
        with Hypervisor(attached.libvirt_uri) as hypervisor:
            hypervisor.domains()[machine].dump(dump)
        paused_ms = (now_ns() - taken_ns) // 1_000_000
        return introspection.look(dump, vmlinux, number=1, taken_ns=taken_ns, paused_ms=paused_ms)
    finally:
        dump.unlink(missing_ok=True)


def _saved(folder: Path) -> tuple[Snapshot, ...]:
    store.read_plan(folder)  # says so where it is no result folder
    snapshots, _ = store.read_snapshots(folder)
    if not snapshots:
        raise UsageError("this cell has no looks into the guest", where=str(folder))
    return snapshots


def _show(snapshots: tuple[Snapshot, ...], *, as_json: bool) -> None:
    if as_json:
        print_json([{**each.model_dump(), "graph": wait_for_graph(each).model_dump()} for each in snapshots])
        return
    for each in snapshots:
        out.print(looks.snapshot(each))


def _gdb(attached: AttachedLab, machine: str, vmlinux: Path) -> None:
    socket = attached.folder / f"gdb-{machine}"
    with Hypervisor(attached.libvirt_uri) as hypervisor:
        arguments = {"command-line": f"gdbserver unix:{socket},server=on,wait=off"}
        said = hypervisor.domains()[machine].qmp("human-monitor-command", arguments)
    if not socket.exists():
        out.print(f"QEMU does not open a gdb server: {said}", markup=False)
        raise typer.Exit(Exit.FAULT)
    os.execvp("gdb", ["gdb", "-q", str(vmlinux), "-ex", f"target remote {socket}"])
