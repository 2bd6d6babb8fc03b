"""Owns the setting up inside the guests, over SSH, before any fault: server, client, samplers, loads.

Nothing here runs once the timeline has begun.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from testbed.errors import UsageError
from testbed.history import Writer
from testbed.loads import AGENT, LoadContext, load_of
from testbed.model import Plan, PlannedLoad
from testbed.run.lab import Lab
from testbed.transports import Crossed, Ends, Guest, Mounted, Transport, listens, transport_of
from testbed.witnesses.page import OWN_SLOTS


def attach(plan: Plan, lab: Lab, history: Writer) -> None:
    """From ready guests to loads that wait for their control word."""
    slot = OWN_SLOTS["machine"]
    available = {
        name: page.read(slot, "machine")["mem_available_kib"] << 10 for name, page in lab.pages.items()
    }
    if plan.transport is not None:
        ends = Ends.of(plan, lab.cpu_scale)
        transport = transport_of(plan.transport)
        _check_ports(plan.transport.server, transport, lab.guests[plan.transport.server], ends)
        client, server = lab.guests[plan.transport.client], lab.guests[plan.transport.server]
        transport.serve(server, ends)
        transport.attach(client, ends)
        if isinstance(transport, Crossed):
            transport.serve_back(client, ends)
            transport.attach_back(server, client, ends)
        history.event("transport.attached", name=plan.transport.kind)
    _start_samplers(plan, lab)
    by_machine: dict[str, list[PlannedLoad]] = {}
    for load in plan.loads:
        by_machine.setdefault(load.machine, []).append(load)
    with ThreadPoolExecutor(max(1, len(by_machine))) as pool:
        for done in [pool.submit(_start_loads, plan, lab, loads, available) for loads in by_machine.values()]:
            done.result()


def _check_ports(name: str, transport: Transport, server: Guest, ends: Ends) -> None:
    """Refuses a port that somebody has already: what listens there would be taken for the server."""
    protocol = transport.swap_flow.protocol if transport.swap_flow is not None else "tcp"
    for port in transport.ports:
        if listens(server, port, ends, protocol):
            raise UsageError(
                f"{protocol.upper()} port {port} of '{name}' is taken before {transport.kind} is served",
                hint="give another 'port' in [transport]",
            )


def _start_samplers(plan: Plan, lab: Lab) -> None:
    """On the machine that is judged; what may block samples each other one that has its kernel, too."""
    guest = lab.guests[plan.judging.subject]
    timeout_s = 20.0 * lab.cpu_scale
    blocks = [word for device in plan.watched_devices for word in ("--block", device)]
    guest.run([*_sampler("blocksampler"), *blocks], timeout_s=timeout_s)
    transport = None if plan.transport is None else transport_of(plan.transport)
    nfs: list[str] = ["--nfs", transport.mount_point] if isinstance(transport, Mounted) else []
    for machine in plan.under_test:
        own = nfs if machine.name == plan.judging.subject else []
        lab.guests[machine.name].run([*_sampler("vmsampler"), *own], timeout_s=timeout_s)


def _sampler(name: str) -> list[str]:
    return [AGENT, name, "--slot", str(OWN_SLOTS[name]), "--detach"]


def _start_loads(plan: Plan, lab: Lab, loads: list[PlannedLoad], available: dict[str, int]) -> None:
    for planned in loads:
        guest = lab.guests[planned.machine]
        context = LoadContext(plan, planned, available[planned.machine], lab.cpu_scale)
        load = load_of(planned)
        load.prepare(guest, context)
        guest.run(load.argv(planned.slot, context), timeout_s=20.0 * lab.cpu_scale)
