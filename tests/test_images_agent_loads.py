"""The loads of the agent that exchange, map files, make calls, flood TCP and want blocks, on this host."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from agents import LIMIT_S, PAGE_BYTES, Guest, programs_on

from testbed.witnesses.page import Control, State

CALLS = ("fork", "exec", "mmap", "socket", "open")


@pytest.fixture
def guest(agent: Path, tmp_path: Path) -> Iterator[Guest]:
    with programs_on(agent, tmp_path) as guest:
        yield guest


def free_ports(number: int) -> list[int]:
    probes = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(number)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


# --- the exchange


def ring(guest: Guest, slots: tuple[int, ...], *, last_seeds: dict[int, int] | None = None) -> None:
    """Loads that exchange: the seed of each is its slot, `last_seeds` what one takes its neighbour's for."""
    ports = dict(zip(slots, free_ports(len(slots)), strict=True))
    for number, slot in enumerate(slots):
        following, last = slots[(number + 1) % len(slots)], slots[number - 1]
        seed = (last_seeds or {}).get(slot, last)
        guest.start(
            "anonymous", slot, "--bytes", str(16 * PAGE_BYTES), "--seed", str(slot), "--order", "exchange",
            "--port", str(ports[slot]), "--next-port", str(ports[following]), "--last-seed", str(seed),
        )  # fmt: skip
    for slot in slots:
        guest.page.control(slot, Control.RUN)


def exchanged(guest: Guest, slots: tuple[int, ...]) -> list[int]:
    return [guest.page.read(slot, "anonymous")["exchanged_pages"] for slot in slots]


def test_a_ring_works_in_step_and_sweeps(guest: Guest) -> None:
    slots = (3, 4, 5)
    ring(guest, slots)
    guest.until(lambda: min(exchanged(guest, slots)) > 200, "two hundred steps")
    steps = exchanged(guest, slots)
    assert max(steps) - min(steps) < 100, "one ran away from the others"
    for slot in slots:
        guest.page.control(slot, Control.SWEEP)
    guest.until(
        lambda: all(guest.page.read(slot, "anonymous")["sweeps_done"] == 1 for slot in slots), "the sweeps"
    )
    before = exchanged(guest, slots)
    guest.until(lambda: min(exchanged(guest, slots)) > max(before) + 50, "steps after the sweep")
    for slot in slots:
        load = guest.page.read(slot, "anonymous")
        assert (load["bad_pages"], load["sweep_bad_pages"], load["sweep_pages"]) == (0, 0, 16)
    for slot in slots:
        guest.page.control(slot, Control.STOP)
    guest.until(lambda: all(guest.page.state(slot) is State.DONE for slot in slots), "the end of all")


def test_who_stands_still_stops_the_whole_ring(guest: Guest) -> None:
    slots = (3, 4, 5)
    ring(guest, slots)
    guest.until(lambda: min(exchanged(guest, slots)) > 20, "twenty steps")
    guest.started[1].send_signal(signal.SIGSTOP)
    guest.until(lambda: is_still(guest, slots), "a ring that stands still")
    guest.started[1].send_signal(signal.SIGCONT)
    before = exchanged(guest, slots)
    guest.until(lambda: min(exchanged(guest, slots)) > max(before) + 20, "steps again")


def is_still(guest: Guest, slots: tuple[int, ...]) -> bool:
    """Over as long as some thousand steps take."""
    before = exchanged(guest, slots)
    time.sleep(0.06)
    return exchanged(guest, slots) == before


def test_a_page_that_comes_in_pieces_of_another_is_bad(guest: Guest) -> None:
    """One takes its neighbour for somebody else: none of the pages that come is a whole one of theirs."""
    slots = (3, 4)
    ring(guest, slots, last_seeds={4: 99})
    guest.until(lambda: min(exchanged(guest, slots)) > 20, "twenty steps")
    assert guest.page.read(3, "anonymous")["bad_pages"] == 0
    found = guest.page.read(4, "anonymous")
    assert found["bad_pages"] > 15


def test_who_ends_first_is_no_failure_of_the_others(guest: Guest) -> None:
    slots = (3, 4)
    ring(guest, slots)
    guest.until(lambda: min(exchanged(guest, slots)) > 20, "twenty steps")
    guest.page.control(3, Control.STOP)
    guest.until(lambda: guest.page.state(3) is State.DONE, "the end of one")
    guest.until(lambda: is_still(guest, (4,)), "the other rests")
    assert guest.page.state(4) is State.RUNNING
    guest.page.control(4, Control.STOP)
    guest.until(lambda: guest.page.state(4) is State.DONE, "the end of the other")


