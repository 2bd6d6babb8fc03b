"""Owns reading the NICs: how full their receive rings are, by what each driver keeps of them.

A driver is one function here. Without one, a NIC is shown without its ring.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any

import drgn
from drgn.helpers.linux.net import for_each_netdev, netdev_name, netdev_priv

from testbed.introspection.reading import Reading, ipv4, number, text
from testbed.snapshot import Nic

MAX_ADDRESSES = 64
E1000E_STEP = 16
"""E1000_RX_BUFFER_WRITE: e1000_alloc_rx_buffers tells the hardware of every sixteenth descriptor only."""


@dataclass(frozen=True, slots=True)
class Ring:
    """Descriptors in all, with a buffer, and of those known to the hardware and unused.

    `stopped`: its NAPI is disabled, so that nobody takes what comes in until who did that enables it again.
    `exchanges`: as snapshot.Nic has it; `refills_failed` are then the frames that were dropped for it.
    """

    size: int
    filled: int
    usable: int | None = None
    counters: dict[str, int] = field(default_factory=dict)
    stopped: bool = False
    exchanges: bool = False


def read_nics(reading: Reading) -> tuple[Nic, ...]:
    """The NICs that have a device behind them."""
    found = []
    for device in reading.each("NICs", _devices, reading.prog, most=64):
        one = reading.get("a NIC", None, _nic, reading, device)
        if one is not None and one.driver:
            found.append(one)
    return tuple(found)


def _devices(prog: drgn.Program) -> Iterable[Any]:
    return for_each_netdev(prog["init_net"].address_of_())


def _nic(reading: Reading, device: Any) -> Nic:
    name = netdev_name(device).decode(errors="replace")
    driver = _driver(device)
    ring = None
    if driver in RINGS:
        ring = reading.get(f"ring of {name} ({driver})", None, RINGS[driver], reading.prog, device)
    return Nic(
        name=name,
        driver=driver,
        addresses=reading.get(f"addresses of {name}", (), _addresses, device),
        carrier=not number(device.state) & 1 << number(reading.prog["__LINK_STATE_NOCARRIER"]),
        ring=ring.size if ring else None,
        filled=ring.filled if ring else None,
        usable=ring.usable if ring else None,
        counters=ring.counters if ring else {},
        stopped=ring.stopped if ring else False,
        exchanges=ring.exchanges if ring else False,
    )


def _addresses(device: Any) -> tuple[str, ...]:
    """Its IPv4 addresses: include/linux/inetdevice.h."""
    found: list[str] = []
    entry = device.ip_ptr.ifa_list if device.ip_ptr else None
    while entry and len(found) < MAX_ADDRESSES:
        found.append(ipv4(entry.ifa_local))
        entry = entry.ifa_next
    return tuple(found)


def _driver(device: Any) -> str:
    """The driver of the NIC's bus device; virtio's lies one device up. Empty for a NIC without a device."""
    parent = device.dev.parent
    return text(parent.driver.name) if parent and parent.driver else ""


def _e1000e(prog: drgn.Program, device: Any) -> Ring:
    """drivers/net/ethernet/intel/e1000e/netdev.c, legacy receive (one buffer a frame).

    The hardware's tail is the last multiple of 16 that was filled; it stops short of it.
    """
    adapter = netdev_priv(device, prog.type("struct e1000_adapter", "e1000e/e1000.h"))
    ring = adapter.rx_ring
    size, use, clean = (number(each) for each in (ring.count, ring.next_to_use, ring.next_to_clean))
    filled = (use - clean) % size
    last = (use - 1) % size
    tail = last - last % E1000E_STEP
    table = drgn.cast("union e1000_rx_desc_extended *", ring.desc)
    done = _done(number(table[n].wb.upper.status_error) for n in _ahead(clean, filled, size))
    usable = max(0, (tail - clean) % size - done) if (tail - clean) % size <= filled else 0
    return Ring(size, filled, usable, _counted(adapter))


def _counted(adapter: Any) -> dict[str, int]:
    """`received`: frames that came into buffers, as the watchdog last read the hardware (every 2 s)."""
    return {
        "refills_failed": number(adapter.alloc_rx_buff_failed),
        "received": number(adapter.stats.gprc),
        "missed": number(adapter.stats.mpc),
    }


def _ahead(clean: int, filled: int, size: int) -> Iterator[int]:
    """The descriptors with a buffer, in the order in which the hardware uses them."""
    return ((clean + step) % size for step in range(filled))


def _done(statuses: Iterable[int]) -> int:
    """Of the next descriptors those with a frame that the driver has not taken (E1000_RXD_STAT_DD)."""
    return sum(1 for _ in takewhile(lambda status: status & 1, statuses))


def _e1000(prog: drgn.Program, device: Any) -> Ring:
    """drivers/net/ethernet/intel/e1000/e1000_main.c: the tail follows next_to_use at each refill.

    Where it gets no head for a frame, e1000_clean_rx_irq() leaves it where it is, and all that come after.
    """
    adapter = netdev_priv(device, prog.type("struct e1000_adapter", "e1000/e1000.h"))
    ring = adapter.rx_ring
    size, use, clean = (number(each) for each in (ring.count, ring.next_to_use, ring.next_to_clean))
    filled = (use - clean) % size
    table = drgn.cast("struct e1000_rx_desc *", ring.desc)
    done = _done(number(table[n].status) for n in _ahead(clean, filled, size))
    return Ring(size, filled, max(0, filled - 1 - done), _counted(adapter))


def _virtio(prog: drgn.Program, device: Any) -> Ring:
    """drivers/net/virtio_net.c, drivers/virtio/virtio_ring.c: descriptors not free are with the device.

    Of several pairs of queues those in use, together: a frame may come in by any of them.
    """
    own = netdev_priv(device, "struct virtnet_info")
    pairs = [own.rq[index] for index in range(number(own.curr_queue_pairs))]
    rings = [_virtio_queue(prog, pair.vq) for pair in pairs]
    filled = sum(filled for _, filled, _ in rings)
    done = sum(done for _, _, done in rings)
    stopped = bool(pairs) and all(_is_disabled(prog, pair.napi) for pair in pairs)
    return Ring(sum(size for size, _, _ in rings), filled, max(0, filled - done), stopped=stopped)


def _virtio_queue(prog: drgn.Program, queue: Any) -> tuple[int, int, int]:
    """Descriptors of a queue, in all, with a buffer, and those whose frame nobody has taken yet.

    The last is known of the split layout, which QEMU's devices have: what the device has used since.
    """
    size = number(queue.num_max) if queue.type_.type.has_member("num_max") else 0
    free = number(queue.num_free)
    ring = drgn.container_of(queue, "struct vring_virtqueue", "vq")
    done = 0
    if not _is_packed(prog, ring):
        done = (number(ring.split.vring.used.idx) - number(ring.last_used_idx)) & 0xFFFF
    return size or free, max(0, size - free), done


def _is_packed(prog: drgn.Program, ring: Any) -> bool:
    """One bit up to 6.12; in 7.3 one of the four of enum vq_layout."""
    if ring.type_.type.has_member("packed_ring"):
        return bool(number(ring.packed_ring))
    packed = (prog["VQ_LAYOUT_PACKED"], prog["VQ_LAYOUT_PACKED_IN_ORDER"])
    return number(ring.layout) in map(number, packed)


def _is_disabled(prog: drgn.Program, napi: Any) -> bool:
    """net/core/dev.c, napi_disable(): it takes both bits, and nobody else has them at once but netpoll."""
    wanted = 1 << number(prog["NAPI_STATE_SCHED"]) | 1 << number(prog["NAPI_STATE_NPSVC"])
    return number(napi.state) & wanted == wanted


def _8139cp(prog: drgn.Program, device: Any) -> Ring:
    """drivers/net/ethernet/realtek/8139cp.c, cp_rx_poll: without a new buffer the old one stays.

    The hardware may use those that it owns (DescOwn, the highest bit of opts1).
    """
    private = netdev_priv(device, "struct cp_private")
    size = private.rx_skb.type_.length or 0
    ring = _owned(size, lambda at: private.rx_skb[at], lambda at: private.rx_ring[at].opts1, 31)
    return replace(ring, exchanges=True, counters=_told(device))


def _owned(size: int, buffer: Callable[[int], Any], status: Callable[[int], Any], bit: int) -> Ring:
    """A ring in which a bit of each descriptor's status says that the hardware may use it."""
    filled = sum(1 for at in range(size) if buffer(at))
    usable = sum(number(status(at)) >> bit & 1 for at in range(size))
    return Ring(size, filled, usable)


