"""The guest's agent, compiled and run on this host over an ordinary file for a page. Needs gcc only."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import pytest
from agents import LIMIT_S, PAGE_BYTES, Guest, programs_on

from testbed.images import programs
from testbed.witnesses.page import Control, State


@pytest.mark.agent
def test_a_daemon_is_locked_before_it_begins_and_in_each_child(tmp_path: Path) -> None:
    """As nbd-server's: a process that is forked for a client has no locks of its parent's."""
    programs.compile_preloads(tmp_path)
    tell = 'while read -r word rest; do [ "$word" = VmLck: ] && echo "$rest"; done </proc/self/status'
    for mode in ("", "on-fault", "filled"):
        settings = {"TESTBED_MLOCKALL": mode} if mode else {}
        env = {"LD_PRELOAD": str(tmp_path / "daemon.so"), "PATH": os.environ["PATH"], **settings}
        done = subprocess.run(["dash", "-c", f"{tell}; ( {tell} )"], env=env, capture_output=True, text=True)
        amounts = [int(line.split()[0]) for line in done.stdout.splitlines()]
        assert (len(amounts), done.stderr) == (2, "")
        assert all((amount > 0) == bool(mode) for amount in amounts)


@pytest.mark.agent
def test_a_daemon_whose_setting_fails_does_not_begin(tmp_path: Path) -> None:
    """No kernel of this project's hosts knows the patch set's prctl, nor is there such a group."""
    programs.compile_preloads(tmp_path)
    for name, value, says in (
        ("TESTBED_MEMALLOC", "1", "testbed: TESTBED_MEMALLOC: "),
        ("TESTBED_CGROUP", str(tmp_path), f"testbed: {tmp_path}/cgroup.procs: No such file"),
    ):
        env = {"LD_PRELOAD": str(tmp_path / "daemon.so"), name: value}
        done = subprocess.run(["/bin/echo", "began"], env=env, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (71, "") and done.stderr.startswith(says)


@pytest.fixture
def guest(agent: Path, tmp_path: Path) -> Iterator[Guest]:
    with programs_on(agent, tmp_path) as guest:
        yield guest


def load_area(pid: int, pages: int) -> int:
    """The address of the load's area: every page of it begins with its own index."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            start, end = (int(x, 16) for x in line.split()[0].split("-"))
            for address in range(start, end - pages * PAGE_BYTES + 1, PAGE_BYTES):
                if "rw-p" in line and has_indices(memory, address, pages):
                    return address
    raise AssertionError("no such mapping")


def has_indices(memory: IO[bytes], address: int, pages: int) -> bool:
    for index in range(pages):
        memory.seek(address + index * PAGE_BYTES)
        number, generation = struct.unpack("<QQ", memory.read(16))
        if number != index or generation == 0:
            return False
    return True


def test_the_heartbeat_beats_until_told_to_stop(guest: Guest) -> None:
    child = guest.start("heartbeat", 0, "--period-ms", "5")
    guest.until(lambda: guest.page.read(0, "machine")["beats"] > 10, "ten beats")
    before = guest.page.read(0, "machine")
    assert before["kind"] == guest.page.layout.kinds["machine"] and guest.page.state(0) is State.STARTING
    assert before["pid"] == child.pid
    assert abs(before["realtime_ns"] - time.time_ns()) < 1e9
    assert abs(before["beat_ns"] - time.monotonic_ns()) < 1e9
    guest.page.control(0, Control.STOP)
    assert child.wait(LIMIT_S) == 0
    assert guest.page.state(0) is State.DONE


def test_init_declares_the_machine_ready(guest: Guest) -> None:
    guest.start("heartbeat", 0)
    subprocess.run(guest.argv("ready", 0, "--failed-lines", "2", "--nic", "lo"), check=True, timeout=20)
    machine = guest.page.read(0, "machine")
    assert guest.page.state(0) is State.READY
    assert machine["failed_lines"] == 2 and machine["no_carrier"] == 0
    assert 0 < machine["mem_free_kib"] <= machine["mem_total_kib"]


