"""Owns the controller's side of a broker: its operations as methods, its errors as ours."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from testbed.errors import MissingCapability, TestbedFault
from testbed.machines import messages
from testbed.machines.wire import SHORT_QUEUE_FRAMES, USUAL_MTU, Count, Flow, Queue

ANSWER_TIMEOUT_S = 10.0


class Broker:
    """A lab's broker, reached by its socket. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._channel: socket.socket | None = None

    def close(self) -> None:
        """Hangs up; the next call connects again."""
        with self._lock:
            self._hang_up()

    # --- the network

    def make_link(
        self,
        bridge: str,
        *,
        address: str | None = None,
        mac: str = "02:00:00:00:ff:01",
        mtu: int = USUAL_MTU,
    ) -> None:
        """A bridge; `address` ("10.1.0.1/24") is the host's on it."""
        self._ask("make_link", bridge=bridge, address=address, mac=mac, mtu=mtu)

    def make_tap(
        self,
        tap: str,
        bridge: str,
        *,
        mac: str = "",
        queues: int = 1,
        mtu: int = USUAL_MTU,
        frames: int = SHORT_QUEUE_FRAMES,
    ) -> None:
        """A tap on that bridge, for a guest to open by name; `mac` is its NIC's, which `reset` asks for."""
        self._ask("make_tap", tap=tap, bridge=bridge, mac=mac, queues=queues, mtu=mtu, frames=frames)

    def count(self, name: str, flow: Flow) -> None:
        """Counts a flow from now on; see `counters`."""
        self._ask("count", name=name, flow=flow.to_json())

    def block(self, name: str, flows: Sequence[Flow]) -> None:
        """Drops the flows silently. Read back; raises TestbedFault if it is not in force."""
        self._ask("block", name=name, flows=[flow.to_json() for flow in flows])

    def reset(self, name: str, flows: Sequence[Flow]) -> None:
        """Answers the flows' TCP segments with a reset: a block too. Raises MissingCapability."""
        self._ask("reset", name=name, flows=[flow.to_json() for flow in flows])

    def damage(self, name: str, flows: Sequence[Flow], share: float) -> None:
        """Turns bits in that share of the flows' packets, which arrive: a block in name only. Read back."""
        self._ask("damage", name=name, flows=[flow.to_json() for flow in flows], share=share)

    def readdress(self, name: str, tap: str, old: str, new: str) -> None:
        """Gives the machine behind the tap another address; what goes to the old is dropped. Read back."""
        self._ask("readdress", name=name, tap=tap, old=old, new=new)

    def unblock(self, name: str) -> None:
        """Ends a block. Read back; nothing happens if there is none."""
        self._ask("unblock", name=name)

    def blocked(self) -> dict[str, Count]:
        """The blocks that the kernel has in force, with what each has dropped, reset or damaged."""
        return {name: Count(**count) for name, count in self._ask("blocked").items()}

    def limit_rate(self, tap: str, bits_per_s: int) -> None:
        """Slows what goes to the machine behind the tap; 0 lifts it. Read back."""
        self._ask("limit_rate", tap=tap, bits_per_s=bits_per_s)

    def delay(self, tap: str, seconds: float) -> None:
        """Delays what goes to the machine behind the tap; 0 ends it. Raises MissingCapability."""
        self._ask("delay", tap=tap, seconds=seconds)

    def queues(self) -> dict[str, Queue]:
        """What holds frames up by tap: a rate, a delay, or nothing."""
        return {tap: Queue(**queue) for tap, queue in self._ask("queues").items()}

    def counters(self) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, int]]]:
        """Taps as their guests see them (rx_packets, ...); flows (offered_packets, delivered_bytes, ...)."""
        answer = self._ask("counters")
        flows = {
            name: {f"{side}_{what}": sides[side][what] for side in sides for what in sides[side]}
            for name, sides in answer["flows"].items()
        }
        return answer["taps"], flows

    def connect(self, address: str, port: int, *, timeout_s: float = 5.0) -> socket.socket:
        """A TCP connection to a guest. Raises OSError if it does not come about in time."""
        with self._open(timeout_s + ANSWER_TIMEOUT_S) as channel:
            _, fds = _exchange(channel, "connect", address=address, port=port, timeout_s=timeout_s)
        connection = socket.socket(fileno=fds[0])
        connection.settimeout(None)
        return connection

    # --- shared memory, threads, the broker itself

    def make_shared(self, name: str, size: int) -> int:
        """A new file of zeroes in the sandbox's /dev/shm; returns a descriptor, yours to close."""
        return self._ask_fd("make_shared", name=name, size=size)

    def shared_memory(self, name: str) -> int:
        """A descriptor of such a file, yours to close."""
        return self._ask_fd("shared_memory", name=name)

    def guest_memory(self, domain: str, *, writable: bool = False) -> int:
        """A descriptor of the file behind a running guest's RAM, yours to close."""
        return self._ask_fd("guest_memory", domain=domain, writable=writable)

    def thread_times(self, threads: Sequence[int]) -> dict[int, tuple[int, int]]:
        """By thread id (as the sandbox has it): ns run, ns waited for a CPU."""
        answer = self._ask("thread_times", threads=list(threads))
        return {int(thread): (times[0], times[1]) for thread, times in answer.items()}

    def crowd(self, name: str, threads: Sequence[int], spinners: int) -> None:
        """Confines threads (as the sandbox has them) to one core, beside so many that keep it busy."""
        self._ask("crowd", name=name, threads=list(threads), spinners=spinners)

    def disperse(self, name: str) -> None:
        """Ends a crowd; nothing happens if there is none."""
        self._ask("disperse", name=name)

    def crowds(self) -> dict[str, int]:
        """By name, how many keep the core busy; 0 where a thread is not confined to it."""
        return dict(self._ask("crowds"))

    def status(self) -> dict[str, Any]:
        """`libvirtd`: whether it lives; `processes`: how many there are in the sandbox."""
        return dict(self._ask("status"))

    def shutdown(self) -> None:
        """Ends the lab and everything in it. Returns when the broker has heard it."""
        self._ask("shutdown")
        self.close()

    # --- the exchange

    def _ask(self, do: str, **arguments: Any) -> Any:
        value, fds = self._exchange(do, **arguments)
        for fd in fds:
            os.close(fd)
        return value

    def _ask_fd(self, do: str, **arguments: Any) -> int:
        _, fds = self._exchange(do, **arguments)
        if len(fds) != 1:
            raise TestbedFault(f"the broker handed over {len(fds)} descriptors for '{do}'")
        return fds[0]

    def _exchange(self, do: str, **arguments: Any) -> tuple[Any, list[int]]:
        with self._lock:
            if self._channel is None:
                self._channel = self._open(ANSWER_TIMEOUT_S)
            try:
                return _exchange(self._channel, do, **arguments)
            except (ConnectionError, EOFError, TimeoutError) as error:
                self._hang_up()
                raise _gone(self._path) from error

    def _open(self, timeout_s: float) -> socket.socket:
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        channel.settimeout(timeout_s)
        try:
            channel.connect(str(self._path))
        except OSError as error:
            channel.close()
            raise _gone(self._path) from error
        return channel

    def _hang_up(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None


def _gone(path: Path) -> TestbedFault:
    return TestbedFault("the lab's broker does not answer", where=str(path), hint="see 'testbed status'")


def _exchange(channel: socket.socket, do: str, **arguments: Any) -> tuple[Any, list[int]]:
    messages.send(channel, {"do": do, "with": arguments})
    reply, fds = messages.receive(channel)
    if "error" in reply:
        raise _error(reply)
    return reply.get("value"), fds


def _error(reply: Mapping[str, Any]) -> Exception:
    message = str(reply.get("message"))
    if reply["error"] == "OSError":
        return RemoteOSError(reply.get("errno") or 0, message)
    kind = MissingCapability if reply["error"] == "MissingCapability" else TestbedFault
    return kind(message, hint=str(reply.get("hint", "")))


class RemoteOSError(OSError):
    """An OSError that the broker met: not one of the channel to it."""
