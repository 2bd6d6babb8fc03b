"""Owns reading the block layer: requests in flight, their age, their memory, the socket that carries them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import drgn
from drgn.helpers.linux.block import (
    blk_mq_rq_to_pdu,
    blk_rq_bytes,
    blk_rq_pos,
    disk_name,
    for_each_disk,
    req_op,
    request_queue_busy_iter,
)
from drgn.helpers.linux.mm import compound_head
from drgn.helpers.linux.sbitmap import sbitmap_for_each_set
from drgn.helpers.linux.timekeeping import ktime_get_coarse_ns

from testbed.introspection.reading import Reading, number
from testbed.introspection.slots import slots_of
from testbed.snapshot import Request
from testbed.units import PAGE_BYTES

MAX_BIOS, MAX_VECTORS, MAX_FOLIOS = 256, 256, 1024
STATES = {0: "idle", 1: "in flight", 2: "complete"}
"""include/linux/blk-mq.h, enum mq_rq_state."""


def read_requests(reading: Reading, pids: dict[int, int]) -> tuple[Request, ...]:
    """Every busy request of every disk. `pids` by the address of their task."""
    found = []
    for name, disk in _disks(reading):
        for request in reading.each(f"requests of {name}", _busy, disk.queue):
            one = reading.get(f"a request of {name}", None, _request, reading, name, request, pids)
            if one is not None:
                found.append(one)
    return tuple(found)


def _busy(queue: Any) -> Iterator[Any]:
    """Every request that has a tag, given to its driver or not.

    Without a scheduler the tag is the driver's own; drgn's helper then looks at those only that the
    driver has been given (`tags->rqs`, block/blk-mq.c `blk_mq_get_driver_tag`), and a request that waits
    behind a driver that blocks is not among them.
    """
    if queue.elevator or not queue.tag_set:
        yield from request_queue_busy_iter(queue)
        return
    for number_of_queue in range(number(queue.tag_set.nr_hw_queues)):
        tags = queue.tag_set.tags[number_of_queue]
        for tag in sbitmap_for_each_set(tags.bitmap_tags.sb.address_of_()):
            request = tags.static_rqs[tag]
            if request.q == queue:
                yield request


def queues(reading: Reading) -> dict[int, str]:
    """Device names by the address of their request queue."""
    return {
        reading.get("a disk's queue", 0, lambda disk: number(disk.queue), disk): name
        for name, disk in _disks(reading)
    }


def _disks(reading: Reading) -> Iterator[tuple[str, Any]]:
    for disk in reading.each("disks", for_each_disk, reading.prog, most=256):
        yield (
            reading.get("a disk's name", "?", lambda disk: disk_name(disk).decode(errors="replace"), disk),
            disk,
        )


def _request(reading: Reading, device: str, request: Any, pids: dict[int, int]) -> Request:
    now_ns = reading.get("ktime", 0, lambda: number(ktime_get_coarse_ns(reading.prog)))
    folios = tuple(dict.fromkeys(_folios(reading, request)))
    started_ns = reading.get("a request's start", 0, lambda: number(request.start_time_ns))
    return Request(
        address=number(request),
        device=device,
        tag=_tag(request),
        operation=_operation(reading, request),
        sector=number(blk_rq_pos(request)),
        size_bytes=number(blk_rq_bytes(request)),
        age_ms=None if not now_ns or not started_ns else max(0, now_ns - started_ns) // 1_000_000,
        state=STATES.get(number(request.state), "?"),
        socket=_socket(reading, device, request),
        orphaned=_orphaned(reading, device, request),
        folios=folios,
        swap_slots=slots_of(reading, folios),
        waiters=tuple(pids[owner] for owner in _owners(reading, request) if owner in pids),
    )


def _tag(request: Any) -> int:
    """The scheduler's tag, if the queue has a scheduler: it stays, the driver's comes with the dispatch."""
    own = number(request.internal_tag)
    return own if own >= 0 else number(request.tag)


def _operation(reading: Reading, request: Any) -> str:
    """`read`, `write`, ... of REQ_OP_*."""
    name = reading.get("an operation", "?", lambda: req_op(request).format_(type_name=False))
    return name.removeprefix("(").partition(")")[2] or name.removeprefix("REQ_OP_").lower()


def _folios(reading: Reading, request: Any) -> Iterator[int]:
    """The folios that the request's bios read into or write from."""
    pages = (page for bio in _bios(request) for page in _pages(reading, bio))
    for page in islice(pages, MAX_FOLIOS):
        yield number(compound_head(page))