def test_the_block_sampler_reads_what_the_kernel_says(guest: Guest) -> None:
    disk = next(p for p in sorted(Path("/sys/class/block").iterdir()) if (p / "stat").exists()).name
    guest.start("blocksampler", 1, "--block", disk, "--period-ms", "5")
    guest.until(lambda: guest.page.read(1, "blocksampler")["samples"] > 3, "three samples")
    sample = guest.page.read(1, "blocksampler")
    stat = [int(x) for x in Path(f"/sys/class/block/{disk}/stat").read_text().split()]
    zones = Path("/proc/zoneinfo").read_text()
    assert sample["min_pages"] == sum(int(x) for x in re.findall(r"^ +min +(\d+)$", zones, re.MULTILINE))
    assert sample["high_pages"] == sum(int(x) for x in re.findall(r"^ +high +(\d+)$", zones, re.MULTILINE))
    assert sample["free_pages"] > 0 and sample["devices"] == 1
    assert 0 <= stat[0] - sample["reads_completed_0"] < 10_000


def test_the_vm_sampler_reads_what_the_kernel_says(guest: Guest) -> None:
    guest.start("vmsampler", 2, "--period-ms", "10")
    sample = guest.page.read(2, "vmsampler")
    vmstat = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
    assert sample["pswpin"] == int(vmstat["pswpin"])
    assert 0 <= int(vmstat["pgmajfault"]) - sample["pgmajfault"] < 10_000
    assert sample["mem_available_kib"] > 0


