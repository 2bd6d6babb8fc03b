"""Owns libvirt: the connection and its events, and each guest as a handle that never waits for the guest.

The same code serves a lab's private daemon, `qemu:///system` and `qemu+ssh://`: only the URI differs.
"""

from __future__ import annotations

import json
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import libvirt
import libvirt_qemu

from testbed.clock import Deadline, poll
from testbed.errors import TestbedFault
from testbed.machines.domain import GuestSpec, render

SYSRQ_TIMEOUT_S = 4.0
RESET_TIMEOUT_S = 5.0
SYSRQ_ANSWER = b"sysrq: "
"""How the kernel says what it is going to do (drivers/tty/sysrq.c)."""
SERIAL = "charserial0"
"""libvirt's alias of the first serial port's character device."""

_STATES = {
    libvirt.VIR_DOMAIN_NOSTATE: "unknown",
    libvirt.VIR_DOMAIN_RUNNING: "running",
    libvirt.VIR_DOMAIN_BLOCKED: "running",
    libvirt.VIR_DOMAIN_PAUSED: "paused",
    libvirt.VIR_DOMAIN_SHUTDOWN: "ending",
    libvirt.VIR_DOMAIN_SHUTOFF: "off",
    libvirt.VIR_DOMAIN_CRASHED: "crashed",
}
_loop_started = threading.Lock()


def _start_event_loop() -> None:
    """libvirt's own loop, registered before the first connection, in a thread for the life of the process."""
    if not _loop_started.acquire(blocking=False):
        return
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    libvirt.virEventRegisterDefaultImpl()

    def loop() -> None:
        while True:
            libvirt.virEventRunDefaultImpl()

    threading.Thread(target=loop, name="libvirt-events", daemon=True).start()


@contextmanager
def _ours(doing: str) -> Iterator[None]:
    try:
        yield
    except libvirt.libvirtError as error:
        raise TestbedFault(f"cannot {doing}: {error}") from error


class Hypervisor:
    """A connection, a context manager. Closing it leaves the guests alone."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._connection: Any = None

    def __enter__(self) -> Self:
        _start_event_loop()
        with _ours(f"reach libvirt at {self.uri}"):
            self._connection = libvirt.open(self.uri)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except libvirt.libvirtError:
                pass  # the daemon is gone, and the connection with it

    @property
    def version(self) -> str:
        """`libvirt 9.0.0, QEMU 7.2.22`, for the record."""
        with _ours("ask for versions"):
            numbers = (self._connection.getLibVersion(), self._connection.getVersion())
        return ", ".join(
            f"{name} {number // 1000000}.{number // 1000 % 1000}.{number % 1000}"
            for name, number in zip(("libvirt", "QEMU"), numbers, strict=True)
        )

    def start(self, guest: GuestSpec, *, validate: bool = False) -> Domain:
        """Starts a guest; it is gone from libvirt when it ends. `validate` asks libvirt's schema first."""
        flags = libvirt.VIR_DOMAIN_START_VALIDATE if validate else 0
        with _ours(f"start guest '{guest.name}'"):
            return Domain(self._connection.createXML(render(guest), flags))

    def start_all(self, guests: Sequence[GuestSpec]) -> dict[str, Domain]:
        """Starts guests side by side, by name. If one fails, those that started are ended."""
        with ThreadPoolExecutor(max(1, len(guests))) as pool:
            started = [pool.submit(self.start, guest) for guest in guests]
        errors = [error for future in started if (error := future.exception())]
        if errors:
            for future in started:
                if future.exception() is None:
                    future.result().destroy()
            raise errors[0]
        return {guest.name: future.result() for guest, future in zip(guests, started, strict=True)}

    def domains(self) -> dict[str, Domain]:
        """The guests that run, by name."""
        with _ours("list guests"):
            return {domain.name(): Domain(domain) for domain in self._connection.listAllDomains()}


