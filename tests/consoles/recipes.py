"""Owns the list of consoles: each symptom on each kernel that can show it, and made worse on purpose."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from tests.consoles import checked, crashes, memory, servers, stuck
from tests.consoles.bench import Bench
from tests.consoles.symptoms import (
    DEBIAN,
    DEBUG,
    HUNG,
    OURS,
    OVERCOMMIT,
    PANIC_END,
    SHELL,
    TRACE_END,
    Symptom,
    module,
    must,
)

MIB = 1 << 20
# Under KASAN and lockdep, and TCG, it takes 30 s to route one PCI interrupt by ACPI.
SLOW_ACPI = {DEBUG: " acpi=noirq"}
MEMORY = {OURS: (96, 112, 128, 176), DEBIAN: (192, 224, 256), DEBUG: (320,)}

# What a program might print that is no report of this kernel's: no timestamp, another's, or another shape.
LOOKALIKE = r"""
Kernel panic - not syncing: Fatal exception
BUG: kernel NULL pointer dereference, address: 0000000000000008
#PF: supervisor write access in kernel mode
Oops: 0002 [#1] SMP NOPTI
CPU: 0 PID: 1 Comm: look Not tainted 6.1.192 #1
RIP: 0010:look_alike+0x10/0x20
Call Trace:
 <TASK>
 look_alike+0x10/0x20
 </TASK>
---[ end trace 123456789abcdef0 ]---
Nov 24 10:15:00 host kernel: Out of memory: Killed process 1 (look) total-vm:1kB
[12] INFO: task look:1 blocked for more than 120 seconds.
[   12.5] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [look:1]
<0>Kernel panic - not syncing: look alike
(12.345678) I/O error, dev nbd0, sector 8 op 0x0:(READ)
look: page allocation failure: order:0, mode:0xcc0(GFP_KERNEL)
"""
_TO_CONSOLE = "(for i in $(seq 300); do {0}; usleep 50000; done) >/dev/console 2>/dev/null &\nsleep 0.3\n"
LOOKS = f"cat >/run/look <<'EOF'{LOOKALIKE}EOF\n" + _TO_CONSOLE.format("cat /run/look")
ESCAPES = _TO_CONSOLE.format(r"printf '\033[2J\033[1;31mstatus\033[0m \033]0;title\007\033[5;10H50%%'")
BINARY = _TO_CONSOLE.format("head -c 100 /dev/urandom")
PARTIAL = _TO_CONSOLE.format(r"printf 'copying 12%%\r\tlogin: '")
REPLAY = "sleep 2\ndmesg >/dev/console\nsleep 0.5\ndmesg >/dev/console\nsleep 0.5\necho replayed >/dev/kmsg\n"
PULSE = "(while :; do echo pulse >/dev/kmsg; sleep 1; done) &\nsleep 3\n"


@dataclass(frozen=True)
class Recipe:
    """One console to be made."""

    name: str
    kernel: str
    symptom: Symptom


def _noisy(suffix: str, words: str, noise: str) -> Callable[[Symptom], Symptom]:
    def made(symptom: Symptom) -> Symptom:
        return replace(
            symptom,
            name=f"{symptom.name}-{suffix}",
            done=f"{symptom.done}; meanwhile a program printed {words}",
            script=noise + symptom.script,
        )

    return made


LOOKING = _noisy("lookalike", "text that looks like reports", LOOKS)
ESCAPED = _noisy("escapes", "escape sequences", ESCAPES)
NOISY = _noisy("binary", "random bytes", BINARY)
HALF = _noisy("partial", "lines that never end", PARTIAL)


def _replayed(symptom: Symptom) -> Symptom:
    """Each report stands there three times, and is one."""
    return replace(
        symptom,
        name=f"{symptom.name}-replayed",
        done=f"{symptom.done}; then dmesg printed it all again, twice",
        script=symptom.script + REPLAY,
        until="replayed",
        watch_s=60,
    )


def _cut(symptom: Symptom, at: str, **facts: object) -> Symptom:
    (kind,) = {one["kind"] for one in symptom.must[:1]}
    return replace(
        symptom,
        name=f"{symptom.name}-cut",
        done=f"{symptom.done}; the guest was ended at \u201c{at}\u201d",
        must=(must(kind, **facts),),
        may=(*symptom.may, *(one["kind"] for one in symptom.must[1:])),
        cut_at=at,
        until=at,
    )


def _quiet(symptom: Symptom, level: int, *expected: dict[str, object]) -> Symptom:
    return replace(
        symptom,
        name=f"{symptom.name}-loglevel-{level}",
        done=f"{symptom.done}, at loglevel {level}",
        script=f"echo {level} >/proc/sys/kernel/printk\n" + symptom.script,
        must=expected,
        may=(*symptom.may, *(one["kind"] for one in symptom.must)),
    )


def _pause(bench: Bench, name: str) -> None:
    bench.domains[name].pause()


def _silences() -> list[Symptom]:
    quiet = "console=ttyS0,115200 loglevel=8"
    return [
        Symptom(
            "silent-no-console",
            "gave the kernel no console",
            watch_s=3,
            cause="no-output",
            told_kernel="loglevel=8",
        ),
        Symptom(
            "silent-no-memory",
            "gave the kernel 8 MiB of memory",
            watch_s=12,
            cause="no-output",
            boots=False,
            memory_bytes=8 * MIB,
            kernels=(OURS,),
            told_kernel=quiet,
        ),
        Symptom(
            "silent-hard",
            "the one CPU spun with interrupts off, under a pulse of 1 s",
            PULSE + module("hard"),
            cause="no-output",
            pulse_s=1.0,
            watch_s=14,
        ),
        Symptom(
            "silent-paused",
            "stopped the guest's CPUs, under a pulse of 1 s",
            PULSE,
            cause="no-output",
            pulse_s=1.0,
            watch_s=12,
            host=_pause,
        ),
        Symptom("pulse", "a pulse of 1 s and nothing else", PULSE, pulse_s=1.0, watch_s=8),
    ]


def _combined() -> list[Symptom]:
    warned = must("warning", function="symptom_warn", count=1, **SHELL)
    null = must("oops", function="symptom_null", address="0000000000000018", count=1, **SHELL)
    sysrq = must("panic", reason="sysrq triggered crash", count=1)
    hung = must("hung-task", function="symptom_hung", task="sh")
    in_turn = f"sh -c '{module('hung').strip()}' &\n"
    return [
        Symptom(
            "warn-then-oops",
            "a warning, and then an oops",
            module("warn") + module("null"),
            (warned, null),
            "oops",
            until="Code: ",
            watch_s=6,
            after_s=3,
        ),
        Symptom(
            "warn-then-panic",
            "a warning, and then SysRq-c",
            module("warn") + "echo c >/proc/sysrq-trigger\n",
            (warned, sysrq),
            "panic",
            until=PANIC_END,
        ),
        Symptom(
            "alloc-then-panic",
            "allocation failures, and then SysRq-c",
            module("slab") + "echo c >/proc/sysrq-trigger\n",
            (must("slub", cache="kmalloc-512"), sysrq),
            "panic",
            may=("allocation", "oom", "oom-kill"),
            until=PANIC_END,
            watch_s=40,
        ),
        Symptom(
            "hung-then-panic",
            "a hung task, and then SysRq-c",
            HUNG + in_turn + "sleep 13\necho c >/proc/sysrq-trigger\n",
            (hung, sysrq),
            "panic",
            until=PANIC_END,
            watch_s=40,
        ),
        Symptom(
            "nbd-then-warn",
            "killed the NBD server, and then a warning",
            servers.NBD.format("") + servers.KILL + servers.READ + module("warn"),
            (servers.GONE, servers.FAILED, must("warning", function="symptom_warn")),
            "warning",
            may=("nbd",),
            until=TRACE_END,
            watch_s=40,
        ),
        Symptom(
            "two-oopses",
            "two tasks oopsed one after the other",
            f"sh -c '{module('null').strip()}'\nsh -c '{module('gpf').strip()}'\n",
            (
                must("oops", function="symptom_null", count=2, task="sh"),
                must("oops", function="symptom_gpf", task="sh", address="dead000000000100"),
            ),
            "oops",
            watch_s=5,
        ),
        Symptom(
            "oops-then-lockup",
            "an oops with a semaphore held, and then a soft lockup",
            f"echo 2 >/proc/sys/kernel/watchdog_thresh\nsh -c '{module('hold').strip()}'\n" + module("soft"),
            (must("oops", function="symptom_null", count=1), must("soft-lockup", function="symptom_soft")),
            "oops",
            may=("rcu-stall", "hung-task", "workqueue", "complaint"),
            until="s! [sh:",
            after_s=3,
            watch_s=40,
        ),
        Symptom(
            "oom-then-hung",
            "an OOM kill, and then a hung task",
            HUNG + OVERCOMMIT + "dd if=/dev/zero of=/dev/null bs=900M count=1\n" + in_turn,
            (must("oom-kill", task="dd"), hung),
            "oom-kill",
            may=("allocation",),
            until="INFO: task sh:",
            watch_s=90,
        ),
        Symptom(
            "sysrq-traces",
            "asked for the blocked tasks and all stacks, which is no report",
            in_turn + "sleep 1\nfor key in w t m; do echo $key >/proc/sysrq-trigger; done\n",
            watch_s=5,
        ),
        Symptom(
            "warn-then-traces",
            "a warning, and then the blocked tasks",
            in_turn + module("warn") + "echo w >/proc/sysrq-trigger\n",
            (warned,),
            "warning",
            watch_s=5,
        ),
    ]


def _plain() -> list[Symptom]:
    return [
        Symptom("clean", "nothing", watch_s=2),
        Symptom("lookalike", "a program printed text that looks like reports", LOOKS, watch_s=3),
        Symptom("binary", "a program printed random bytes", BINARY, watch_s=3),
        Symptom("escapes", "a program printed escape sequences", ESCAPES, watch_s=3),
    ]


def _worse(known: dict[str, Symptom]) -> Iterator[tuple[Symptom, tuple[str, ...]]]:
    """The variants, and on which kernels."""
    for change, names, kernels in (
        (LOOKING, ("sysrq-c", "oops-null", "hung", "oom"), (OURS, DEBIAN)),
        (LOOKING, ("soft-lockup", "nbd-killed", "warn"), (OURS,)),
        (ESCAPED, ("oops-gpf", "warn", "hung", "bug"), (OURS,)),
        (ESCAPED, ("oops-null", "alloc"), (DEBIAN,)),
        (NOISY, ("oops-wild", "soft-lockup", "oom", "panic"), (OURS,)),
        (NOISY, ("slab", "sysrq-c"), (DEBIAN,)),
        (HALF, ("bug", "hung-panic", "rcu", "warn"), (OURS,)),
        (_replayed, ("warn", "vmalloc", "nbd-killed", "refcount"), (OURS,)),
        (_replayed, ("warn", "bad-page"), (DEBIAN,)),
    ):
        for name in names:
            yield change(known[name]), kernels
    null = "kernel NULL pointer dereference"
    yield (
        _cut(known["oops-null"], "Call Trace", reason=null, function="symptom_null", **SHELL),
        (OURS, DEBIAN),
    )
    yield _cut(known["oops-gpf"], "Modules linked", reason="general protection fault"), (OURS,)
    yield _cut(known["soft-lockup"], "Call Trace", **SHELL), (OURS, DEBIAN)
    yield _cut(known["hung"], "Call Trace", **SHELL), (OURS,)
    yield _cut(known["alloc"], "Mem-Info", order=0, function="symptom_alloc", **SHELL), (OURS, DEBIAN)
    yield _cut(known["sysrq-c"], "Call Trace", reason="sysrq triggered crash"), (OURS,)
    yield _cut(known["warn"], "Code: ", function="symptom_warn"), (OURS,)
    panicked = must("panic", reason="softlockup: hung tasks")
    yield _quiet(known["soft-lockup-panic"], 1, panicked), (OURS,)
    yield _quiet(known["hung-panic"], 3, must("panic", reason="hung_task: blocked tasks")), (OURS, DEBIAN)
    yield _quiet(known["oops-panic"], 1, must("panic", reason="Fatal exception")), (OURS,)


def recipes() -> tuple[Recipe, ...]:
    """All of them. Sizes vary from name to name, but not from day to day."""
    base = [symptom for each in (crashes, stuck, memory, checked, servers) for symptom in each.symptoms()]
    known = {symptom.name: symptom for symptom in base}
    found: list[tuple[Symptom, tuple[str, ...]]] = [
        (symptom, symptom.kernels) for symptom in (*base, *_silences(), *_combined(), *_plain())
    ]
    found += _worse(known)
    made = [
        Recipe(f"{kernel}-{symptom.name}", kernel, _sized(symptom, kernel))
        for symptom, kernels in found
        for kernel in kernels
    ]
    assert len({recipe.name for recipe in made}) == len(made)
    return tuple(made)


def _sized(symptom: Symptom, kernel: str) -> Symptom:
    sizes = MEMORY[kernel]
    chosen = sizes[zlib.crc32(symptom.name.encode()) % len(sizes)] * MIB
    told = symptom.told_kernel + SLOW_ACPI.get(kernel, "")
    # It is so slow that beside others it may find its own workers late.
    may = (*symptom.may, "workqueue") if kernel == DEBUG else symptom.may
    return replace(symptom, memory_bytes=symptom.memory_bytes or chosen, told_kernel=told, may=may)
