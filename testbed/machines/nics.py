"""Owns the models of NICs: what each is called, which option of a kernel is its driver, what it can do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Model:
    """`called` is libvirt's name for it, `most_mtu` its driver's bound (6.1), or that of what we allow.

    `ring`: its driver takes `ethtool -G`. `queues`: it can have several pairs of queues.
    """

    called: str
    option: str
    most_mtu: int
    ring: bool = False
    queues: bool = False


MOST_MTU = 9000
ETHER_MTU = 1500
MODELS = {
    "e1000e": Model("e1000e", "CONFIG_E1000E", MOST_MTU, ring=True),
    # virtio-net has a ring to choose only where the device can reset one.
    "virtio-net": Model("virtio", "CONFIG_VIRTIO_NET", MOST_MTU, queues=True),
    "e1000": Model("e1000", "CONFIG_E1000", MOST_MTU, ring=True),
    # drivers/net/ethernet/realtek/8139cp.c: CP_MAX_MTU
    "rtl8139": Model("rtl8139", "CONFIG_8139CP", 4096),
    "vmxnet3": Model("vmxnet3", "CONFIG_VMXNET3", MOST_MTU, ring=True),
    # The rest keep net/ethernet/eth.c ether_setup()'s bound.
    "i82559b": Model("i82559b", "CONFIG_E100", ETHER_MTU, ring=True),
    "pcnet": Model("pcnet", "CONFIG_PCNET32", ETHER_MTU, ring=True),
    "tulip": Model("tulip", "CONFIG_TULIP", ETHER_MTU),
    "ne2k_pci": Model("ne2k_pci", "CONFIG_NE2K_PCI", ETHER_MTU),
}
"""By what a user calls it."""


def able(what: str) -> str:
    """The models that can do it, in words: `ring` or `queues`."""
    return ", ".join(name for name, model in MODELS.items() if getattr(model, what))
