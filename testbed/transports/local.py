"""Owns what daemons on A itself have in common: what is set for them before they begin, and read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from testbed.errors import TestbedFault
from testbed.load import Bytes, Count, Flag
from testbed.transports import Ends, Guest, SwapFlow, obeyed
from testbed.transports.devices import OneDevice

LIBRARY = "/usr/lib/testbed/daemon.so"
"""Sets it all, or ends the daemon (guest/preload/daemon.c)."""
GROUPS = "/sys/fs/cgroup"
GROUP = f"{GROUPS}/daemon"


class Daemon(OneDevice):
    """What transports have in common whose server is a process of the client; nothing crosses a wire.

    `mlockall` locks the daemon in memory, in each process that it forks: page by page as it first touches
    them (`"on-fault"`), or with all of them `"filled"` at once. `io_flusher` is prctl(PR_SET_IO_FLUSHER),
    since 5.6: what it allocates does no I/O to get memory (PF_MEMALLOC_NOIO), and it is throttled by the
    dirty pages of its own device alone (PF_LOCAL_THROTTLE; 6.1, kernel/sys.c, mm/page-writeback.c).
    `less_throttle` is the second of the two alone, `memalloc` all memory down to the last page: prctls of the
    patch sets less-throttle and memalloc-daemon, without which the daemon is not started. `memory_cap`
    bounds by a control group what it may have, page cache included; the machine boots with the memory
    controller then, which is off else.
    """

    library: ClassVar[str] = LIBRARY
    """What is loaded into it for that; empty where the daemon is ours, and has the same in itself."""

    port: Count = Field(default=10809, ge=1, le=65534)
    mlockall: Literal["off", "on-fault", "filled"] = "off"
    io_flusher: Flag = False
    less_throttle: Flag = False
    memalloc: Flag = False
    memory_cap: Bytes | None = Field(default=None, ge=1 << 20)

    @property
    def swap_flow(self) -> SwapFlow | None:
        return None

    @property
    def ports(self) -> tuple[int, ...]:
        return ()

    @property
    def kernel_timers_s(self) -> Mapping[str, float]:
        return {}

    def start(self, machine: Guest, argv: Sequence[str], ends: Ends, *, preload: str = "") -> None:
        """Starts the daemon with its settings, and reads back that they are in force. Raises TestbedFault."""
        if self.memory_cap is not None:
            machine.run(["mount", "-t", "cgroup2", "cgroup2", GROUPS], timeout_s=ends.command_s)
            obeyed(
                machine,
                (
                    f"word {GROUPS}/cgroup.subtree_control +memory",
                    f"folder {GROUP}",
                    f"word {GROUP}/memory.max {self.memory_cap}",
                ),
                ends,
            )
        libraries = ":".join(filter(None, (preload, self.library)))
        loaded = [f"LD_PRELOAD={libraries}"] if libraries else []
        machine.run(["env", *loaded, *self._settings(), *argv], timeout_s=ends.command_s)

    def _settings(self) -> list[str]:
        group = [f"TESTBED_CGROUP={GROUP}"] if self.memory_cap is not None else []
        locked = [f"TESTBED_MLOCKALL={self.mlockall}"] if self.mlockall != "off" else []
        calls = ("io_flusher", "less_throttle", "memalloc")
        return [
            *group,
            *locked,
            *(f"TESTBED_{name.upper()}=1" for name in calls if getattr(self, name)),
        ]

    def read_back(self, machine: Guest, name: str, ends: Ends) -> None:
        """Raises TestbedFault unless each process of that name has its settings."""
        for pid in machine.run(["pidof", name], timeout_s=ends.command_s).stdout.split():
            if self.library:
                loaded = ["grep", "-c", self.library, f"/proc/{pid}/maps"]
                if machine.run(loaded, timeout_s=ends.command_s, check=False).status != 0:
                    raise TestbedFault(f"the daemon {name} ({pid}) runs without its settings")
            locked = machine.run(["grep", "VmLck", f"/proc/{pid}/status"], timeout_s=ends.command_s).stdout
            if self.mlockall != "off" and not any(word.isdigit() and int(word) for word in locked.split()):
                raise TestbedFault(f"the daemon {name} ({pid}) is not locked in memory")
