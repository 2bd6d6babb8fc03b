"""Owns what the topology becomes: bridges, taps, addresses and MACs, all derived from its names."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from ipaddress import IPv4Network

from testbed.configuration import MachineTable, NicTable, Topology
from testbed.errors import UsageError, nearest
from testbed.machines.nics import MODELS, able
from testbed.machines.wire import USUAL_MTU
from testbed.model import PlannedDisk, PlannedLink, PlannedMachine, PlannedNic

MANAGEMENT = "mgmt"
MANAGEMENT_NIC = "rtl8139"
MANAGEMENT_SUBNETS = tuple(f"10.{second}.0.0/24" for second in range(76, 90))
MAX_HOSTS = 64
MIN_MEMORY_BYTES = 64 << 20


def subject_of(topology: Topology) -> str:
    """The one machine that runs the kernel under test. Raises UsageError."""
    found = [name for name, machine in topology.machines.items() if machine.kernel == "under-test"]
    if len(found) != 1:
        raise UsageError(
            f'{len(found)} machines have kernel = "under-test"',
            hint="exactly one machine is the one that is judged",
            where=topology.where("machines"),
        )
    return found[0]


def planned_links(topology: Topology) -> tuple[PlannedLink, ...]:
    """All links, that of the management first; it is made up if the topology has none."""
    networks = {name: _network(topology, name) for name in topology.links}
    for name, network in networks.items():
        for other in networks:
            if other < name and network.overlaps(networks[other]):
                raise UsageError(
                    f"{network} overlaps that of link '{other}'",
                    where=topology.where("links", name, "subnet"),
                )
    managing = [name for name, link in topology.links.items() if link.management]
    if len(managing) > 1:
        raise UsageError("two links for management", where=topology.where("links", managing[1]))
    if not managing:
        if MANAGEMENT in networks:
            raise UsageError(
                f"'{MANAGEMENT}' is the management link", where=topology.where("links", MANAGEMENT)
            )
        networks = {MANAGEMENT: _free_network(networks)} | networks
        managing = [MANAGEMENT]
    return tuple(_link(topology, name, network, name == managing[0]) for name, network in networks.items())


def planned_machines(
    topology: Topology, links: tuple[PlannedLink, ...], *, prebuilt: bool, nic: str | None = None
) -> tuple[PlannedMachine, ...]:
    """All machines in the file's order. `nic` is the model of the subject's NICs on data links."""
    subject = subject_of(topology)
    if nic is not None:
        _check_model(nic, "--nic")
    machines = []
    for number, (name, table) in enumerate(topology.machines.items(), 1):
        _check_machine(topology, name, table)
        _check_root(topology, name, table)
        memory = table.memory_prebuilt if prebuilt and table.memory_prebuilt else table.memory
        machines.append(
            PlannedMachine(
                name=name,
                memory_bytes=memory,
                vcpus=table.vcpus,
                kernel="support" if table.kernel == "support" else "under-test",
                nics=_nics(topology, links, name, number, nic if name == subject else None),
                disks=tuple(PlannedDisk(name=disk.name, size_bytes=disk.size) for disk in table.disks),
                sysctl={key: str(value) for key, value in table.sysctl.items() if value != ""},
                cmdline=table.cmdline,
                root_from=table.root_from,
            )
        )
    _check_taps(topology, machines)
    return tuple(machines)


def tap_name(machine: str, link: str) -> str:
    """`A-data`; shortened with a hash beyond the 15 bytes of IFNAMSIZ."""
    name = f"{machine}-{link}"
    if len(name) <= 15:
        return name
    return f"{name[:8]}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _network(topology: Topology, link: str) -> IPv4Network:
    where = topology.where("links", link, "subnet")
    try:
        network = IPv4Network(topology.links[link].subnet)
    except ValueError as error:
        raise UsageError(f"is no subnet: {error}", hint='as in "10.77.1.0/24"', where=where) from error
    if not network.is_private or not 16 <= network.prefixlen <= 25:
        raise UsageError(
            f"{network} is not a private subnet of 128 to 65536 addresses",
            hint='as in "10.77.1.0/24"',
            where=where,
        )
    return network


def _free_network(taken: dict[str, IPv4Network]) -> IPv4Network:
    networks = (IPv4Network(subnet) for subnet in MANAGEMENT_SUBNETS)
    return next(free for free in networks if not any(free.overlaps(other) for other in taken.values()))


def _link(topology: Topology, name: str, network: IPv4Network, management: bool) -> PlannedLink:
    host = f"{network.broadcast_address - 1}/{network.prefixlen}" if management else None
    return PlannedLink(
        name=name,
        bridge=f"br-{name}",
        subnet=str(network),
        management=management,
        host_address=host,
        mtu=topology.links[name].mtu if name in topology.links else None,
    )


def _nics(
    topology: Topology, links: tuple[PlannedLink, ...], machine: str, number: int, model: str | None
) -> tuple[PlannedNic, ...]:
    own = {nic.link: nic for nic in topology.machines[machine].nics}
    found = []
    for index, link in enumerate(links):
        nic = own.get(link.name)
        if nic is None and link.management:
            nic = NicTable(link=link.name, model=MANAGEMENT_NIC)
        if nic is None:
            continue
        chosen = nic.model if model is None or link.management else model
        _check_mtu(topology, link, chosen)
        found.append(
            PlannedNic(
                link=link.name,
                model=chosen,
                mac=f"52:54:00:{index:02x}:{number >> 8:02x}:{number & 255:02x}",
                address=str(IPv4Network(link.subnet)[number]),
                tap=tap_name(machine, link.name),
                ifname=link.name,
                rx_ring=nic.rx_ring if MODELS[chosen].ring else None,
                queues=nic.queues if MODELS[chosen].queues else None,
            )
        )
    return tuple(found)


def _check_machine(topology: Topology, name: str, table: MachineTable) -> None:
    if table.memory < MIN_MEMORY_BYTES:
        raise UsageError(
            "no guest boots with so little",
            hint="at least 64MiB",
            where=topology.where("machines", name, "memory"),
        )
    seen: set[str] = set()
    for number, nic in enumerate(table.nics):
        key = ("machines", name, "nics", number)
        if nic.link not in topology.links:
            raise UsageError(
                f"no link '{nic.link}'",
                hint=nearest(nic.link, topology.links),
                where=topology.where(*key, "link"),
            )
        if nic.link in seen:
            raise UsageError(f"two NICs on link '{nic.link}'", where=topology.where(*key))
        seen.add(nic.link)
        _check_model(nic.model, topology.where(*key, "model"))
        _check_nic(topology, key, nic, table.vcpus)
    disks = [disk.name for disk in table.disks]
    for number, disk in enumerate(disks):
        if disk in ("root", "seed") or disk in disks[:number]:
            raise UsageError(
                f"the name '{disk}' is taken", where=topology.where("machines", name, "disks", number, "name")
            )


def _check_root(topology: Topology, name: str, table: MachineTable) -> None:
    """Refuses a root that nobody serves."""
    if table.root_from is None:
        return
    where = topology.where("machines", name, "root_from")
    server = topology.machines.get(table.root_from)
    if server is None or table.root_from == name:
        others = [other for other in topology.machines if other != name]
        raise UsageError(
            f"no other machine '{table.root_from}'", hint=nearest(table.root_from, others), where=where
        )
    if server.root_from is not None:
        raise UsageError(
            f"'{table.root_from}' has no root of its own to serve, but that of '{server.root_from}'",
            hint="let both take theirs from one machine that has a disk",
            where=where,
        )
    if not _share_a_link(topology, table, server):
        raise UsageError(
            f"'{name}' and '{table.root_from}' share no link that is not for management",
            hint="give both a NIC on one link",
            where=where,
        )


def _share_a_link(topology: Topology, one: MachineTable, other: MachineTable) -> bool:
    """Whether two machines are on one data link."""
    both = {nic.link for nic in one.nics} & {nic.link for nic in other.nics}
    return any(not topology.links[link].management for link in both)


def _check_nic(topology: Topology, key: tuple[str | int, ...], nic: NicTable, vcpus: int) -> None:
    """Refuses what the model can not have, and what would not be used."""
    model = MODELS[nic.model]
    if nic.rx_ring is not None and not model.ring:
        raise UsageError(
            f"the driver of '{nic.model}' has a fixed ring",
            hint=f"leave it out, or use one of {able('ring')}",
            where=topology.where(*key, "rx_ring"),
        )
    if nic.queues is not None and not model.queues:
        raise UsageError(
            f"the driver of '{nic.model}' has one pair of queues",
            hint=f"leave it out, or use {able('queues')}",
            where=topology.where(*key, "queues"),
        )
    if nic.queues is not None and nic.queues > vcpus:
        # drivers/net/virtio_net.c (6.1), virtnet_probe(): it uses as many as there are CPUs.
        raise UsageError(
            f"{nic.queues} pairs of queues, of which {vcpus} would be used: one for each CPU",
            hint=f"set vcpus = {nic.queues} as well",
            where=topology.where(*key, "queues"),
        )
    mtu = topology.links[nic.link].mtu or USUAL_MTU
    if nic.mtu is not None and nic.mtu != mtu:
        raise UsageError(
            f"an MTU of {nic.mtu} on link '{nic.link}', whose MTU is {mtu}: what is longer than the"
            " smaller of them would vanish without a word",
            hint=f"set mtu = {nic.mtu} in [links.{nic.link}], for all on it, or leave it out here",
            where=topology.where(*key, "mtu"),
        )


def _check_mtu(topology: Topology, link: PlannedLink, model: str) -> None:
    most = MODELS[model].most_mtu
    if link.mtu is not None and link.mtu > most:
        raise UsageError(
            f"{link.mtu} is more than a NIC of model '{model}' takes: {most} at most",
            hint="give the link a smaller MTU, or the machine another model",
            where=topology.where("links", link.name, "mtu"),
        )


def _check_model(model: str, where: str) -> None:
    if model not in MODELS:
        raise UsageError(f"no NIC model '{model}'", hint=nearest(model, MODELS), where=where)


def _check_taps(topology: Topology, machines: list[PlannedMachine]) -> None:
    if len(machines) > MAX_HOSTS:
        raise UsageError(f"more than {MAX_HOSTS} machines", where=topology.where("machines"))
    taps = [nic.tap for machine in machines for nic in machine.nics]
    lower = [machine.name.lower() for machine in machines]
    if len(set(taps)) != len(taps) or len(set(lower)) != len(lower):
        raise UsageError("two machines have names that are too much alike", where=topology.where("machines"))


def check_has_disk(
    machine: PlannedMachine, disk: str, where: str, purpose: str = "", taken: Sequence[str] = ()
) -> None:
    """Refuses a disk that the machine has not, or that is `taken`. Raises UsageError."""
    free = [one.name for one in machine.disks if one.name not in taken]
    if disk not in free:
        raise UsageError(
            f"machine '{machine.name}' has no disk '{disk}'{purpose}", hint=nearest(disk, free), where=where
        )