def test_a_server_of_ublk_that_can_not_be_names_what_lacks(agent: Path, tmp_path: Path) -> None:
    argv = [str(agent), "ublk", "--file"]
    done = subprocess.run([*argv, str(tmp_path / "none")], capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 71 and f"{tmp_path}/none: No such file or directory" in done.stderr
    if Path("/dev/ublk-control").exists():
        return  # a device of the host's own is not for a test to make
    (tmp_path / "disk").write_bytes(bytes(1 << 20))
    done = subprocess.run([*argv, str(tmp_path / "disk")], capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 71 and "/dev/ublk-control: No such file or directory" in done.stderr


# As 6.1 prints it (fs/proc_namespace.c, fs/nfs/super.c, net/sunrpc/stats.c), less what is not read.
NFS_MOUNT = """device 10.77.1.3:{export} mounted on {where} with fstype nfs statvers=1.1
\topts:\trw,vers=3,hard
\tevents:\t0 0 0
\tRPC iostats version: 1.1  p/v: 100003/3 (nfs)
\txprt:\ttcp 800 1 2 0 3 {sends} {receives} 0 9 {backlog} 2 0 0
\tper-op statistics
\t        NULL: 1 1 0 44 24 0 0 0 0
\t        READ: {reads} 12 0 1 1 0 0 0 0
\t       WRITE: {writes} 12 0 1 1 0 0 0 0

"""
KEYS = ("export", "where", "sends", "receives", "backlog", "reads", "writes")
ROOT = dict(zip(KEYS, ("/srv/root", "/", 900, 800, 70, 800, 0), strict=True))
SWAP = dict(zip(KEYS, ("/srv/swap", "/run/swap", 50, 43, 6, 11, 32), strict=True))
OTHER = {**ROOT, "export": "/srv/swap2", "where": "/run/swap2"}


@pytest.mark.namespace
@pytest.mark.parametrize("order", [(ROOT, SWAP, OTHER), (OTHER, SWAP), (ROOT, OTHER)])
def test_the_vm_sampler_counts_the_requests_of_the_swap_alone(
    guest: Guest, tmp_path: Path, order: tuple[dict[str, object], ...]
) -> None:
    """In a file system of its own, so that the kernel's file may be covered by ours."""
    text = "no device mounted on /proc with fstype proc\n" + "".join(NFS_MOUNT.format(**one) for one in order)
    (tmp_path / "mountstats").write_text(text)
    covered = 'mount --bind "$1" "/proc/$$/mountstats" && shift && exec "$@"'
    sampler = guest.argv("vmsampler", 2, "--nfs", "/run/swap")
    argv = ["unshare", "-Urm", "sh", "-c", covered, "sh", str(tmp_path / "mountstats"), *sampler]
    guest.started.append(subprocess.Popen(argv))
    guest.until(lambda: guest.page.state(2) is State.RUNNING, "the sampler samples")
    sample = guest.page.read(2, "vmsampler")
    names = ("rpc_sends", "rpc_receives", "rpc_backlog", "rpc_in_flight", "rpc_data_done")
    expected = (50, 43, 6, 7, 43) if SWAP in order else (0, 0, 0, 0, 0)
    assert tuple(sample[name] for name in names) == expected


def test_a_device_that_is_not_there_is_an_error_told_to_the_caller(guest: Guest) -> None:
    argv = guest.argv("blocksampler", 1, "--block", "nosuch0", "--detach")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=10)
    assert done.returncode == 1
    assert "nosuch0/stat: No such file or directory" in done.stderr
    assert guest.page.state(1) is State.FAILED
    assert guest.page.read(1, "blocksampler")["error"] == 2


def test_the_load_fills_works_and_sweeps(guest: Guest) -> None:
    guest.start("anonymous", 3, "--bytes", str(64 * PAGE_BYTES), "--seed", "5")
    assert guest.page.read(3, "anonymous")["pages_filled"] == 0
    guest.page.control(3, Control.RUN)
    guest.until(lambda: guest.page.read(3, "anonymous")["work_units"] > 300_000 // 10, "work")
    guest.page.control(3, Control.SWEEP)
    guest.until(lambda: guest.page.read(3, "anonymous")["sweeps_done"] == 1, "a sweep")
    load = guest.page.read(3, "anonymous")
    assert load["pages_total"] == load["pages_filled"] == load["sweep_pages"] == 64
    assert load["bad_pages"] == load["sweep_bad_pages"] == load["first_bad_page"] == 0
    guest.page.control(3, Control.STOP)
    guest.until(lambda: guest.page.state(3) is State.DONE, "the end")


def resting_loads(guest: Guest, pages: int, *slots: int) -> list[tuple[subprocess.Popen[bytes], int]]:
    """Loads that have filled their pages, worked on page 0, and rest until told otherwise; their areas."""
    options = ("--bytes", str(pages * PAGE_BYTES), "--order", "linear", "--pause-us", "60000000")
    children = [guest.start("anonymous", slot, *options) for slot in slots]
    tell(guest, slots, Control.RUN, lambda load: load["work_units"] == 1, "the first unit")
    return [(child, load_area(child.pid, pages)) for child in children]


def tell(
    guest: Guest, slots: Sequence[int], control: Control, done: Callable[[Mapping[str, int]], bool], what: str
) -> None:
    """Tells all loads the same, and waits until each has done it."""
    for slot in slots:
        guest.page.control(slot, control)
    guest.until(lambda: all(done(guest.page.read(slot, "anonymous")) for slot in slots), what)


def test_one_wrong_byte_is_a_bad_page_counted_once(guest: Guest) -> None:
    """In each load another byte is changed behind its back, through /proc/PID/mem, while it rests."""
    pages, victim = 16, 11
    offsets = {3: 0, 4: 8, 5: 16, 6: 2000, 7: 4095}
    loads = resting_loads(guest, pages, *offsets)
    for (child, area), offset in zip(loads, offsets.values(), strict=True):
        with Path(f"/proc/{child.pid}/mem").open("r+b", buffering=0) as memory:
            memory.seek(area + victim * PAGE_BYTES + offset)
            byte = memory.read(1)[0]
            memory.seek(area + victim * PAGE_BYTES + offset)
            memory.write(bytes([byte ^ 0x10]))
    slots = tuple(offsets)
    for sweep in (1, 2):
        tell(guest, slots, Control.SWEEP, lambda load, sweep=sweep: load["sweeps_done"] == sweep, "a sweep")  # type: ignore[misc]
        for slot, offset in offsets.items():
            bad = guest.page.read(slot, "anonymous")["sweep_bad_pages"]
            assert bad == (1 if sweep == 1 else 0), f"byte {offset}, sweep {sweep}"
        tell(guest, slots, Control.RUN, lambda load: load["control_seen"] == Control.RUN, "a rest")
    for slot, (child, _) in zip(slots, loads, strict=True):
        load = guest.page.read(slot, "anonymous")
        assert (load["bad_pages"], load["stale_pages"], load["lost_pages"]) == (1, 0, 0), offsets[slot]
        assert load["first_bad_page"] == victim + 1
        assert child.poll() is None


def test_a_page_that_fell_back_to_an_older_generation_is_stale(guest: Guest) -> None:
    pages, victim = 4, 1
    ((child, area),) = resting_loads(guest, pages, 3)
    with Path(f"/proc/{child.pid}/mem").open("r+b", buffering=0) as memory:
        memory.seek(area + victim * PAGE_BYTES)
        old = memory.read(PAGE_BYTES)
        guest.page.control(3, Control.NONE)  # any new word ends the rest: the second unit is page 1's
        guest.until(lambda: guest.page.read(3, "anonymous")["work_units"] == 2, "the second unit")
        memory.seek(area + victim * PAGE_BYTES)
        assert memory.read(PAGE_BYTES) != old
        memory.seek(area + victim * PAGE_BYTES)
        memory.write(old)
    guest.page.control(3, Control.SWEEP)
    guest.until(lambda: guest.page.read(3, "anonymous")["sweeps_done"] == 1, "a sweep")
    load = guest.page.read(3, "anonymous")
    assert (load["bad_pages"], load["stale_pages"], load["first_bad_page"]) == (1, 1, victim + 1)


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_the_service_reads_what_the_flood_sends(guest: Guest) -> None:
    port, tcp_port = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM)
    guest.start(
        "service", 3, "--port", str(port), "--sockets", "1", "--rcvbuf", "200000", "--memory", "1000000",
        "--consumers", "2", "--tcp-port", str(tcp_port),
    )  # fmt: skip
    service = guest.page.read(3, "service")
    assert service["memory_pages"] == 244 and service["consumers"] == 2
    # What the kernel holds, not half of it: it doubles what it is given.
    assert (service["rcvbuf_bytes"], service["tcp_rcvbuf_bytes"]) == (200000, 200000)
    guest.start(
        "flood", 4, "--to", "127.0.0.1", "--port", str(port), "--ports", "1", "--rate", "2000",
        "--sizes", "1400:3,64:1", "--tcp-port", str(tcp_port), "--tcp-connections", "2",
    )  # fmt: skip
    guest.page.control(4, Control.RUN)
    guest.until(lambda: guest.page.read(3, "service")["packets"] >= 400, "400 packets")
    guest.until(lambda: guest.page.read(3, "service")["tcp_reads"] > 0, "bytes over TCP")
    assert guest.page.read(3, "service")["tcp_connections"] == 2
    guest.page.control(4, Control.STOP)
    guest.until(lambda: guest.page.state(4) is State.READY, "the flood's pause")
    flood = guest.page.read(4, "flood")
    assert flood["runs"] == 1 and flood["send_errors"] == 0
    guest.until(lambda: guest.page.read(3, "service")["packets"] == flood["packets_sent"], "the last packet")
    guest.until(lambda: guest.page.read(3, "service")["bytes"] == flood["bytes_sent"], "the last byte")
    assert guest.page.read(3, "service")["consumers_waiting"] == 0
    guest.page.control(4, Control.QUIT)
    guest.until(lambda: guest.page.state(4) is State.DONE, "the flood's end")


def test_a_service_that_does_not_read_keeps_what_has_come(guest: Guest) -> None:
    port, tcp_port = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM)
    guest.start(
        "service", 3, "--port", str(port), "--sockets", "1", "--rcvbuf", "100000", "--consumers", "1",
        "--tcp-port", str(tcp_port), "--unread", "1",
    )  # fmt: skip
    guest.start(
        "flood", 4, "--to", "127.0.0.1", "--port", str(port), "--ports", "1", "--rate", "0",
        "--tcp-port", str(tcp_port), "--tcp-connections", "2",
    )  # fmt: skip
    guest.page.control(4, Control.RUN)
    guest.until(lambda: guest.page.read(3, "service")["tcp_connections"] == 2, "two connections")
    guest.until(lambda: guest.page.read(4, "flood")["bytes_sent"] > 400_000, "more than fits")
    guest.page.control(4, Control.STOP)
    guest.until(lambda: guest.page.state(4) is State.READY, "the flood's pause")
    service = guest.page.read(3, "service")
    assert (service["packets"], service["bytes"], service["tcp_reads"]) == (0, 0, 0)


