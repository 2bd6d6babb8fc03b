"""Owns the server during a cell: ended, reset, and brought back, by SSH and by the host, all of it bounded.

It is not the machine under test, and its SSH goes over the management link; nothing else asks a guest for
anything once the timeline has begun (docs/decisions/0003).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from testbed import transports
from testbed.clock import Deadline, poll
from testbed.errors import TestbedFault
from testbed.transports import Ends, Revivable, SwapFlow, Transport
from testbed.witnesses.page import OWN_SLOTS, State, WitnessPage

ASK_S = 5.0
"""For one question to a server that has nothing else to do; `Ends.cpu_scale` stretches it, to a bound."""
BOOT_S = 40.0
FULL_BYTES = 1 << 20
"""A file system with less is full: what it keeps for itself comes in blocks here and there."""
MOST_SCALE = 3.0


class Server(transports.Guest, Protocol):
    """The guest, by SSH (machines/guest.py)."""

    def connect(self, deadline: Deadline) -> None: ...

    def close(self) -> None: ...


class ServerDomain(Protocol):
    """The same, by its hypervisor (machines/hypervisor.py)."""

    def state(self) -> str: ...

    def reset(self) -> None: ...


@dataclass(frozen=True)
class Serving:
    """What a fault may do to the server (faults/__init__.py `FaultServer`)."""

    name: str
    guest: Server
    domain: ServerDomain
    page: WitnessPage
    transport: Transport
    ends: Ends

    def serves(self) -> bool:
        """Whether it listens; one that is not up does not. Raises TestbedFault if it does not answer in time.

        That it does not is its own word: a question that broke off is no answer.
        """
        if not self._is_up():
            return False
        flow = self._flow
        if transports.listens(self.guest, flow.port, self._ends, flow.protocol):
            return True
        self._run("true")
        return False

    def kill(self) -> None:
        """Ends what serves, and waits until it is gone. Raises TestbedFault if it stays."""
        self._revivable.kill(self.guest, self._ends)
        # A signal is sent when `killall` returns, and its process taken apart some time after
        # (6.1, kernel/signal.c complete_signal).
        deadline = Deadline.after(self._ends.command_s, f"the end of what '{self.name}' serves")
        poll(lambda: not self.serves(), deadline)

    def reset(self) -> None:
        """Presses its reset button. From then on it is not up, until its page says `ready` again."""
        self.domain.reset()
        self.page.clear(0)
        self.guest.close()

    def revive(self) -> None:
        """Serves the same disk again; waits for a boot that is not over. Raises TestbedFault."""
        poll(self._has_booted, Deadline.after(BOOT_S * self._scale, f"boot of machine '{self.name}'"))
        self.guest.connect(Deadline.after(self._ends.command_s, f"SSH of machine '{self.name}'"))
        self._revivable.revive(self.guest, self._ends)

    def fill(self) -> None:
        """Takes all the room that its store has left. Raises TestbedFault."""
        # It fails when there is no room, and keeps what it got (6.1, fs/ext4/extents.c ext4_fallocate).
        size = str(max(self.ends.disk_bytes.values()))
        self._run("fallocate", "-l", size, self._filler, check=False)

    def empty(self) -> None:
        """Gives it back."""
        self._run("rm", "-f", self._filler)

    def is_full(self) -> bool:
        """Whether its store has no room, by its file system's own word. Raises TestbedFault."""
        free, block_bytes = self._run("stat", "-f", "-c", "%a %S", self._store).split()
        return int(free) * int(block_bytes) < FULL_BYTES

    def _run(self, *argv: str, check: bool = True) -> str:
        return self.guest.run(argv, timeout_s=self._ends.command_s, check=check).stdout

    @property
    def _flow(self) -> SwapFlow:
        if self.transport.swap_flow is None:
            raise TestbedFault(f"what '{self.name}' serves is for itself alone")
        return self.transport.swap_flow

    @property
    def _revivable(self) -> Revivable:
        if not isinstance(self.transport, Revivable):
            raise TestbedFault(f"what '{self.name}' serves can not be ended and served again")
        return self.transport

    @property
    def _store(self) -> str:
        if self.transport.store is None:
            raise TestbedFault(f"what '{self.name}' serves takes no more room than it has")
        return self.transport.store

    @property
    def _filler(self) -> str:
        return f"{self._store}/filler"

    def _has_booted(self) -> bool:
        if self.domain.state() != "running":
            raise TestbedFault(f"machine '{self.name}' can not serve again: it is {self.domain.state()}")
        return self._is_up()

    def _is_up(self) -> bool:
        return self.domain.state() == "running" and self.page.state(OWN_SLOTS["machine"]) == State.READY

    @property
    def _scale(self) -> float:
        return min(self.ends.cpu_scale, MOST_SCALE)

    @property
    def _ends(self) -> Ends:
        """The ends, with patience for a server that may be dead."""
        return replace(self.ends, cpu_scale=self._scale * ASK_S / transports.COMMAND_S)
