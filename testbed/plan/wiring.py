"""Owns the names of what crosses the wire, and what a fault may say of it: taps, addresses, flows by name."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from itertools import permutations

from testbed.configuration import Playbook
from testbed.errors import UsageError, nearest
from testbed.faults import fault_class, fault_of
from testbed.machines.wire import Flow
from testbed.model import Plan
from testbed.plan.timeline import Course
from testbed.transports import transport_of


def taps(plan: Plan) -> dict[tuple[str, str], str]:
    """The host's end of each cable, by (machine, link)."""
    return {(machine.name, nic.link): nic.tap for machine in plan.machines for nic in machine.nics}


def addresses(plan: Plan) -> dict[tuple[str, str], str]:
    """The IPv4 address of each NIC, by (machine, link)."""
    return {(machine.name, nic.link): nic.address for machine in plan.machines for nic in machine.nics}


def flows(plan: Plan) -> dict[str, Flow]:
    """What is counted before and after any drop.

    `swap.requests` and `swap.replies` are the transport's own conversation, if it crosses a wire; `B-A` is
    all that B sends to A on a data link.
    """
    by_name: dict[str, Flow] = {}
    known = taps(plan)
    for link in plan.links:
        on_link = [machine.name for machine in plan.machines if (machine.name, link.name) in known]
        for source, destination in permutations(on_link, 2):
            if not link.management:
                by_name[f"{source}-{destination}"] = Flow(
                    known[source, link.name], known[destination, link.name]
                )
    swap = transport_of(plan.transport).swap_flow if plan.transport is not None else None
    if plan.transport is not None and swap is not None:
        requests = by_name[f"{plan.transport.client}-{plan.transport.server}"]
        requests = Flow(requests.source, requests.destination, swap.protocol, 0, swap.port)
        by_name |= {"swap.requests": requests, "swap.replies": requests.back}
    return by_name


def check_flows(playbook: Playbook, plan: Plan, way: Course) -> None:
    """Refuses a fault of a flow that is not there. Raises UsageError with its place."""
    known = flows(plan)
    for fault in way.faults:
        name = fault.planned.options.get("flow")
        if name is None:
            continue
        where = playbook.where("timeline", fault.entry, "flow")
        named = [flow for each, flow in known.items() if each == name or each.startswith(f"{name}.")]
        if not named:
            raise UsageError(f"no flow '{name}'", hint=nearest(name, ("swap", *known)), where=where)
        needs_tcp = getattr(fault_class(fault.planned.kind), "needs_tcp", False)
        if needs_tcp and any(flow.protocol == "udp" for flow in named):
            raise UsageError(
                f"'{name}' goes over UDP: there is no connection to {fault.planned.kind}",
                hint="use a drop instead, or a transport over TCP",
                where=where,
            )


def check_addresses(playbook: Playbook, plan: Plan, way: Course) -> None:
    """Refuses a new address that can not be a machine's own. Raises UsageError with its place."""
    taken = {address: machine for (machine, _), address in addresses(plan).items()}
    subnets = {link.name: ip_network(link.subnet) for link in plan.links}
    for fault in way.faults:
        options = fault.planned.options
        if "address" not in options:
            continue
        address, where = options["address"], playbook.where("timeline", fault.entry, "address")
        if address in taken:
            raise UsageError(f"{address} is the address of '{taken[address]}'", where=where)
        if ip_address(address) not in subnets[options["link"]]:
            hint = f"of '{options['link']}' that is {subnets[options['link']]}"
            raise UsageError(f"{address} is not in the link's subnet", hint=hint, where=where)


def check_checksums(playbook: Playbook, plan: Plan, way: Course) -> None:
    """Refuses damage where checksums are computed after it. Raises UsageError with its place.

    A tap takes packets of virtio-net that are yet to be cut and summed (6.1, net/ipv4/af_inet.c
    inet_gso_segment, net/core/dev.c skb_checksum_help), and the host does so on the way out.
    """
    data = {link.name for link in plan.links if not link.management}
    virtio = [
        m.name for m in plan.machines for nic in m.nics if nic.link in data and nic.model == "virtio-net"
    ]
    for fault in way.faults:
        if virtio and getattr(fault_class(fault.planned.kind), "needs_checksums", False):
            raise UsageError(
                f"'{fault.planned.name}' would be made good: '{virtio[0]}' has virtio-net, and no checksums",
                hint="take e1000e, e1000 or rtl8139, as with --nic e1000e",
                where=playbook.where("timeline", fault.entry, "fault"),
            )


def check_apart(playbook: Playbook, plan: Plan, way: Course) -> None:
    """Refuses a fault that comes while another has what it needs for itself: healing one would heal both.

    Raises UsageError with its place.
    """
    entries = {fault.planned.name: fault.entry for fault in way.faults if fault.lasting}
    holds = {fault.name: getattr(fault_of(fault), "holds", "") for fault in plan.faults}
    holders: dict[str, str] = {}
    for event in plan.events:
        if event.do == "revert":
            holders.pop(holds[event.name], None)
        elif event.do == "apply" and event.name in entries and (held := holds[event.name]):
            if other := holders.get(held):
                raise UsageError(
                    f"'{event.name}' comes at {event.at_s:g} s, when '{other}' has {held}",
                    hint="let one end before the other begins; at one moment, write the one that ends first",
                    where=playbook.where("timeline", entries[event.name], "fault"),
                )
            holders[held] = event.name