def _pages(reading: Reading, bio: Any) -> Iterator[Any]:
    """What is still to be moved, as `bi_iter` has it: not all bios count their vectors.

    Swap's own bios of 7.3 do not (mm/page_io.c, swap_bdev_submit_read), nor do those split from others; and
    a vector may be of many pages that lie side by side.
    """
    nothing = (0, 0, 0)
    left, index, done = reading.get("a bio's place", nothing, _place, bio)
    for at in range(index, index + MAX_VECTORS):
        if not left:
            return
        offset, size = reading.get("a bio's vector", (0, 0), _vector, bio, at)
        begin, size = offset + done, max(0, min(size - done, left))
        for page in range(begin // PAGE_BYTES, -(-(begin + size) // PAGE_BYTES)):
            yield bio.bi_io_vec[at].bv_page + page
        left, done = left - size, 0


def _place(bio: Any) -> tuple[int, int, int]:
    """Bytes that are left, the vector, and how far in it (include/linux/bvec.h; `bi_offset` since 7.3)."""
    place = bio.bi_iter
    done = place.bi_offset if place.type_.has_member("bi_offset") else place.bi_bvec_done
    return number(place.bi_size), number(place.bi_idx), number(done)


def _vector(bio: Any, index: int) -> tuple[int, int]:
    vector = bio.bi_io_vec[index]
    return number(vector.bv_offset), number(vector.bv_len)


def _bios(request: Any) -> Iterator[Any]:
    bio = request.bio
    for _ in range(MAX_BIOS):
        if not bio:
            return
        yield bio
        bio = bio.bi_next


def _owners(reading: Reading, request: Any) -> Iterator[int]:
    """What its bios keep as their owner's own: where a task waits for its bio, that task (mm/page_io.c)."""
    for bio in _bios(request):
        yield reading.get("a bio's owner", 0, lambda bio: number(bio.bi_private), bio)


def _socket(reading: Reading, device: str, request: Any) -> int:
    """The `struct sock` by which the request's answer comes; 0 if the driver is not known here."""
    for prefix, carrier in CARRIERS.items():
        if device.startswith(prefix):
            return reading.get(f"the socket of a request of {prefix}", 0, carrier, request)
    return 0


def _orphaned(reading: Reading, device: str, request: Any) -> bool:
    if device.startswith("nbd"):
        return reading.get("an NBD request's connection", False, _nbd_orphaned, request)
    return False


def _nbd_command(request: Any) -> Any:
    """drivers/block/nbd.c: the request's `struct nbd_cmd` says which connection took it."""
    return drgn.cast("struct nbd_cmd *", blk_mq_rq_to_pdu(request))


def _nbd_socket(request: Any) -> int:
    command = _nbd_command(request)
    return number(command.nbd.config.socks[command.index].sock.sk)


def _nvme_socket(request: Any) -> int:
    """drivers/nvme/host/tcp.c (6.1, 7.3): the request knows its queue. One torn down has no socket."""
    command = drgn.cast("struct nvme_tcp_request *", blk_mq_rq_to_pdu(request))
    sock = command.queue.sock
    return number(sock.sk) if sock else 0


def _iscsi_socket(request: Any) -> int:
    """drivers/scsi/iscsi_tcp.c (6.1, 7.3): the host's data name the session, that its one connection.

    A disk's queue has its device (scsi_scan.c, scsi_alloc_sdev).
    """
    # Not by its scsi_cmnd, which is made when its turn comes (drivers/scsi/scsi_lib.c, scsi_init_command).
    device = drgn.cast("struct scsi_device *", request.q.queuedata)
    # include/scsi/libiscsi.h, iscsi_host_priv(): behind what libiscsi keeps there.
    behind = number(device.host.hostdata.address_of_())
    behind += drgn.sizeof(device.prog_.type("struct iscsi_host"))
    own = drgn.Object(device.prog_, "struct iscsi_sw_tcp_host *", value=behind)
    # Between two connections there is none (drivers/scsi/libiscsi.c, iscsi_conn_teardown).
    conn = own.session.leadconn
    tcp = drgn.cast("struct iscsi_tcp_conn *", conn.dd_data) if conn else conn
    sock = drgn.cast("struct iscsi_sw_tcp_conn *", tcp.dd_data).sock if tcp else tcp
    return number(sock.sk) if sock else 0


CARRIERS = {"nbd": _nbd_socket, "nvme": _nvme_socket, "sd": _iscsi_socket}
"""The socket of a request, by the beginning of its disk's name. Guests have no such disks of their own."""


def _nbd_orphaned(request: Any) -> bool:
    """Started, and no connection lives (drivers/block/nbd.c `nbd_mark_nsock_dead`).

    With no connection `nbd_handle_cmd` fails a request before it starts it, and with a timeout of 0
    `nbd_xmit_timeout` never ends one that was started (6.1).
    """
    command = _nbd_command(request)
    config = command.nbd.config
    started = STATES.get(number(request.state)) == "in flight"
    return bool(started and config.socks[command.index].dead and number(config.live_connections.counter) == 0)
