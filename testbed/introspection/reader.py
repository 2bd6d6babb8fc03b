"""Owns the reader's process: MEMORY and VMLINUX in, one snapshot as JSON out.

Run by testbed.introspection, in a process of its own.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import drgn

from testbed.introspection import DESCRIPTOR, blocks, counters, live, network, rpc, sockets, tasks
from testbed.introspection.memory import read_pages, read_zones
from testbed.introspection.reading import Reading
from testbed.snapshot import Snapshot, Task

MAX_ADDRESS_SPACE_BYTES = 6 << 30
MAX_CPU_S = 90


def main(memory: str, vmlinux: str) -> None:
    """Writes the snapshot of `memory`; `taken_ns` and the like are filled in by who took it."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_ADDRESS_SPACE_BYTES, MAX_ADDRESS_SPACE_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU_S, MAX_CPU_S))
    sys.stdout.write(snapshot(Reading(program(memory, vmlinux))).model_dump_json())


def program(memory: str, vmlinux: str) -> drgn.Program:
    """A dump, or a running guest's memory, under drgn."""
    if memory.startswith(DESCRIPTOR):
        prog = live.program(int(memory.removeprefix(DESCRIPTOR)), Path(vmlinux).with_name("System.map"))
    else:
        prog = drgn.Program()
        prog.set_core_dump(memory)
    prog.load_debug_info([vmlinux])
    return prog


def snapshot(reading: Reading) -> Snapshot:
    """All that is looked at, each part on its own: one that fails leaves the others alone."""
    seen = tasks.read_tasks(reading)
    requests = reading.bounded(
        "requests of all devices", (*blocks.read_requests(reading, seen.pids), *rpc.read_calls(reading))
    )
    carriers = frozenset(request.socket for request in requests if request.socket)
    devices = blocks.queues(reading)
    fragment_bytes, fragment_queues = sockets.fragments(reading)
    return Snapshot(
        number=0,
        taken_ns=0,
        paused_ms=0,
        release=reading.get("release", "", _release, reading.prog),
        tasks=tuple(_named(task, devices) for task in seen.tasks),
        idle_tasks=seen.idle,
        locks=seen.locks,
        requests=requests,
        sockets=reading.bounded(
            "sockets of all protocols", sockets.read_sockets(reading, seen.tasks, carriers)
        ),
        nics=network.read_nics(reading),
        zones=read_zones(reading),
        memory_pages=read_pages(reading),
        limits=sockets.read_limits(reading),
        fragment_bytes=fragment_bytes,
        fragment_queues=fragment_queues,
        counters=counters.read_counters(reading),
        missing=reading.notes(),
    )


def _named(task: Task, devices: dict[int, str]) -> Task:
    """With the name of the device whose queue it waits for: queues themselves know it since 5.15 alone."""
    if task.waits is None or task.waits.kind not in ("tag", "queue") or not task.waits.address:
        return task
    detail = devices.get(task.waits.address, "")
    return task.model_copy(update={"waits": task.waits.model_copy(update={"detail": detail})})


def _release(prog: drgn.Program) -> str:
    return str(prog["UTS_RELEASE"].string_().decode(errors="replace"))


if __name__ == "__main__":
    main(*sys.argv[1:3])
