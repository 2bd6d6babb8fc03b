"""Owns what may be set for a daemon of userspace that serves a disk: before it begins, and read back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from testbed.errors import TestbedFault
from testbed.load import Flag
from testbed.transports import Ends, Guest
from testbed.transports.devices import OneDevice

LIBRARY = "/usr/lib/testbed/daemon.so"
"""Sets it all, or ends the daemon (guest/preload/daemon.c)."""


class Daemon(OneDevice):
    """What transports have in common whose daemon runs on a machine that has the kernel under test.

    `mlockall` locks the daemon in memory, in each process that it forks: page by page as it first touches
    them (`"on-fault"`), or with all of them `"filled"` at once. `io_flusher` is prctl(PR_SET_IO_FLUSHER),
    since 5.6: what it allocates does no I/O to get memory (PF_MEMALLOC_NOIO), and it is throttled by the
    dirty pages of its own device alone (PF_LOCAL_THROTTLE; 6.1, kernel/sys.c, mm/page-writeback.c).
    `less_throttle` is the second of the two alone, `memalloc` all memory down to the last page: prctls of the
    patch sets less-throttle and memalloc-daemon, without which the daemon is not started.
    """

    library: ClassVar[str] = LIBRARY
    """What is loaded into it for that; empty where the daemon is ours, and has the same in itself."""

    mlockall: Literal["off", "on-fault", "filled"] = "off"
    io_flusher: Flag = False
    less_throttle: Flag = False
    memalloc: Flag = False

    def start(
        self, machine: Guest, argv: Sequence[str], ends: Ends, *, preload: str = "", more: Sequence[str] = ()
    ) -> None:
        """Starts the daemon with its settings, and `more` of its environment. Raises TestbedFault."""
        libraries = ":".join(filter(None, (preload, self.library)))
        loaded = [f"LD_PRELOAD={libraries}"] if libraries else []
        machine.run(["env", *loaded, *more, *self._set(), *argv], timeout_s=ends.command_s)

    def read_back(self, machine: Guest, name: str, ends: Ends) -> list[str]:
        """The processes of that name. Raises TestbedFault unless there are some and each has its settings."""
        pids = machine.run(["pidof", name], timeout_s=ends.command_s).stdout.split()
        for pid in pids:
            if self.library:
                loaded = ["grep", "-c", self.library, f"/proc/{pid}/maps"]
                if machine.run(loaded, timeout_s=ends.command_s, check=False).status != 0:
                    raise TestbedFault(f"the daemon {name} ({pid}) runs without its settings")
            locked = machine.run(["grep", "VmLck", f"/proc/{pid}/status"], timeout_s=ends.command_s).stdout
            if self.mlockall != "off" and not any(word.isdigit() and int(word) for word in locked.split()):
                raise TestbedFault(f"the daemon {name} ({pid}) is not locked in memory")
        return pids

    def _set(self) -> list[str]:
        locked = [f"TESTBED_MLOCKALL={self.mlockall}"] if self.mlockall != "off" else []
        calls = ("io_flusher", "less_throttle", "memalloc")
        return [*locked, *(f"TESTBED_{name.upper()}=1" for name in calls if getattr(self, name))]
