"""Owns the table of signs, ordered by cause.

Of two kinds that nothing links, the one that stands first here names a console. What links kinds (an
oops explains the hung task after it) stands in `cause`.
"""

from __future__ import annotations

from testbed.consoles import signs_devices as devices
from testbed.consoles import signs_kernel as kernel
from testbed.consoles.sign import Sign

SIGNS: tuple[Sign, ...] = (
    *kernel.BROKEN,
    *devices.DISKS,
    *kernel.KILLS,
    *kernel.CPUS,
    *kernel.CHECKS,
    *kernel.TASKS,
    *kernel.ALLOCATIONS,
    *devices.SWAP_AGAIN,
    *devices.CONNECTIONS,
    *kernel.INJECTED,
)

KINDS: tuple[str, ...] = tuple(dict.fromkeys(sign.kind for sign in SIGNS))
"""All kinds, by cause."""
