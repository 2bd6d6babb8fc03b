"""Owns what a report says in its own words: the facts, and how they are read out of its lines.

The shapes are those of Linux 6.1 on x86: lib/dump_stack.c dump_stack_print_info(), arch/x86/kernel/
dumpstack.c show_trace_log_lvl() and show_ip(), kernel/sched/core.c sched_show_task(), kernel/workqueue.c
show_pwq(), kernel/rcu/tree_stall.h print_cpu_stall_info(), mm/slub.c slab_out_of_memory().
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from testbed.consoles.sign import Sign

MOST_FRAMES = 32
TRACE, TRACE_END = "Call Trace:", " </TASK>"

# Frames that say how a report came about, or how a task sleeps or allocates, and not who did.
_NOISE = re.compile(
    "(?:__|___)?(?:"
    + "|".join(
        (
            # kernel/panic.c, lib/dump_stack.c, lib/bug.c
            r"dump_stack\w*|show_(?:stack|regs)|panic|nmi_panic|warn\w*|report_bug|check_panic_on_warn",
            # arch/x86/kernel/traps.c, dumpstack.c, arch/x86/mm/fault.c, arch/x86/entry
            r"handle_bug|die\w*|oops_\w+|exc_\w+|asm_\w+|error_entry|page_fault_oops|bad_area_nosemaphore",
            # kernel/sched, kernel/locking
            r"schedule\w*|io_schedule\w*|preempt_schedule\w*|cond_resched|might_(?:resched|sleep)\w*",
            r"wait_for_(?:common|completion)\w*|out_of_line_wait_on_\w+|wait_on_bit\w*|bit_wait\w*",
            r"mutex_lock\w*|rwsem_down_\w+|down(?:_\w+)?",
            # kernel/rcu/tree_stall.h, lib/nmi_backtrace.c
            r"rcu_\w*stall\w*|rcu_dump_cpu_stacks|nmi_(?:trigger_)?cpu\w*_backtrace|arch_trigger_cpu\w+",
            # mm/kasan/report.c
            r"print_(?:address_description|report)|kasan_\w+|asan_\w+",
            # mm/page_alloc.c, mm/slub.c, mm/vmalloc.c, lib/fault-inject.c
            r"alloc_pages\w*|folio_alloc|get_free_pages|new_slab|allocate_slab|slab_\w+|kmem_cache_alloc\w*",
            r"kmalloc\w*|kcalloc|vmalloc\w*|should_fail\w*",
            # mm/oom_kill.c, mm/memcontrol.c
            r"dump_header|oom_kill_process|out_of_memory|mem_cgroup_out_of_memory",
        )
    )
    + r")"
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a report says in its own words; None where it does not, or was cut off.

    `address` is hexadecimal without 0x. `function` is where the kernel stood, as the source calls it.
    `where` is FILE:LINE. `order` and `mode` are those of an allocation. `seconds` is how long somebody
    waited or a CPU stood, `bytes` what was asked for. `device` is a name, or MAJOR:MINOR. `cache` is a
    slab cache.
    """

    task: str | None = None
    pid: int | None = None
    cpu: int | None = None
    function: str | None = None
    address: str | None = None
    where: str | None = None
    reason: str | None = None
    seconds: int | None = None
    order: int | None = None
    mode: str | None = None
    bytes: int | None = None
    cache: str | None = None
    device: str | None = None
    sector: int | None = None
    operation: str | None = None
    result: int | None = None
    server: str | None = None

    def known(self) -> dict[str, str | int]:
        """Those that are told, by name."""
        pairs = ((one.name, getattr(self, one.name)) for one in fields(self))
        return {name: value for name, value in pairs if value is not None}


_NUMBERS = frozenset(one.name for one in fields(Facts) if str(one.type).startswith("int"))

_FRAME = re.compile(
    r" {1,2}([A-Za-z_][\w.]{0,120})\+0x[0-9a-f]{1,8}/0x[0-9a-f]{1,8}(?: \[[\w -]{1,80}\])?$"
)  # one with a question mark before it is unreliable, by the kernel's own word