class Domain:
    """A running guest. Nothing here needs the guest's help; errors are TestbedFault."""

    def __init__(self, domain: Any) -> None:
        self._domain = domain
        self.name: str = domain.name()

    def state(self) -> str:
        """`running`, `paused`, `crashed`, `ending`, `off` or `unknown`."""
        try:
            return _STATES.get(self._domain.state()[0], "unknown")
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return "off"
            raise TestbedFault(f"cannot ask for the state of '{self.name}': {error}") from error

    def pause(self) -> None:
        """Stops its CPUs (QMP stop); nothing happens if they stand already."""
        if self.state() == "running":
            with _ours(f"pause '{self.name}'"):
                self._domain.suspend()

    def resume(self) -> None:
        """Lets its CPUs go on; nothing happens if they run already."""
        if self.state() == "paused":
            with _ours(f"resume '{self.name}'"):
                self._domain.resume()

    def destroy(self) -> None:
        """Ends it at once. Idempotent."""
        try:
            self._domain.destroy()
        except libvirt.libvirtError as error:
            codes = (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID)
            if error.get_error_code() not in codes:
                raise TestbedFault(f"cannot end '{self.name}': {error}") from error

    def reset(self) -> None:
        """Presses its reset button; it boots anew. Returns when QEMU has told of it. Raises TestbedFault."""
        told = threading.Event()
        kind = libvirt.VIR_DOMAIN_EVENT_ID_REBOOT
        connection = self._domain.connect()
        with _ours(f"reset '{self.name}'"):
            heard = connection.domainEventRegisterAny(self._domain, kind, lambda *_words: told.set(), None)
            try:
                self._domain.reset()
                if not told.wait(RESET_TIMEOUT_S):
                    raise TestbedFault(f"QEMU does not tell that '{self.name}' was reset")
            finally:
                connection.domainEventDeregisterAny(heard)

    def set_link(self, tap: str, up: bool) -> None:
        """Plugs or unplugs the cable of the NIC behind the tap: the guest sees its carrier change."""
        nic = self._nic(tap)
        for old in nic.findall("link"):
            nic.remove(old)
        ElementTree.SubElement(nic, "link", state="up" if up else "down")
        with _ours(f"set the link of '{tap}'"):
            self._domain.updateDeviceFlags(
                ElementTree.tostring(nic, encoding="unicode"), libvirt.VIR_DOMAIN_AFFECT_LIVE
            )

    def link(self, tap: str) -> bool:
        """Whether that cable is plugged in."""
        link = self._nic(tap).find("link")
        return link is None or link.get("state") != "down"

    def qmp(self, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
        """One QMP command; its `return`. Raises TestbedFault with QEMU's words."""
        request: dict[str, Any] = {"execute": command}
        if arguments:
            request["arguments"] = dict(arguments)
        with _ours(f"ask QEMU of '{self.name}'"):
            reply = json.loads(libvirt_qemu.qemuMonitorCommand(self._domain, json.dumps(request), 0))
        if "error" in reply:
            raise TestbedFault(f"QMP {command}: {reply['error'].get('desc')}")
        return reply["return"]

    def vcpu_threads(self) -> tuple[int, ...]:
        """Thread ids of its CPUs, as the sandbox has them."""
        return tuple(cpu["thread-id"] for cpu in self.qmp("query-cpus-fast"))

    def block_stats(self, serial_or_target: str) -> dict[str, int]:
        """`read_ops`, `read_bytes`, `write_ops`, `write_bytes` of a disk since the guest's start."""
        with _ours(f"ask for the statistics of '{serial_or_target}'"):
            numbers = self._domain.blockStats(self._target(serial_or_target))
        return dict(zip(("read_ops", "read_bytes", "write_ops", "write_bytes"), numbers, strict=False))

    def dump(self, path: Path) -> None:
        """A dump of its memory, ELF. The guest stands still meanwhile.

        Not one of the compressed formats: QEMU compresses while the guest stands, which takes ten times
        as long (docs/decisions/0010).
        """
        with _ours(f"dump '{self.name}'"):
            self._domain.coreDumpWithFormat(
                str(path), libvirt.VIR_DOMAIN_CORE_DUMP_FORMAT_RAW, libvirt.VIR_DUMP_MEMORY_ONLY
            )

    def sysrq(self, key: str, heard: Callable[[], bool] = lambda: False) -> bool:
        """BREAK, then the key, on the serial console; returns whether the kernel answered there.

        QEMU looks for a reader of its pty once a second, so the line is held open until the answer,
        until `heard` (say: the console has grown), or until a few seconds are over.
        """
        if len(key) != 1 or not key.isalnum():
            raise ValueError(f"{key!r} is no SysRq key")
        with _ours(f"send SysRq-{key} to '{self.name}'"), self._console() as stream:
            self.qmp("chardev-send-break", {"id": SERIAL})
            stream.send(key.encode())
            end, said, answered = Deadline.after(SYSRQ_TIMEOUT_S, "SysRq"), b"", False
            while end.left_s > 0 and not answered and not heard():
                # A pty that nobody reads would hold up the guest's console.
                while isinstance(data := stream.recv(4096), bytes) and data:
                    said = said[-len(SYSRQ_ANSWER) :] + data
                    answered = answered or SYSRQ_ANSWER in said
                time.sleep(0.05)
        return answered

    @contextmanager
    def _console(self) -> Iterator[Any]:
        stream = self._domain.connect().newStream(libvirt.VIR_STREAM_NONBLOCK)
        self._domain.openConsole(None, stream, libvirt.VIR_DOMAIN_CONSOLE_FORCE)
        try:
            yield stream
        finally:
            stream.abort()

    def await_off(self, timeout_s: float) -> None:
        """Waits until it has ended. Raises TestbedFault at the time limit."""
        poll(lambda: self.state() == "off", Deadline.after(timeout_s, f"end of guest '{self.name}'"))

    def _description(self) -> ElementTree.Element:
        with _ours(f"describe '{self.name}'"):
            return ElementTree.fromstring(self._domain.XMLDesc())

    def _nic(self, tap: str) -> ElementTree.Element:
        for nic in self._description().iterfind("devices/interface"):
            target = nic.find("target")
            if target is not None and target.get("dev") == tap:
                return nic
        raise TestbedFault(f"guest '{self.name}' has no NIC on '{tap}'")

    def _target(self, serial_or_target: str) -> str:
        for disk in self._description().iterfind("devices/disk"):
            target = disk.find("target")
            name = "" if target is None else target.get("dev", "")
            if serial_or_target in (name, disk.findtext("serial")):
                return name
        raise TestbedFault(f"guest '{self.name}' has no disk '{serial_or_target}'")
