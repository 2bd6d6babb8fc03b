"""Owns the question whether kernels have what a plan asks of them, before anything boots: their options.

Transports, loads and NICs name the options of a kernel's configuration that they need; one that must be off
has a "!" before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from testbed.errors import UsageError
from testbed.kernels.config import Configured
from testbed.loads import load_of
from testbed.machines.nics import MODELS
from testbed.model import Plan, PlannedMachine
from testbed.transports import Capping, Since, Stacked, Transport, stacks, transport_of

NFS_ROOT_OPTIONS = ("CONFIG_BLK_DEV_INITRD", "CONFIG_NFS_FS", "CONFIG_NFS_V3")
"""What guest/thin-init asks of a kernel."""


def check_options(plan: Plan, kernels: Mapping[str, Configured]) -> None:
    """Refuses kernels (by the plan's keys) that lack an option. Raises UsageError that names who needs it."""
    for machine in plan.machines:
        kernel = kernels[machine.kernel]
        _check_release(plan, machine, kernel)
        for what, option in _asked(plan, machine):
            name = option.removeprefix("!")
            wanted = not option.startswith("!")
            if kernel.has(name) == wanted:
                continue
            label = plan.kernels[machine.kernel].spec.name
            raise UsageError(
                f"kernel '{label}' of machine '{machine.name}' {'lacks' if wanted else 'has'} {name}:"
                f" {what} can not be played on it",
                hint=f"take another kernel, or not {what}; what is built here has the options of"
                " testbed/kernels/guest.config",
                where=kernel.where,
            )


def _check_release(plan: Plan, machine: PlannedMachine, kernel: Configured) -> None:
    """Refuses a client's kernel on which its transport is known not to work."""
    if plan.transport is None or machine.name != plan.transport.client:
        return
    transport = transport_of(plan.transport)
    if not isinstance(transport, Since) or transport.least_release is None:
        return
    if kernel.is_older(transport.least_release):
        least = ".".join(map(str, transport.least_release))
        name = plan.kernels[machine.kernel].spec.name
        raise UsageError(
            f"kernel '{name}' of machine '{machine.name}' is {kernel.release}: swap over"
            f" {plan.transport.kind} can not be played before {least}, as {transport.why_not_before}",
            hint="take a later base, or another transport",
            where=kernel.where,
        )


def _asked(plan: Plan, machine: PlannedMachine) -> Iterator[tuple[str, str]]:
    """What the machine needs an option for, in words, and which."""
    for nic in machine.nics:
        yield f"the NIC {nic.model}", MODELS[nic.model].option
    if machine.root_from is not None:
        yield from (("a root over NFS", option) for option in NFS_ROOT_OPTIONS)
    if any(other.root_from == machine.name for other in plan.machines):
        yield "serving a root over NFS", "CONFIG_NFSD"
    if plan.transport is not None:
        transport, words = transport_of(plan.transport), f"the transport {plan.transport.kind}"
        borrows = any(load.kind == "client" and load.machine == machine.name for load in plan.loads)
        if machine.name == plan.transport.client or borrows:
            yield from ((words, option) for option in transport.client_options)
        if machine.name == plan.transport.server:
            yield from ((words, option) for option in transport.server_options)
        if machine.name == plan.transport.client:  # who borrows has the bare device
            yield from _around(transport)
    for load in plan.loads:
        if load.machine == machine.name:
            needed = load_of(load).kernel_options
            yield from ((f"the load {load.kind}", option) for option in needed)


def _around(transport: Transport) -> Iterator[tuple[str, str]]:
    """What a playbook may put over the transport's device, or around its daemon."""
    if isinstance(transport, Stacked):
        yield from ((f'the layer "{layer}" of the stack', stacks.OPTIONS[layer]) for layer in transport.stack)
    if isinstance(transport, Capping) and transport.memory_cap is not None:
        yield "the daemon's memory_cap", "CONFIG_MEMCG"
