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
MODELS = {
    "e1000e": Model("e1000e", "CONFIG_E1000E", MOST_MTU, ring=True),
    # virtio-net has a ring to choose only where the device can reset one.
    "virtio-net": Model("virtio", "CONFIG_VIRTIO_NET", MOST_MTU, queues=True),
    "e1000": Model("e1000", "CONFIG_E1000", MOST_MTU, ring=True),
    # drivers/net/ethernet/realtek/8139cp.c: CP_MAX_MTU
    "rtl8139": Model("rtl8139", "CONFIG_8139CP", 4096),
}
"""By what a user calls it."""


def able(what: str) -> str:
    """The models that can do it, in words: `ring` or `queues`."""
    return ", ".join(name for name, model in MODELS.items() if getattr(model, what))
