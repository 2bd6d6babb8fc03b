"""Owns a sandbox from inside: PID 1 that reaps, keeps libvirtd, and answers the controller on a unix socket.

Started by sandbox.py as `python -m testbed.machines.broker FOLDER SHM_BYTES`, with the lifeline as
descriptor 3 and the readiness pipe as 4. When the lifeline closes (its holder ended, however), it
kills everything in the namespace, removes the lab's folder and exits.
"""

from __future__ import annotations

import ctypes
import logging
import os
import re
import select
import selectors
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from testbed.errors import TestbedError, TestbedFault
from testbed.machines import messages
from testbed.machines.crowd import Crowds
from testbed.machines.layout import BROKER_SOCKET, LIBVIRT_SOCKET
from testbed.machines.nft import Nft
from testbed.machines.relay import Relay
from testbed.machines.wire import Flow

LIFELINE_FD, READY_FD = 3, 4
SHM = Path("/dev/shm")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
CONNECT_TIMEOUT_S = 10.0
_MS_NOSUID_NODEV = 2 | 4

log = logging.getLogger("broker")

Answer = tuple[Any, int | None]
"""What an operation answers: a JSON value, and a descriptor to hand over (closed afterwards)."""


class Broker:
    """The operations: each a method `do_NAME` that takes the message's arguments."""

    def __init__(self, folder: Path) -> None:
        from testbed.machines import network  # after libvirtd was started: pyroute2 takes a while

        self._folder = folder
        self._lock = threading.Lock()
        self._module = network
        self._network = network.Network(Nft())
        self._crowds = Crowds()
        self.libvirtd_pid = 0
        self.ended: dict[int, int] = {}
        self.shutdown = socket.socketpair()

    def begin(self) -> None:
        with self._lock:
            self._network.begin()

    def answer(self, message: Mapping[str, Any]) -> Answer:
        """Does what a message asks. Raises TestbedError, ValueError, TypeError or OSError."""
        operation: Callable[..., Answer] | None = getattr(self, f"do_{message.get('do')}", None)
        if operation is None:
            raise TestbedFault(f"the broker knows no '{message.get('do')}'")
        return operation(**message.get("with", {}))

    # --- the network

    def do_make_link(self, bridge: str, address: str | None, mac: str, mtu: int) -> Answer:
        with self._lock:
            self._network.make_link(bridge, address, mac, mtu)
        return None, None

    def do_make_tap(self, tap: str, bridge: str, mac: str, queues: int, mtu: int, frames: int) -> Answer:
        with self._lock:
            self._network.make_tap(tap, bridge, mac, queues, mtu, frames)
        return None, None

    def do_count(self, name: str, flow: dict[str, Any]) -> Answer:
        with self._lock:
            self._network.count(name, Flow.from_json(flow))
        return None, None

    def do_block(self, name: str, flows: list[dict[str, Any]]) -> Answer:
        with self._lock:
            self._network.block(name, [Flow.from_json(flow) for flow in flows])
        return None, None

    def do_reset(self, name: str, flows: list[dict[str, Any]]) -> Answer:
        with self._lock:
            self._network.reset(name, [Flow.from_json(flow) for flow in flows])
        return None, None

    def do_damage(self, name: str, flows: list[dict[str, Any]], share: float) -> Answer:
        with self._lock:
            self._network.damage(name, [Flow.from_json(flow) for flow in flows], share)
        return None, None

    def do_readdress(self, name: str, tap: str, old: str, new: str) -> Answer:
        with self._lock:
            self._network.readdress(name, tap, old, new)
        return None, None

    def do_unblock(self, name: str) -> Answer:
        with self._lock:
            self._network.unblock(name)
        return None, None

    def do_blocked(self) -> Answer:
        with self._lock:
            return {name: asdict(count) for name, count in self._network.blocked().items()}, None

    def do_limit_rate(self, tap: str, bits_per_s: int) -> Answer:
        with self._lock:
            self._network.limit_rate(tap, bits_per_s)
        return None, None

    def do_delay(self, tap: str, seconds: float) -> Answer:
        with self._lock:
            self._network.delay(tap, seconds)
            relay = self._network.relay_of(tap)
            ended = None if relay is None else os.dup(relay.process)
        if ended is not None:
            threading.Thread(target=self._watch, args=(tap, relay, ended), daemon=True).start()
        return None, None

    def _watch(self, tap: str, relay: Relay, ended: int) -> None:
        """Waits for the end of a relay, and sees to it that frames pass then, whoever has ended it."""
        select.select([ended], [], [])
        os.close(ended)
        with self._lock:
            self._network.connect_past(tap, relay)

    def do_queues(self) -> Answer:
        with self._lock:
            return {tap: asdict(queue) for tap, queue in self._network.queues().items()}, None

    def do_counters(self) -> Answer:
        with self._lock:
            counted = self._network.counted()
        flows = {
            name: {side: asdict(count) for side, count in sides.items()} for name, sides in counted.items()
        }
        return {"taps": self._module.tap_counters(), "flows": flows}, None

    def do_connect(self, address: str, port: int, timeout_s: float = CONNECT_TIMEOUT_S) -> Answer:
        """A TCP connection to a guest, made in here and handed out."""
        return None, socket.create_connection((address, port), timeout=timeout_s).detach()

    # --- shared memory and threads

    def do_make_shared(self, name: str, size: int) -> Answer:
        """A new file of zeroes in the sandbox's /dev/shm."""
        fd = os.open(SHM / _checked(name), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.ftruncate(fd, size)
        return None, fd

    def do_shared_memory(self, name: str) -> Answer:
        return None, os.open(SHM / _checked(name), os.O_RDWR | os.O_CLOEXEC)

    def do_guest_memory(self, domain: str, writable: bool = False) -> Answer:
        """The file behind a guest's RAM; libvirt names it by the domain's number and name."""
        found = list(SHM.glob(f"libvirt/qemu/*-{_checked(domain)}/pc.ram"))
        if len(found) != 1:
            raise TestbedFault(f"{len(found)} files of guest memory for '{domain}'")
        return None, os.open(found[0], (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC)

    def do_thread_times(self, threads: list[int]) -> Answer:
        """By thread id as this namespace has it: ns on a CPU, ns waiting for one (proc(5), schedstat)."""
        times = {}
        for thread in threads:
            run_ns, delay_ns, _ = Path(f"/proc/{int(thread)}/schedstat").read_text().split()
            times[str(thread)] = [int(run_ns), int(delay_ns)]
        return times, None

    def do_crowd(self, name: str, threads: list[int], spinners: int) -> Answer:
        with self._lock:
            self._crowds.begin(_checked(name), threads, spinners)
        return None, None

    def do_disperse(self, name: str) -> Answer:
        with self._lock:
            self._crowds.end(name)
        return None, None

    def do_crowds(self) -> Answer:
        with self._lock:
            return self._crowds.spinning(), None

    def do_status(self) -> Answer:
        processes = sum(1 for entry in Path("/proc").iterdir() if entry.name.isdigit())
        return {"libvirtd": self.libvirtd_pid not in self.ended, "processes": processes}, None

    def do_shutdown(self) -> Answer:
        self.shutdown[1].send(b".")
        return None, None


def _checked(name: str) -> str:
    if not NAME.fullmatch(name):
        raise TestbedFault(f"'{name}' can not be a name here")
    return name


def serve(broker: Broker, channel: socket.socket) -> None:
    """Answers one controller until it hangs up."""
    with channel:
        while True:
            try:
                message, fds = messages.receive(channel)
            except (EOFError, OSError, ValueError):
                return
            for fd in fds:
                os.close(fd)
            try:
                value, handed = broker.answer(message)
                reply: dict[str, Any] = {"value": value}
            except TestbedError as error:
                reply = {"error": type(error).__name__, "message": str(error), "hint": error.hint}
                handed = None
            except OSError as error:
                reply, handed = {"error": "OSError", "errno": error.errno, "message": str(error)}, None
            except Exception as error:
                log.exception("%s", message)
                reply, handed = {"error": "TestbedFault", "message": f"in the broker: {error!r}"}, None
            try:
                messages.send(channel, reply, [handed] if handed is not None else [])
            except OSError:
                return
            finally:
                if handed is not None:
                    os.close(handed)


def start_libvirtd(folder: Path) -> int:
    """Starts the private daemon on a socket made here, so that nobody polls for it (sd_listen_fds(3))."""
    path = folder / LIBVIRT_SOCKET
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    program = shutil.which("libvirtd", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if program is None:
        raise TestbedFault("no program 'libvirtd' on this host", hint="apt-get install libvirt-daemon")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(16)
        pid = os.fork()
        if pid == 0:
            os.dup2(listener.fileno(), 3)  # replaces the lifeline's copy
            os.closerange(4, 64)
            names = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "libvirtd.socket"}
            os.execve(program, [program], {**os.environ, **names})
        return pid


def mount_own(shm_bytes: int) -> None:
    """A tmpfs of our own on /dev/shm: guests' memory and witness pages, gone with the namespace.

    And this network namespace's /sys, so that libvirt does not ask after the host's interfaces;
    hosts that hide parts of /sys refuse that, and it can be done without.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    flags = ctypes.c_ulong(_MS_NOSUID_NODEV)
    if libc.mount(b"testbed", str(SHM).encode(), b"tmpfs", flags, f"size={shm_bytes},mode=700".encode()) != 0:
        raise TestbedFault(f"cannot mount a tmpfs of {shm_bytes} bytes: {os.strerror(ctypes.get_errno())}")
    if libc.mount(b"testbed", b"/sys", b"sysfs", flags, None) != 0:
        log.info("no /sys of our own: %s", os.strerror(ctypes.get_errno()))


def _reaper(ended: dict[int, int]) -> Callable[[int, Any], None]:
    def reap(_signal: int, _frame: Any) -> None:
        try:
            while (child := os.waitpid(-1, os.WNOHANG))[0]:
                ended[child[0]] = child[1]
                while len(ended) > 1000:
                    del ended[next(iter(ended))]
        except ChildProcessError:
            pass

    return reap


def listen(broker: Broker, folder: Path) -> None:
    """Serves until the lifeline closes or somebody asks for the end."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(folder / BROKER_SOCKET))
    (folder / BROKER_SOCKET).chmod(0o600)
    listener.listen(16)
    waiting = selectors.DefaultSelector()
    waiting.register(listener, selectors.EVENT_READ)
    waiting.register(LIFELINE_FD, selectors.EVENT_READ)
    waiting.register(broker.shutdown[0], selectors.EVENT_READ)
    os.write(READY_FD, b"ready")
    os.close(READY_FD)
    while True:
        for key, _ in waiting.select():
            if key.fileobj is not listener:
                return
            channel, _ = listener.accept()
            threading.Thread(target=serve, args=(broker, channel), daemon=True).start()


def end_everything(folder: Path) -> None:
    """Kills all other processes of the namespace, waits for them, and removes the lab's folder."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        os.kill(-1, signal.SIGKILL)
        while True:
            os.waitpid(-1, 0)
    except (ProcessLookupError, ChildProcessError):
        pass
    shutil.rmtree(folder, ignore_errors=True)


def main(argv: list[str]) -> int:
    """PID 1 of the sandbox."""
    folder = Path(argv[1])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    try:
        mount_own(int(argv[2]))
        libvirtd_pid = start_libvirtd(folder)
        broker = Broker(folder)
        broker.libvirtd_pid = libvirtd_pid
        signal.signal(signal.SIGCHLD, _reaper(broker.ended))
        broker.begin()
        listen(broker, folder)
    except (TestbedError, OSError) as error:
        log.exception("the broker ends")
        try:
            os.write(READY_FD, f"{error}".encode()[:4000])
        except OSError:
            pass  # it was ready before, and nobody listens there any more
        return 1
    finally:
        end_everything(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