TELLING: dict[str, tuple[re.Pattern[str], ...]] = {
    start: tuple(map(re.compile, shapes))
    for start, shapes in {
        "CPU:": (
            r"CPU: (?P<cpu>\d{1,4}) (?:UID: \d{1,10} )?PID: (?P<pid>\d{1,10}) Comm: (?P<task>.{1,20}?)"
            r" (?:Kdump: loaded )?(?:Not tainted|Tainted:)",
        ),
        "RIP:": (r"RIP: 0010:(?P<function>[A-Za-z_][\w.]{0,120})\+0x",),
        "CR2:": (r"CR2: (?P<address>[0-9a-f]{16})",),
        "task": (r"task:(?P<task>.{1,16}?) +state:[A-Z] stack: *\d{1,6} +pid: *(?P<pid>\d{1,10})",),
        "  ca": (r"  cache: (?P<cache>[^,]{1,80}), object size: (?P<bytes>\d{1,9})",),
        "    ": (
            r" {4}in-flight: (?P<pid>\d{1,10})(?:\(RESCUER\))?:(?P<function>[A-Za-z_][\w.]{0,120})",
            r" {4}(?P<cpu>\d{1,4})-[^ :]{3,5}: \(",
            r" {4}Tasks blocked on level-\d{1,2} rcu_node \(CPUs [\d-]{1,9}\): P(?P<pid>\d{1,10})",
        ),
        "Writ": (
            r"Write of size (?P<bytes>\d{1,9}) at addr (?P<address>[0-9a-f]{8,16}) by task"
            r" (?P<task>.{1,20})/(?P<pid>\d{1,10})",
        ),
        "Read": (
            r"Read of size (?P<bytes>\d{1,9}) at addr (?P<address>[0-9a-f]{8,16}) by task"
            r" (?P<task>.{1,20})/(?P<pid>\d{1,10})",
        ),
        "in_a": (r"in_atomic\(\): \d{1,9}, .{1,80}pid: (?P<pid>\d{1,10}), name: (?P<task>.{1,20})$",),
    }.items()
}
"""By their first four characters, the lines that may tell what a first line did not."""


def facts_of(lines: Iterable[tuple[Sign | None, str]], reason: str = "") -> tuple[Facts, tuple[str, ...]]:
    """Facts and call trace of a report's lines; with each the sign whose first line it is, if it is one.

    `reason` is what WARN() was told to say, which comes before the first line.
    What was said first stands, but for an OOM kill: there it counts who was killed, and not who asked.
    """
    told: dict[str, Any] = {"reason": reason} if reason else {}
    trace: list[str] = []
    for sign, line in lines:
        if sign is not None:
            found = _groups(sign.told, line)
            told = told | found if sign.kind == "oom-kill" else found | told
        elif (frame := _FRAME.match(line)) is not None:
            trace.append(frame[1].partition(".")[0])
        elif not (trace and line.startswith("RIP:")):  # within a trace: where an interrupt came in
            for shape in TELLING.get(line[:4], ()):
                told = _groups(shape, line) | told
    function = next((frame for frame in trace if not _NOISE.fullmatch(frame)), None)
    if function is not None:
        told.setdefault("function", function)
    return Facts(**told), tuple(trace[:MOST_FRAMES])


def _groups(shape: re.Pattern[str] | None, line: str) -> dict[str, str | int]:
    found = shape.match(line) if shape else None
    if found is None:
        return {}
    told = {name: value for name, value in found.groupdict().items() if value is not None}
    facts: dict[str, str | int] = {
        name: int(value) if name in _NUMBERS else value.strip() for name, value in told.items()
    }
    if "function" in told:  # foo.isra.0, foo.cold: gcc's parts and copies of foo
        facts["function"] = told["function"].partition(".")[0]
    return facts