@pytest.mark.namespace
def test_lone_fragments_are_kept_by_who_gets_them(guest: Guest) -> None:
    """In a network of its own: raw sockets want rights, and who reassembles is the kernel under our feet."""
    own_network = ["unshare", "-Urn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    options = ("--to", "127.0.0.1", "--port", "7000", "--ports", "2", "--rate", "0", "--lone", "1")
    child = subprocess.Popen([*own_network, *guest.argv("flood", 4, *options)])
    guest.started.append(child)
    guest.until(lambda: guest.page.state(4) is State.READY, "the flood is ready")
    guest.page.control(4, Control.RUN)
    guest.until(lambda: guest.page.read(4, "flood")["packets_sent"] >= 500, "500 fragments")
    guest.page.control(4, Control.STOP)
    guest.until(lambda: guest.page.state(4) is State.READY, "the flood's pause")
    net = Path(f"/proc/{child.pid}/net")
    kept = re.search(r"^FRAG: inuse (\d+) memory (\d+)$", (net / "sockstat").read_text(), re.MULTILINE)
    assert kept is not None and int(kept[1]) >= 400 and int(kept[2]) >= 400 * 1400
    assert guest.page.read(4, "flood")["send_errors"] == 0
    names, values = (line.split() for line in (net / "snmp").read_text().splitlines()[:2])
    ip = dict(zip(names[1:], map(int, values[1:]), strict=True))
    assert ip["ReasmReqds"] == guest.page.read(4, "flood")["packets_sent"] and ip["ReasmOKs"] == 0


def test_the_flood_keeps_its_rate(guest: Guest) -> None:
    port, rate, for_s = free_port(socket.SOCK_DGRAM), 200, 0.25
    guest.start("service", 3, "--port", str(port), "--sockets", "1")
    guest.start("flood", 4, "--to", "127.0.0.1", "--port", str(port), "--ports", "1", "--rate", str(rate))
    begin = time.monotonic()
    guest.page.control(4, Control.RUN)
    time.sleep(for_s)
    guest.page.control(4, Control.STOP)
    guest.until(lambda: guest.page.state(4) is State.READY, "the flood's pause")
    took_s = time.monotonic() - begin
    assert 0.4 * rate * for_s <= guest.page.read(4, "flood")["packets_sent"] <= 1.4 * rate * took_s


def test_a_job_tells_its_exit_status(guest: Guest, tmp_path: Path) -> None:
    log = tmp_path / "log"
    guest.start("job", 3, "--log", str(log), "--", "/bin/sh", "-c", "echo out; exit 3")
    assert guest.page.read(3, "job")["exit_status_plus_1"] == 0
    guest.page.control(3, Control.RUN)
    guest.until(lambda: guest.page.state(3) is State.DONE, "the job's end")
    assert guest.page.read(3, "job")["exit_status_plus_1"] == 4
    assert log.read_text() == "out\n"


def test_a_job_is_stopped_with_its_children(guest: Guest) -> None:
    guest.start("job", 3, "--", "/bin/sh", "-c", "sleep 60; true")
    guest.page.control(3, Control.RUN)
    guest.until(lambda: guest.page.state(3) is State.RUNNING, "a running job")
    time.sleep(0.05)
    guest.page.control(3, Control.STOP)
    guest.until(lambda: guest.page.state(3) is State.DONE, "the job's end")
    assert guest.page.read(3, "job")["exit_status_plus_1"] == 128 + signal.SIGTERM + 1


def test_a_deed_stops_a_process_by_its_name_and_lets_it_go_on(guest: Guest, tmp_path: Path) -> None:
    name = f"victim-{os.getpid()}"  # on this host another run may have one
    shutil.copy("/bin/sleep", tmp_path / name)
    victim = subprocess.Popen([str(tmp_path / name), "60"])
    guest.started.append(victim)

    def state() -> str:
        return Path(f"/proc/{victim.pid}/stat").read_text().rpartition(")")[2].split()[0]

    # A new program is given its name only after Popen has heard that it runs (fs/exec.c, begin_new_exec).
    called = Path(f"/proc/{victim.pid}/comm")
    guest.until(lambda: called.read_text().strip() == name and state() == "S", "a victim that sleeps")
    stop = str(int(signal.SIGSTOP))
    guest.start("deed-kill", 3, "--process", name, "--signal", stop, "--resume-after-ms", "200")
    time.sleep(0.1)
    assert state() == "S"
    begin = time.monotonic()
    guest.page.control(3, Control.RUN)
    guest.until(lambda: state() == "T", "a stopped victim")
    guest.until(lambda: guest.page.state(3) is State.DONE, "the deed's end")
    assert time.monotonic() - begin >= 0.2
    guest.until(lambda: state() == "S", "a victim that goes on")
    deed = guest.page.read(3, "deed")
    assert (deed["hit"], deed["done"], deed["undone"]) == (1, 1, 1)


def test_a_deed_kills_the_process_of_another_slot(guest: Guest) -> None:
    heartbeat = guest.start("heartbeat", 0)
    guest.until(lambda: guest.page.read(0, "machine")["beats"] > 0, "a beat")
    guest.start("deed-kill", 3, "--victim", "0")
    assert heartbeat.poll() is None
    guest.page.control(3, Control.RUN)
    assert heartbeat.wait(LIMIT_S) == -signal.SIGKILL
    guest.until(lambda: guest.page.state(3) is State.DONE, "the deed's end")
    assert guest.page.read(3, "deed")["hit"] == 1


@pytest.mark.parametrize("victim", [("--process", "testbed-nobody"), ("--victim", "9")])
def test_a_deed_without_a_victim_is_an_error_before_the_moment(guest: Guest, victim: tuple[str, str]) -> None:
    argv = guest.argv("deed-kill", 3, *victim, "--detach")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 1
    assert "nobody there to be killed: No such process" in done.stderr
    assert guest.page.state(3) is State.FAILED


def test_a_deed_writes_its_word_at_the_moment_and_not_before(guest: Guest, tmp_path: Path) -> None:
    file = tmp_path / "printk"
    file.write_text("7\n")
    guest.start("deed-write", 3, "--file", str(file), "--text", "1")
    time.sleep(0.1)
    assert file.read_text() == "7\n"
    guest.page.control(3, Control.RUN)
    guest.until(lambda: guest.page.state(3) is State.DONE, "the deed's end")
    assert file.read_text() == "1\n"
    assert guest.page.read(3, "deed")["hit"] == 1


def test_a_deed_that_is_called_off_is_not_done(guest: Guest, tmp_path: Path) -> None:
    file = tmp_path / "printk"
    file.write_text("7")
    guest.start("deed-write", 3, "--file", str(file), "--text", "1")
    guest.page.control(3, Control.STOP)
    guest.until(lambda: guest.page.state(3) is State.DONE, "the end")
    assert file.read_text() == "7"
    assert guest.page.read(3, "deed")["hit"] == 0


def test_the_reader_counts_its_reads(guest: Guest, tmp_path: Path) -> None:
    file = tmp_path / "locked"
    file.write_text("1\n")
    guest.start("reader", 3, "--file", str(file), "--pause-ms", "1")
    assert guest.page.read(3, "reader")["reads"] == 0
    guest.page.control(3, Control.RUN)
    guest.until(lambda: guest.page.read(3, "reader")["reads"] > 20, "twenty reads")
    guest.page.control(3, Control.STOP)
    guest.until(lambda: guest.page.state(3) is State.DONE, "the end")


def test_the_writer_writes_its_file_over_and_over(guest: Guest, tmp_path: Path) -> None:
    file, block = tmp_path / "written", 64 << 10
    guest.start("writer", 3, "--file", str(file), "--bytes", str(3 * block + 1))
    assert guest.page.read(3, "writer")["bytes"] == 0
    guest.page.control(3, Control.RUN)
    guest.until(lambda: guest.page.read(3, "writer")["bytes"] > 10 * block, "more than the file holds")
    guest.page.control(3, Control.STOP)
    guest.until(lambda: guest.page.state(3) is State.DONE, "the end")
    assert file.stat().st_size == 3 * block
    assert guest.page.read(3, "writer")["bytes"] % block == 0


def test_a_writer_that_can_not_write_says_why(guest: Guest) -> None:
    guest.start("writer", 3, "--file", "/dev/full", "--bytes", "65536")
    guest.page.control(3, Control.RUN)
    guest.until(lambda: guest.page.state(3) is State.FAILED, "the failure")
    assert guest.page.read(3, "writer")["error"] == errno.ENOSPC


def test_detach_returns_when_the_slot_is_ready(guest: Guest) -> None:
    argv = guest.argv("anonymous", 6, "--bytes", "40960", "--detach")
    done = subprocess.run(argv, capture_output=True, timeout=LIMIT_S)
    assert done.returncode == 0
    assert guest.page.state(6) is State.READY
    pid = guest.page.read(6, "anonymous")["pid"]
    assert os.getsid(pid) == pid
    guest.page.control(6, Control.STOP)
    guest.until(lambda: guest.page.state(6) is State.DONE, "the end")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["anonymous", "--bytes", "1"], "at least one page"),
        (["anonymous", "--bites", "1"], "no option '--bites'"),
        (["anonymous", "--bytes", "many"], "'many' is not a number"),
        (["flood", "--to", "nowhere", "--port", "1"], "not an IPv4 address"),
        (["flood", "--to", "127.0.0.1", "--port", "1", "--sizes", "0:1"], "--sizes"),
        (["service", "--port", "65535"], "beyond"),
        (["deed-kill"], "one of --process NAME and --victim SLOT"),
        (["deed-kill", "--process", "x", "--victim", "3"], "one of --process NAME and --victim SLOT"),
        (["deed-write", "--file", "/dev/null"], "--file and --text are needed"),
        (["reader"], "--file is needed"),
        (["writer", "--file", "x"], "--bytes of 65536 at least"),
        (["ublk"], "--file is needed"),
        (["dance"], "usage: agent"),
    ],
)
def test_wrong_options_are_refused(agent: Path, arguments: list[str], complaint: str) -> None:
    done = subprocess.run([str(agent), *arguments], capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 2
    assert complaint in done.stderr