# --- pages of a file


def mapped(guest: Guest, file: Path, *, pages: int = 16, of_file: int = 10) -> subprocess.Popen[bytes]:
    child = guest.start(
        "anonymous", 3, "--bytes", str(pages * PAGE_BYTES), "--mapped", str(of_file * PAGE_BYTES),
        "--file", str(file), "--seed", "7",
    )  # fmt: skip
    guest.page.control(3, Control.RUN)
    guest.until(lambda: guest.page.read(3, "anonymous")["work_units"] > 100, "work")
    return child


def sweep(guest: Guest, number: int) -> dict[str, int]:
    guest.page.control(3, Control.SWEEP)
    guest.until(lambda: guest.page.read(3, "anonymous")["sweeps_done"] == number, "a sweep")
    found = guest.page.read(3, "anonymous")
    guest.page.control(3, Control.RUN)
    guest.until(lambda: guest.page.read(3, "anonymous")["control_seen"] == Control.RUN, "work again")
    return found


def test_a_share_is_of_a_file_and_stays_as_it_was_made(guest: Guest, tmp_path: Path) -> None:
    file = tmp_path / "mapped"
    child = mapped(guest, file)
    before = file.read_bytes()
    found = sweep(guest, 1)
    assert (found["pages_total"], found["mapped_pages"], found["sweep_pages"]) == (16, 10, 16)
    assert found["bad_pages"] == 0
    assert len(before) == 10 * PAGE_BYTES and file.read_bytes() == before
    line = next(
        line for line in Path(f"/proc/{child.pid}/maps").read_text().splitlines() if str(file) in line
    )
    assert line.split()[1] == "r--s"


@pytest.mark.parametrize("offset", [0, 8, 2000, 4095])
def test_a_wrong_byte_in_the_file_is_a_bad_page_counted_once(
    guest: Guest, tmp_path: Path, offset: int
) -> None:
    file = tmp_path / "mapped"
    mapped(guest, file)
    with file.open("r+b", buffering=0) as opened:
        opened.seek(3 * PAGE_BYTES + offset)
        byte = opened.read(1)[0]
        opened.seek(3 * PAGE_BYTES + offset)
        opened.write(bytes([byte ^ 0x10]))
    sweep(guest, 1)
    found = sweep(guest, 2)
    assert (found["bad_pages"], found["lost_pages"], found["first_bad_page"]) == (1, 0, 6 + 3 + 1)


def test_pages_that_the_file_has_lost_are_lost(guest: Guest, tmp_path: Path) -> None:
    file = tmp_path / "mapped"
    child = mapped(guest, file)
    os.truncate(file, 8 * PAGE_BYTES)  # to touch what lies beyond raises SIGBUS
    sweep(guest, 1)
    found = sweep(guest, 2)
    assert (found["bad_pages"], found["lost_pages"]) == (2, 2)
    assert child.poll() is None


# --- the storm


def storm(guest: Guest, *options: str) -> None:
    guest.start("storm", 3, "--pause-ms", "1", *options)
    assert guest.page.read(3, "storm")["fork_tried"] == 0
    guest.page.control(3, Control.RUN)
    guest.until(
        lambda: min(guest.page.read(3, "storm")[f"{call}_tried"] for call in CALLS) > 20,
        "twenty of each",
    )


def test_calls_are_counted_and_none_fails(guest: Guest) -> None:
    storm(guest, "--program", "/bin/true")
    found = guest.page.read(3, "storm")
    assert not [name for name in found if name.endswith(("_no_memory", "_again", "_other")) and found[name]]
    guest.page.control(3, Control.STOP)
    guest.until(lambda: guest.page.state(3) is State.DONE, "the end")


def test_a_call_that_fails_is_counted_by_its_class(guest: Guest) -> None:
    storm(guest, "--program", "/nonexistent/true", "--file", "/nonexistent/file")
    found = guest.page.read(3, "storm")
    assert found["exec_other"] > 15 and found["open_other"] > 15
    assert found["exec_no_memory"] == found["open_again"] == found["fork_other"] == 0


def test_a_program_that_is_killed_counts_as_failed(guest: Guest, tmp_path: Path) -> None:
    program = tmp_path / "dies"
    program.write_text("#!/bin/sh\nkill -KILL $$\n")
    program.chmod(0o755)
    storm(guest, "--program", str(program))
    assert guest.page.read(3, "storm")["exec_other"] > 15


