"""Owns what daemons on A itself have in common: no wire, and a bound on the memory that they may have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import Field

from testbed.errors import TestbedFault
from testbed.load import Bytes, Count
from testbed.transports import Ends, Guest, SwapFlow, obeyed
from testbed.transports.daemons import Daemon
from testbed.units import PAGE_BYTES

GROUPS = "/sys/fs/cgroup"
GROUP = f"{GROUPS}/daemon"


class LocalDaemon(Daemon):
    """What transports have in common whose server is a process of the client; nothing crosses a wire.

    `memory_cap` bounds by a control group what it may have, page cache included; the machine boots with the
    memory controller then, which is off else.
    """

    port: Count = Field(default=10809, ge=1, le=65534)
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

    def start(
        self, machine: Guest, argv: Sequence[str], ends: Ends, *, preload: str = "", more: Sequence[str] = ()
    ) -> None:
        """As `Daemon.start`, in its control group. Raises TestbedFault."""
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
            more = [*more, f"TESTBED_CGROUP={GROUP}"]
        super().start(machine, argv, ends, preload=preload, more=more)

    def read_back(self, machine: Guest, name: str, ends: Ends) -> list[str]:
        pids = super().read_back(machine, name, ends)
        if self.memory_cap is None:
            return pids
        told = machine.run(["cat", f"{GROUP}/memory.max"], timeout_s=ends.command_s).stdout.strip()
        whole = self.memory_cap // PAGE_BYTES * PAGE_BYTES  # it counts in pages
        inside = machine.run(["cat", f"{GROUP}/cgroup.procs"], timeout_s=ends.command_s).stdout.split()
        if told != str(whole) or not pids or not set(pids) <= set(inside):
            raise TestbedFault(
                f"the daemon {name} ({' '.join(pids) or 'not there'}) is not held to {whole} bytes: the limit"
                f" is {told or 'not told'}, in its control group are {' '.join(inside) or 'none'}"
            )
        return pids
