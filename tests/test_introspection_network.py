"""How full a NIC's receive ring is, by what its driver keeps of it, on stand-ins for the driver's own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import drgn
import pytest

from testbed.introspection import network

BITS: Any = {
    "NAPI_STATE_SCHED": 0,
    "NAPI_STATE_NPSVC": 3,
    "VQ_LAYOUT_PACKED": 1,
    "VQ_LAYOUT_PACKED_IN_ORDER": 3,
}
DISABLED, SCHEDULED, ASLEEP = 0x1B, 0x11, 0x10


def queue(*, free: int, used: int, taken: int, packed: bool = False, layout: int | None = None) -> Any:
    """A virtqueue of 256, within what virtio_ring.c has around it."""
    kind = SimpleNamespace(type=SimpleNamespace(has_member=lambda name: name == "num_max"))
    split = SimpleNamespace(vring=SimpleNamespace(used=SimpleNamespace(idx=used)))
    how = {"packed_ring": int(packed)} if layout is None else {"layout": layout}
    members = SimpleNamespace(type=SimpleNamespace(has_member=lambda name: name in how))
    around = SimpleNamespace(type_=members, split=split, last_used_idx=taken, **how)
    return SimpleNamespace(type_=kind, num_max=256, num_free=free, around=around)


def ring(monkeypatch: pytest.MonkeyPatch, *pairs: tuple[Any, int]) -> network.Ring:
    own = SimpleNamespace(
        curr_queue_pairs=len(pairs),
        rq=[SimpleNamespace(vq=vq, napi=SimpleNamespace(state=state)) for vq, state in pairs],
    )
    monkeypatch.setattr(network, "netdev_priv", lambda device, kind: own)
    monkeypatch.setattr(drgn, "container_of", lambda vq, kind, member: vq.around)
    return network.RINGS["virtio_net"](BITS, None)


def test_frames_that_nobody_took_have_used_up_their_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it was seen: refill_work() holds the NAPI, and 235 frames lie in the ring."""
    found = ring(monkeypatch, (queue(free=21, used=35713, taken=35478), DISABLED))
    assert (found.size, found.filled, found.usable, found.stopped) == (256, 235, 0, True)


def test_what_the_device_counts_goes_round(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ring(monkeypatch, (queue(free=6, used=3, taken=65534), SCHEDULED))
    assert (found.filled, found.usable, found.stopped) == (250, 245, False)


def test_of_several_queues_one_that_is_polled_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = (queue(free=0, used=256, taken=0), DISABLED)
    found = ring(monkeypatch, stopped, (queue(free=1, used=9, taken=9), ASLEEP))
    assert (found.size, found.filled, found.usable, found.stopped) == (512, 511, 255, False)
    assert ring(monkeypatch, stopped, stopped).stopped


def test_of_a_packed_queue_it_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ring(monkeypatch, (queue(free=56, used=0, taken=0x8001, packed=True), ASLEEP))
    assert (found.filled, found.usable) == (200, 200)


@pytest.mark.parametrize(("layout", "usable"), [(0, 190), (1, 200), (2, 190), (3, 200)])
def test_a_queue_of_7_3_has_one_of_four_layouts(
    layout: int, usable: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = ring(monkeypatch, (queue(free=56, used=10, taken=0, layout=layout), ASLEEP))
    assert (found.filled, found.usable) == (200, usable)


@pytest.mark.parametrize(("done", "usable"), [(0, 42), (20, 22), (42, 0), (43, 0)])
def test_e1000s_frames_that_find_no_head_have_used_up_their_buffers(
    done: int, usable: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it was seen: the first frame of 42 finds no head, and the driver takes none of those behind it."""
    clean, filled, size = 50, 43, 64
    taken = {(clean + step) % size for step in range(done)}
    table = [SimpleNamespace(status=7 if at in taken else 0) for at in range(size)]
    ring = SimpleNamespace(count=size, next_to_use=(clean + filled) % size, next_to_clean=clean, desc=table)
    told = SimpleNamespace(gprc=9, mpc=3)
    adapter = SimpleNamespace(rx_ring=ring, alloc_rx_buff_failed=8, stats=told)
    monkeypatch.setattr(network, "netdev_priv", lambda device, kind: adapter)
    monkeypatch.setattr(drgn, "cast", lambda kind, value: value)
    prog: Any = SimpleNamespace(type=lambda name, file: name)
    found = network.RINGS["e1000"](prog, None)
    assert (found.size, found.filled, found.usable) == (size, filled, usable)
    assert found.counters == {"refills_failed": 8, "received": 9, "missed": 3}


def test_a_driver_that_takes_a_frame_only_against_a_new_buffer_says_what_it_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As it was seen over rtl8139: the ring is full of buffers, and every frame is dropped."""
    array = type("Array", (list,), {"type_": SimpleNamespace(length=64)})
    own = SimpleNamespace(rx_skb=array([1] * 64), rx_ring=[SimpleNamespace(opts1=1 << 31)] * 64)
    monkeypatch.setattr(network, "netdev_priv", lambda device, kind: own)
    device: Any = SimpleNamespace(stats=SimpleNamespace(rx_dropped=88, rx_packets=26))
    prog: Any = None
    found = network.RINGS["8139cp"](prog, device)
    assert (found.size, found.filled, found.usable, found.exchanges) == (64, 64, 64, True)
    assert found.counters == {"refills_failed": 88, "received": 26}
