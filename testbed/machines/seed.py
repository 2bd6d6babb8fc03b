"""Owns the seed: the small tar on a guest's second disk that makes the shared root image that machine's."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator, Sequence
from ipaddress import ip_network

from testbed.errors import UsageError
from testbed.machines.keys import LabKeys
from testbed.model import PlannedLink, PlannedMachine, PlannedNic

_WORD = re.compile(r"[!-~]+")


def machine_conf(
    machine: PlannedMachine,
    machines: Sequence[PlannedMachine],
    links: Sequence[PlannedLink],
    start: Sequence[Sequence[str]] = (),
) -> str:
    """The lines that init reads: name, NICs, permanent neighbours, sysctls, hosts, roots, agents to `start`.

    Neighbours are permanent: else the first reply after a heal waits for ARP. Raises UsageError on
    a value that is not one word.
    """
    lines: list[tuple[str, ...]] = [("name", machine.name)]
    lines += _nics(machine, links)
    for other in machines:
        lines += _neighbours(machine, other)
    lines += [("sysctl", key, value) for key, value in sorted(machine.sysctl.items())]
    for other in machines:
        lines += [("host", _host(other, nic.link, links), nic.address) for nic in other.nics]
    lines += _roots(machine, machines)
    lines += [("start", *words) for words in start]
    for line in lines:
        # the value of a sysctl may be several numbers, as in tcp_rmem
        words = line[:2] if line[0] == "sysctl" else line
        if not all(_WORD.fullmatch(word) for word in words) or not line[-1].isprintable():
            raise UsageError(f"{line!r} can not be given to machine '{machine.name}'")
    return "".join(" ".join(line) + "\n" for line in lines)


def build(conf: str, keys: LabKeys) -> bytes:
    """The seed's tar; its length is a multiple of 512, as a disk's must be."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for folder, mode in (("etc", 0o755), ("etc/dropbear", 0o700), ("etc/testbed", 0o755)):
            _add(tar, folder, mode, None)
        _add(tar, "etc/dropbear/dropbear_ed25519_host_key", 0o600, keys.host_dropbear)
        _add(tar, "etc/testbed/machine.conf", 0o644, conf.encode())
        for folder in ("root", "root/.ssh"):
            _add(tar, folder, 0o700, None)
        _add(tar, "root/.ssh/authorized_keys", 0o600, f"{keys.login_public}\n".encode())
    return out.getvalue()


def _nics(machine: PlannedMachine, links: Sequence[PlannedLink]) -> Iterator[tuple[str, ...]]:
    for nic in machine.nics:
        prefix = ip_network(_link(nic.link, links).subnet).prefixlen
        yield ("nic", nic.mac, nic.ifname, f"{nic.address}/{prefix}", str(nic.rx_ring or 0))
        mtu = _link(nic.link, links).mtu
        if mtu is not None:
            yield ("ip", "link", "set", "dev", nic.ifname, "mtu", str(mtu))


def _neighbours(machine: PlannedMachine, other: PlannedMachine) -> Iterator[tuple[str, ...]]:
    if other.name == machine.name:
        return
    for own in machine.nics:
        for theirs in other.nics:
            if own.link == theirs.link:
                yield ("neighbour", theirs.address, theirs.mac, own.ifname)


def _roots(machine: PlannedMachine, machines: Sequence[PlannedMachine]) -> Iterator[tuple[str, ...]]:
    """Where its own root comes from, by which NIC; and to which address it gives its root."""
    for other in machines:
        if machine.root_from == other.name:
            own, theirs = _between(machine, other)
            yield ("root", theirs.address, own.ifname)
        if other.root_from == machine.name:
            _, theirs = _between(machine, other)
            yield ("export-root", theirs.address)


def _between(machine: PlannedMachine, other: PlannedMachine) -> tuple[PlannedNic, PlannedNic]:
    """The NICs of both on the last link that they share: the first is for management."""
    links = {nic.link: nic for nic in other.nics}
    own = [nic for nic in machine.nics if nic.link in links][-1]
    return own, links[own.link]


def _host(machine: PlannedMachine, link: str, links: Sequence[PlannedLink]) -> str:
    """`A` on a data link, `A.mgmt` on the management link."""
    return f"{machine.name}.mgmt" if _link(link, links).management else machine.name


def _link(name: str, links: Sequence[PlannedLink]) -> PlannedLink:
    return next(link for link in links if link.name == name)


def _add(tar: tarfile.TarFile, name: str, mode: int, data: bytes | None) -> None:
    entry = tarfile.TarInfo(name)
    entry.mode = mode
    entry.uname = entry.gname = "root"
    entry.type = tarfile.DIRTYPE if data is None else tarfile.REGTYPE
    entry.size = len(data or b"")
    tar.addfile(entry, io.BytesIO(data or b""))