def _told(device: Any) -> dict[str, int]:
    """As the driver itself counts them (include/linux/netdevice.h, struct net_device_stats)."""
    return {"refills_failed": number(device.stats.rx_dropped), "received": number(device.stats.rx_packets)}


def _e100(prog: drgn.Program, device: Any) -> Ring:
    """drivers/net/ethernet/intel/e100.c: a list of receive frame descriptors that closes on itself.

    e100_rx_alloc_list gives up at the first skb that it does not get, and the device suspends itself at the
    one before the last that was given: what has a buffer is what it may fill, but one.
    """
    own = netdev_priv(device, "struct nic")
    size = number(own.params.rfds.count)
    filled = sum(1 for index in range(size) if own.rxs and own.rxs[index].skb)
    return Ring(size, filled, max(0, filled - 1))


def _pcnet32(prog: drgn.Program, device: Any) -> Ring:
    """drivers/net/ethernet/amd/pcnet32.c, pcnet32_rx_entry: without a new buffer the old one stays.

    The hardware may use those that it owns (the highest bit of status).
    """
    own = netdev_priv(device, "struct pcnet32_private")
    size = number(own.rx_ring_size)
    ring = _owned(size, lambda at: own.rx_skbuff[at], lambda at: own.rx_ring[at].status, 15)
    return replace(ring, exchanges=True, counters=_told(device))


