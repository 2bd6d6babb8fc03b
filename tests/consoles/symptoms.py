"""Owns what is done to the guests of the corpus, and what their consoles must therefore show.

Each expectation is written down from the deed alone: from what the module, LKDTM or the script is known
to do. Facts are exact; `[least, most]` bounds a number, `TEXT*` is a beginning, `$pid` the number of the
shell that does the deed. A kind that is neither in `must` nor in `may` must not be found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.consoles.bench import Bench

OURS, DEBIAN, DEBUG = "stock", "debian", "debug"
BOTH = (OURS, DEBIAN)
QUICK = "echo 2 >/proc/sys/kernel/watchdog_thresh\n"
HUNG = "echo 4 >/proc/sys/kernel/hung_task_timeout_secs\n"
RCU = (  # what ends a process waits for a grace period: without any none begins, and none stalls
    "echo 3 >/sys/module/rcupdate/parameters/rcu_cpu_stall_timeout\n"
    "(while :; do ls / >/dev/null; usleep 200000; done) &\n"
)
NO_SOFT = "echo 0 >/proc/sys/kernel/soft_watchdog\n"
SHELL = {"task": "sh", "pid": "$pid"}
OVERCOMMIT = "echo 1 >/proc/sys/vm/overcommit_memory\n"
LOCKED = {"seconds": [3, 60]}

Must = dict[str, Any]


@dataclass(frozen=True)
class Symptom:
    """One deed on one guest, whose shell runs `script` while the host does `host`.

    `until` on the console ends the guest `after_s` later, else it is watched for `watch_s`; `cut_at` ends
    it at once. `boots` off: it never gets ready. `pulse_s` is how often its script makes the kernel speak.
    `server`: another guest serves it, and `$server` is its address.
    """

    name: str
    done: str
    script: str = ""
    must: tuple[Must, ...] = ()
    cause: str | None = None
    may: tuple[str, ...] = ()
    kernels: tuple[str, ...] = BOTH
    watch_s: float = 5.0
    until: str = ""
    after_s: float = 1.0
    vcpus: int = 1
    told_kernel: str = "console=ttyS0,115200 loglevel=8"
    cgroups: bool = False
    boots: bool = True
    host: Callable[[Bench, str], None] | None = None
    pulse_s: float | None = None
    cut_at: str = ""
    memory_bytes: int = 0
    server: bool = False


def module(name: str) -> str:
    return f"echo {name} >/proc/symptoms\n"


def lkdtm(name: str) -> str:
    return f"echo {name} >/sys/kernel/debug/provoke-crash/DIRECT\n"


def must(kind: str, **facts: Any) -> Must:
    return {"kind": kind, **facts}


PANIC_END = "---[ end Kernel panic"
TRACE_END = "---[ end trace 0000000000000000"