@pytest.mark.parametrize("limit", ["--nofile=12", "--as=41943040"])
def test_limits_make_calls_fail(guest: Guest, limit: str) -> None:
    """Of open files: EMFILE is of the other ones. Of address space: ENOMEM."""
    child = subprocess.Popen(
        ["prlimit", limit, *guest.argv("storm", 3, "--pause-ms", "1", "--program", "/bin/true")]
    )
    guest.started.append(child)
    guest.until(lambda: guest.page.state(3) is State.READY, "the storm is ready")
    limits = {"--nofile=12": ("--nofile=3", "open_other"), "--as=41943040": ("--as=8192", "mmap_no_memory")}
    later, field = limits[limit]
    subprocess.run(["prlimit", "--pid", str(child.pid), later], check=True, timeout=LIMIT_S)
    guest.page.control(3, Control.RUN)
    guest.until(lambda: guest.page.read(3, "storm")[field] > 10, f"ten failures: {field}")


# --- the flood's TCP connections

DATA_SEGMENTS_IN = 152
"""Offset of tcpi_data_segs_in in struct tcp_info (include/uapi/linux/tcp.h): segments that came with data."""


@contextmanager
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(LIMIT_S)
        yield listening


def flood_over_tcp(guest: Guest, listening: socket.socket, *options: str, connections: int = 1) -> None:
    """No datagrams: what is counted is TCP's."""
    port = str(listening.getsockname()[1])
    guest.start(
        "flood", 4, "--to", "127.0.0.1", "--port", "1", "--ports", "0", "--tcp-port", port,
        "--tcp-connections", str(connections), *options,
    )  # fmt: skip
    guest.page.control(4, Control.RUN)


def pause(guest: Guest) -> dict[str, int]:
    guest.page.control(4, Control.STOP)
    guest.until(lambda: guest.page.state(4) is State.READY, "the flood's pause")
    return guest.page.read(4, "flood")


def read_all(connection: socket.socket) -> int:
    """To the end; how many bytes came."""
    count = 0
    while data := connection.recv(1 << 16):
        count += len(data)
    return count


def segments(connection: socket.socket) -> int:
    told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    return int.from_bytes(told[DATA_SEGMENTS_IN : DATA_SEGMENTS_IN + 4], sys.byteorder)


def test_messages_over_tcp_keep_their_rate_and_their_sizes(guest: Guest) -> None:
    rate, for_s = 400, 0.5
    with listener() as listening:
        begin = time.monotonic()
        flood_over_tcp(guest, listening, "--tcp-rate", str(rate), "--tcp-sizes", "300:3,100:1")
        with listening.accept()[0] as connection:
            time.sleep(for_s)
            found = pause(guest)
            took_s = time.monotonic() - begin
            came = read_all(connection)
            assert segments(connection) == pytest.approx(found["tcp_messages"], rel=0.1)
    assert 0.4 * rate * for_s <= found["tcp_messages"] <= 1.1 * rate * took_s
    assert came == found["bytes_sent"] == pytest.approx(250 * found["tcp_messages"], rel=0.05)
    assert (found["packets_sent"], found["send_errors"]) == (0, 0)


def test_the_rate_is_of_all_connections_and_one_that_is_full_is_passed_over(guest: Guest) -> None:
    rate, size = 200, 50_000  # large ones fill what the sender's own socket may hold as well
    with listener() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        begin = time.monotonic()
        flood_over_tcp(
            guest, listening, "--tcp-rate", str(rate), "--tcp-sizes", f"{size}:1", connections=2
        )  # fmt: skip
        with listening.accept()[0] as read, listening.accept()[0]:
            came = 0
            while time.monotonic() < begin + 2.0:
                came += len(read.recv(1 << 16))
            found, took_s = pause(guest), time.monotonic() - begin
            came += read_all(read)
            kept = found["bytes_sent"] - came
    assert 0.3 * rate * 2.0 <= found["tcp_messages"] <= 1.1 * rate * took_s
    assert came > 2 * kept > 0, "the one that is not read took its share all along"


def is_full(guest: Guest) -> bool:
    """Nothing more is taken over as long as some hundred messages take."""
    before = guest.page.read(4, "flood")["tcp_messages"]
    time.sleep(0.1)
    return before > 400 and guest.page.read(4, "flood")["tcp_messages"] == before