def _tulip(prog: drgn.Program, device: Any) -> Ring:
    """drivers/net/ethernet/dec/tulip/interrupt.c, tulip_refill_rx: an entry without an skb stays ours.

    The hardware may use those that it owns (DescOwned, the highest bit of status).
    """
    own = netdev_priv(device, prog.type("struct tulip_private", "tulip/tulip.h"))
    size = own.rx_buffers.type_.length or 0
    return _owned(size, lambda at: own.rx_buffers[at].skb, lambda at: own.rx_ring[at].status, 31)


def _vmxnet3(prog: drgn.Program, device: Any) -> Ring:
    """drivers/net/vmxnet3/vmxnet3_drv.c, vmxnet3_rq_rx_complete: without a new buffer the old one stays.

    Of all receive queues in use the first rings, which take the head of each frame: what is not free
    (vmxnet3_cmd_ring_desc_avail) is with the device.
    """
    own = netdev_priv(device, "struct vmxnet3_adapter")
    size = filled = dropped = 0
    for index in range(number(own.num_rx_queues)):
        ring = own.rx_queue[index].rx_ring[0]
        count = number(ring.size)
        size += count
        filled += (number(ring.next2fill) - number(ring.next2comp)) % count
        dropped += number(own.rx_queue[index].stats.rx_buf_alloc_failure)
    return Ring(size, filled, filled, {"refills_failed": dropped}, exchanges=True)


RINGS: dict[str, Callable[[drgn.Program, Any], Ring]] = {
    "e1000e": _e1000e,
    "e1000": _e1000,
    "virtio_net": _virtio,
    "8139cp": _8139cp,
    "e100": _e100,
    "pcnet32": _pcnet32,
    "tulip": _tulip,
    "vmxnet3": _vmxnet3,
}
