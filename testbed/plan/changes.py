"""Owns what a playbook has otherwise of its topology's machines: CPUs, memory, settings, disks."""

from __future__ import annotations

from testbed.configuration import MachineChange, MachineTable, Playbook, Topology
from testbed.errors import UsageError, nearest


def changed(topology: Topology, playbook: Playbook) -> Topology:
    """The topology as the playbook wants it. Raises UsageError for a machine that is not there."""
    machines = dict(topology.machines)
    for name, change in playbook.machines.items():
        if name not in machines:
            raise UsageError(
                f"no machine '{name}' in the topology",
                hint=nearest(name, machines),
                where=playbook.where("machines", name),
            )
        _check_disks(playbook, name, machines[name], change)
        machines[name] = _machine(machines[name], change)
    return topology.model_copy(update={"machines": machines})


def _machine(table: MachineTable, change: MachineChange) -> MachineTable:
    update = {
        "memory": change.memory or table.memory,
        "vcpus": change.vcpus or table.vcpus,
        "cmdline": f"{table.cmdline} {change.cmdline}".strip(),
        "sysctl": table.sysctl | change.sysctl,
        "disks": table.disks + change.disks,
        "root_from": change.root_from or table.root_from,
    }
    return table.model_copy(update=update)


def _check_disks(playbook: Playbook, name: str, table: MachineTable, change: MachineChange) -> None:
    taken = [disk.name for disk in table.disks]
    for number, disk in enumerate(change.disks):
        if disk.name in ("root", "seed", *taken):
            raise UsageError(
                f"machine '{name}' has a disk '{disk.name}' already",
                where=playbook.where("machines", name, "disks", number, "name"),
            )
        taken.append(disk.name)