def test_small_messages_that_wait_for_room_stay_segments_of_their_own(guest: Guest) -> None:
    with listener() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        flood_over_tcp(guest, listening, "--tcp-rate", "0", "--tcp-sizes", "64:1")
        with listening.accept()[0] as connection:
            guest.until(lambda: is_full(guest), "a connection that is full")
            found = pause(guest)
            came = read_all(connection)
            assert segments(connection) >= 0.9 * came / 64
    assert came == found["bytes_sent"]


def test_who_ends_a_connection_is_counted_and_not_asked_again(guest: Guest) -> None:
    with listener() as listening:
        flood_over_tcp(guest, listening, "--tcp-rate", "500", "--tcp-sizes", "64:1", connections=2)
        with listening.accept()[0] as first, listening.accept()[0]:
            guest.until(lambda: guest.page.read(4, "flood")["tcp_messages"] > 20, "twenty messages")
            first.close()
            guest.until(lambda: guest.page.read(4, "flood")["tcp_connections"] == 1, "one that is left")
            before = guest.page.read(4, "flood")["tcp_messages"]
            guest.until(lambda: guest.page.read(4, "flood")["tcp_messages"] > before + 20, "twenty more")
            assert pause(guest)["send_errors"] == 1


# --- blocks of several pages


def test_a_deed_keeps_every_fourth_page_in_place(guest: Guest) -> None:
    child = guest.start("deed-shatter", 3, "--bytes", str(30 * PAGE_BYTES), "--keep", "4")
    before = locked_pages(child.pid)
    guest.page.control(3, Control.RUN)
    guest.until(lambda: guest.page.read(3, "deed")["done"] == 1, "the deed")
    assert guest.page.read(3, "deed")["hit"] == 8
    assert locked_pages(child.pid) - before == 8
    guest.page.control(3, Control.STOP)
    guest.until(lambda: guest.page.state(3) is State.DONE, "the end")


def locked_pages(pid: int) -> int:
    found = re.search(r"^VmLck:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024 // PAGE_BYTES


def test_blocks_are_asked_for_and_come(guest: Guest) -> None:
    # of order 2, since an ordinary user's pipe may not be larger than 1 MiB
    guest.start("blocks", 3, "--order", "2", "--every-ms", "1")
    guest.page.control(3, Control.RUN)
    guest.until(lambda: guest.page.read(3, "blocks")["got"] >= 3, "three blocks")
    guest.page.control(3, Control.STOP)
    guest.until(lambda: guest.page.state(3) is State.DONE, "the end")
    found = guest.page.read(3, "blocks")
    assert found["tried"] == found["got"] and found["refused"] == 0 and found["order"] == 2


def test_the_vm_sampler_counts_free_blocks_by_order(guest: Guest) -> None:
    guest.start("vmsampler", 2, "--period-ms", "10")
    sample = guest.page.read(2, "vmsampler")
    zones = re.findall(r"^Node +\d+, zone +\S+ +(.*)$", Path("/proc/buddyinfo").read_text(), re.MULTILINE)
    pages = sum(int(count) << order for zone in zones for order, count in enumerate(zone.split()))
    seen = sum(sample[f"free_blocks_{order}"] << order for order in range(11))
    assert seen == pytest.approx(pages, rel=0.2) and seen > 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["anonymous", "--bytes", "8192", "--mapped", "4096"], "with --file"),
        (["anonymous", "--bytes", "8192", "--order", "exchange"], "with --port and --next-port"),
        (["anonymous", "--bytes", "8192", "--order", "sideways"], "random, linear or exchange"),
        (["blocks", "--order", "9"], "2 to 8"),
        (["flood", "--tcp-rate", "9"], "are of --tcp-connections"),
        (["flood", "--tcp-connections", "257"], "--tcp-connections: up to 256"),
        (
            ["flood", "--to", "127.0.0.1", "--tcp-connections", "1", "--tcp-sizes", ""],
            "--tcp-sizes: not empty",
        ),
        (["flood", "--sizes", "1:200,2:57"], "weights that sum up to 256 at most"),
        (["deed-shatter", "--bytes", "40960", "--keep", "1"], "--keep of at least 2"),
    ],
)
def test_wrong_options_are_refused(agent: Path, arguments: list[str], complaint: str) -> None:
    done = subprocess.run([str(agent), *arguments], capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 2
    assert complaint in done.stderr
