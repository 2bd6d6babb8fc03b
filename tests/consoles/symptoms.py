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


def _panics() -> list[Symptom]:
    return [
        Symptom(
            "sysrq-c", "wrote c to /proc/sysrq-trigger", "echo c >/proc/sysrq-trigger\n",
            (must("panic", reason="sysrq triggered crash", function="sysrq_handle_crash", count=1, **SHELL),),
            "panic", until=PANIC_END,
        ),
        Symptom(
            "sysrq-c-serial", "sent BREAK and c to the serial port", "",
            (must("panic", reason="sysrq triggered crash", function="sysrq_handle_crash", count=1),),
            "panic", until=PANIC_END, host=lambda bench, name: bench.domains[name].sysrq("c"),
        ),
        Symptom(
            "panic", "a module called panic()", module("panic"),
            (must("panic", reason="symptoms: a panic was asked for", function="symptom_panic", count=1, **SHELL),),
            "panic", until=PANIC_END,
        ),
        Symptom(
            "lkdtm-panic", "LKDTM called panic()", lkdtm("PANIC"),
            (must("panic", reason="dumptest", function="lkdtm_PANIC", count=1, **SHELL),),
            "panic", kernels=(OURS,), until=PANIC_END,
        ),
        Symptom(
            "no-init", "named an init that is not there", "",
            (must("panic", reason="Requested init /nowhere failed*", count=1),),
            "panic", kernels=(OURS,), boots=False, until=PANIC_END, watch_s=60,
            told_kernel="console=ttyS0,115200 loglevel=8 init=/nowhere",
        ),
        Symptom(
            "no-root", "named a root that is not there", "",
            (must("panic", reason="VFS: Unable to mount root fs*", count=1),),
            "panic", kernels=(OURS,), boots=False, until=PANIC_END, watch_s=60,
            told_kernel="console=ttyS0,115200 loglevel=8 root=/dev/nowhere norootwait",
        ),
        Symptom(
            "nmi", "sent an NMI that nobody explains", "", (must("nmi", cpu=0),), "nmi",
            host=lambda bench, name: bench.domains[name].qmp("inject-nmi"), until="Dazed and confused",
        ),
        Symptom(
            "nmi-panic", "sent an NMI with unknown_nmi_panic set", "echo 1 >/proc/sys/kernel/unknown_nmi_panic\n",
            (must("nmi", cpu=0), must("panic", reason="NMI: Not continuing", count=1)), "nmi",
            host=lambda bench, name: bench.domains[name].qmp("inject-nmi"), until=PANIC_END,
        ),
    ]  # fmt: skip


def _oopses() -> list[Symptom]:
    def oops(name: str, done: str, **facts: Any) -> Symptom:
        expected = must("oops", **{"function": f"symptom_{name}", "count": 1, **SHELL, **facts})
        return Symptom(f"oops-{name}", done, module(name), (expected,), "oops", until=TRACE_END)

    null = "kernel NULL pointer dereference"
    fault = "unable to handle page fault for"
    made = [
        oops("null", "wrote to address 0x18", reason=null, address="0000000000000018"),
        oops("wild", "wrote to unmapped memory", reason=fault, address="ffffc000dead0000"),
        oops("gpf", "wrote to an address that is none", reason="general protection fault",
             address="dead000000000100"),
        oops("divide", "divided by zero", reason="divide error"),
        oops("opcode", "ran an instruction that is none", reason="invalid opcode"),
        Symptom(
            "oops-stack", "recursed until the stack was full", module("stack"),
            (must("oops", reason="TASK stack guard page was hit", function="symptom_stack", count=1, **SHELL),),
            "oops", may=("panic",), until=TRACE_END,
        ),
        Symptom(
            "oops-double-fault", "pushed to a stack that is not there", module("double_fault"),
            (must("oops", reason="double fault", function="symptom_double_fault", count=1, **SHELL),),
            "oops", may=("panic",), until=TRACE_END,
        ),
        Symptom(
            "oops-worker", "a work item wrote to address 0x28", module("worker_oops"),
            (must("oops", reason=null, address="0000000000000028", function="symptom_work_oopses", count=1,
                  task="kworker*"),),
            "oops", until=TRACE_END,
        ),
        Symptom(
            "oops-irq", "a timer wrote to address 0x38", module("irq_oops"),
            (must("oops", reason=null, address="0000000000000038", function="symptom_timer_fires", count=1),
             must("panic", reason="Fatal exception in interrupt", count=1)),
            "oops", until=PANIC_END,
        ),
        Symptom(
            "oops-panic", "wrote to address 0x18 with panic_on_oops set",
            "echo 1 >/proc/sys/kernel/panic_on_oops\n" + module("null"),
            (must("oops", reason=null, address="0000000000000018", function="symptom_null", count=1, **SHELL),
             must("panic", reason="Fatal exception", count=1)),
            "oops", until=PANIC_END,
        ),
    ]  # fmt: skip
    for name, facts in {
        "EXCEPTION": {"reason": null, "address": "0000000000000000", "function": "lkdtm_EXCEPTION"},
        "EXHAUST_STACK": {"reason": "TASK stack guard page was hit", "function": "recursive_loop"},
        "EXEC_DATA": {"reason": fault},
        "EXEC_KMALLOC": {"reason": fault},
        "EXEC_NULL": {"reason": null, "address": "0000000000000000"},
        "ACCESS_NULL": {"reason": null, "function": "lkdtm_ACCESS_NULL"},
        "WRITE_RO": {"reason": fault, "function": "lkdtm_WRITE_RO"},
        "WRITE_KERN": {"reason": fault},
        "STACK_GUARD_PAGE_LEADING": {
            "reason": "TASK stack guard page was hit",
            "function": "lkdtm_STACK_GUARD_PAGE_LEADING",
        },
    }.items():
        expected = must("oops", **{"count": 1, **SHELL, **facts})
        made.append(
            Symptom(f"lkdtm-{name.lower().replace('_', '-')}", f"LKDTM {name}", lkdtm(name), (expected,),
                    "oops", may=("panic",), kernels=(OURS,), until=TRACE_END)
        )  # fmt: skip
    return made


def _assertions() -> list[Symptom]:
    asked = "symptoms: a warning was asked for"
    return [
        Symptom(
            "bug", "a module called BUG()", module("bug"),
            (must("bug", function="symptom_bug", where="*symptoms.c:*", count=1, **SHELL),), "bug", until=TRACE_END,
        ),
        Symptom(
            "lkdtm-bug", "LKDTM called BUG()", lkdtm("BUG"),
            (must("bug", function="lkdtm_BUG", where="drivers/misc/lkdtm/bugs.c:*", count=1, **SHELL),),
            "bug", kernels=(OURS,), until=TRACE_END,
        ),
        Symptom(
            "warn", "a module called WARN()", module("warn"),
            (must("warning", function="symptom_warn", where="*symptoms.c:*", reason=asked, count=1, **SHELL),),
            "warning", until=TRACE_END,
        ),
        Symptom(
            "warn-on", "a module called WARN_ON()", module("warn_on"),
            (must("warning", function="symptom_warn_on", where="*symptoms.c:*", count=1, **SHELL),),
            "warning", until=TRACE_END,
        ),
        Symptom(
            "lkdtm-warning", "LKDTM called WARN()", lkdtm("WARNING_MESSAGE"),
            (must("warning", function="lkdtm_WARNING_MESSAGE", where="drivers/misc/lkdtm/bugs.c:*",
                  reason="Warning message trigger count: 1", count=1, **SHELL),),
            "warning", kernels=(OURS,), until=TRACE_END,
        ),
        Symptom(
            "warn-panic", "a module called WARN() with panic_on_warn set",
            "echo 1 >/proc/sys/kernel/panic_on_warn\n" + module("warn"),
            (must("warning", function="symptom_warn", reason=asked, count=1, **SHELL),
             must("panic", reason="kernel: panic_on_warn set ...", count=1)),
            "warning", until=PANIC_END,
        ),
        Symptom(
            "refcount", "raised a reference count from 0", module("refcount"),
            (must("corruption", reason="refcount_t: addition on 0; use-after-free", count=1, **SHELL),),
            "corruption", until=TRACE_END,
        ),
        Symptom(
            "atomic", "slept with bottom halves off", module("atomic"),
            (must("bug", reason="scheduling while atomic", count=[1, 9], **SHELL),), "bug",
            may=("complaint", "warning"), watch_s=4,
        ),
        Symptom(
            "bad-page", "freed a page that was still mapped", module("bad_page"),
            (must("corruption", reason="Bad page state", count=[1, 40], task="sh"),), "corruption", watch_s=4,
        ),
        Symptom(
            "redzone", "wrote beyond an object, with slub_debug=FZP", module("redzone"),
            (must("corruption", cache="kmalloc-64", count=1, **SHELL),), "corruption", watch_s=4,
            told_kernel="console=ttyS0,115200 loglevel=8 slub_debug=FZP",
        ),
        Symptom(
            "poison", "wrote to a freed object, with slub_debug=FZP",
            module("use_after_free") + module("use_after_free") + module("redzone"),
            (must("corruption", cache="kmalloc-64", count=[1, 9]),), "corruption", watch_s=4,
            told_kernel="console=ttyS0,115200 loglevel=8 slub_debug=FZP",
        ),
        Symptom(
            "list", "broke a list that the kernel checks", module("list"),
            (must("corruption", reason="list_add corruption", where="lib/list_debug.c:*", count=1, **SHELL),),
            "corruption", kernels=(DEBIAN, DEBUG), until=TRACE_END,
        ),
        Symptom(
            "usercopy", "copied 128 bytes of an object of 64 to the user", module("usercopy"),
            (must("bug", reason="Kernel memory exposure attempt detected", where="mm/usercopy.c:*", count=1,
                  **SHELL),),
            "bug", kernels=(DEBIAN, DEBUG), until=TRACE_END,
        ),
    ]  # fmt: skip


def _lockups() -> list[Symptom]:
    soft = must("soft-lockup", function="symptom_soft", cpu=[0, 1], **SHELL, **LOCKED)
    stuck = ("rcu-stall", "hung-task", "workqueue", "complaint")
    return [
        Symptom(
            "soft-lockup", "a task spun with preemption off", QUICK + module("soft"), (soft,), "soft-lockup",
            may=stuck, until="s! [sh:", after_s=4, watch_s=40,
        ),
        Symptom(
            "soft-lockup-smp", "a task spun with preemption off, on one of two CPUs", QUICK + module("soft"),
            (soft,), "soft-lockup", may=stuck, vcpus=2, until="s! [sh:", after_s=8, watch_s=40,
        ),
        Symptom(
            "soft-lockup-panic", "the same with softlockup_panic set",
            QUICK + "echo 1 >/proc/sys/kernel/softlockup_panic\n" + module("soft"),
            (soft, must("panic", reason="softlockup: hung tasks", count=1)), "soft-lockup", may=stuck,
            until=PANIC_END, watch_s=40,
        ),
        Symptom(
            "spin", "a task took a spinlock twice", QUICK + module("spin"),
            (must("soft-lockup", **SHELL, **LOCKED),), "soft-lockup", may=stuck, vcpus=2, until="s! [sh:",
            after_s=4, watch_s=40,
        ),
        Symptom(
            "lkdtm-softlockup", "LKDTM SOFTLOCKUP", QUICK + lkdtm("SOFTLOCKUP"),
            (must("soft-lockup", function="lkdtm_SOFTLOCKUP", **SHELL, **LOCKED),), "soft-lockup", may=stuck,
            kernels=(OURS,), until="s! [sh:", after_s=4, watch_s=40,
        ),
        Symptom(
            "lkdtm-loop", "LKDTM LOOP", QUICK + lkdtm("LOOP"),
            (must("soft-lockup", function="lkdtm_LOOP", **SHELL, **LOCKED),), "soft-lockup", may=stuck,
            kernels=(OURS,), until="s! [sh:", after_s=4, watch_s=40,
        ),
        Symptom(
            "lkdtm-spinlockup", "LKDTM SPINLOCKUP twice", QUICK + lkdtm("SPINLOCKUP") * 2,
            (must("soft-lockup", **SHELL, **LOCKED),), "soft-lockup", may=(*stuck, "bug"), kernels=(OURS,), vcpus=2,
            until="s! [sh:", after_s=4, watch_s=40,
        ),
        Symptom(
            "rcu", "a task spun in an RCU section and held the soft lockup detector off", RCU + module("rcu"),
            (must("rcu-stall", function="*", **SHELL),), "rcu-stall", may=("workqueue", "hung-task"),
            until="detected", after_s=4, watch_s=60,
        ),
        Symptom(
            "rcu-smp", "the same on one of two CPUs", RCU + module("rcu"),
            (must("rcu-stall"),), "rcu-stall", may=("workqueue", "hung-task"), vcpus=2, until="detected", after_s=6,
            watch_s=60,
        ),
        Symptom(
            "rcu-panic", "the same with panic_on_rcu_stall set",
            RCU + "echo 1 >/proc/sys/kernel/panic_on_rcu_stall\n" + module("rcu"),
            (must("rcu-stall"), must("panic", reason="RCU Stall", count=1)), "rcu-stall",
            may=("workqueue", "hung-task"), until=PANIC_END, watch_s=60,
        ),
        Symptom(
            "hard-smp", "one of two CPUs spun with interrupts off: no watchdog sees that, RCU does",
            RCU + module("hard"), (must("rcu-stall", function="symptom_hard", **SHELL),), "rcu-stall",
            may=("soft-lockup", "hung-task", "workqueue"), vcpus=2, until="detected", after_s=14, watch_s=60,
        ),
        Symptom(
            "workqueue", "a work item spun, another waited behind it",
            NO_SOFT + "echo 3 >/sys/module/workqueue/parameters/watchdog_thresh\n" + module("wq"),
            (must("workqueue", cpu=0, function="symptom_work_spins", seconds=[3, 60]),), "workqueue",
            may=("rcu-stall", "hung-task"), kernels=(OURS, DEBUG), until="workqueue lockup", after_s=3, watch_s=60,
        ),
    ]  # fmt: skip


def _hung() -> list[Symptom]:
    waits = {"seconds": [4, 60]}
    return [
        Symptom(
            "hung", "a task waited for what never comes", HUNG + module("hung"),
            (must("hung-task", function="symptom_hung", **SHELL, **waits),), "hung-task", until="INFO: task sh:",
            watch_s=40,
        ),
        Symptom(
            "hung-panic", "the same with hung_task_panic set",
            HUNG + "echo 1 >/proc/sys/kernel/hung_task_panic\n" + module("hung"),
            (must("hung-task", function="symptom_hung", **SHELL, **waits),
             must("panic", reason="hung_task: blocked tasks", count=1)),
            "hung-task", until=PANIC_END, watch_s=40,
        ),
        Symptom(
            "abba", "two tasks took two mutexes in opposite order", HUNG + module("abba"),
            (must("hung-task", task="abba-one", function="symptom_abba_one", **waits),
             must("hung-task", task="abba-two", function="symptom_abba_two", **waits)),
            "hung-task", until="task abba-two", after_s=2, watch_s=40,
        ),
        Symptom(
            "oops-hung", "a task oopsed with a semaphore held, another waited for it",
            HUNG + f"(exec sh -c '{module('hold').strip()}')\n(exec sh -c '{module('take').strip()}') &\n",
            (must("oops", address="0000000000000018", function="symptom_null", count=1, task="sh"),
             must("hung-task", function="symptom_take", task="sh", **waits)),
            "oops", until="INFO: task sh:", watch_s=40,
        ),
        Symptom(
            "lkdtm-hung", "LKDTM HUNG_TASK", HUNG + lkdtm("HUNG_TASK"),
            (must("hung-task", **SHELL, **waits),), "hung-task", kernels=(OURS,),
            until="INFO: task sh:", watch_s=40,
        ),
    ]  # fmt: skip


def _memory() -> list[Symptom]:
    atomic, user = "0xa20(GFP_ATOMIC)", "*GFP_HIGHUSER_MOVABLE*"
    eat = "echo 1 >/proc/sys/vm/overcommit_memory\nexec dd if=/dev/zero of=/dev/null bs=900M count=1\n"
    swap = "dd if=/dev/zero of=/dev/testbed/disk bs=1M count=32\nmkswap /dev/testbed/disk\nswapon /dev/testbed/disk\n"
    killed = must("oom-kill", reason="Out of memory", task="dd", pid="$pid")
    injected = "cd /sys/kernel/debug/{0}\necho 100 >probability\necho 2 >times\necho {1} >verbose\necho Y >task-filter\n"
    return [
        Symptom(
            "alloc", "allocated every page without waiting", module("alloc"),
            (must("allocation", order=0, mode=atomic, function="symptom_alloc", **SHELL),), "allocation",
            may=("slub", "oom-kill", "oom"), until="page allocation failure", after_s=3, watch_s=20,
        ),
        Symptom(
            "alloc-order", "allocated every block of 512 pages", module("alloc_order"),
            (must("allocation", order=9, mode="0xcc0(GFP_KERNEL)", function="symptom_alloc_order", **SHELL),),
            "allocation", may=("slub",), until="page allocation failure", after_s=3, watch_s=20,
        ),
        Symptom(
            "slab", "allocated slab objects without waiting until none was left", module("slab"),
            (must("allocation", order=[0, 3], mode="0x*GFP_ATOMIC*", function="symptom_slab", **SHELL),
             must("slub", cache="kmalloc-512", mode="0xa20(GFP_ATOMIC)", bytes=512)),
            "allocation", may=("oom-kill", "oom"), until="cache: kmalloc", after_s=3, watch_s=30,
        ),
        Symptom(
            "vmalloc", "asked vmalloc() for 1 TiB", module("vmalloc"),
            (must("allocation", bytes=1 << 40, function="symptom_vmalloc", count=1, **SHELL),), "allocation",
            watch_s=4,
        ),
        Symptom(
            "oom", "a task wanted 900 MiB of memory", eat, (killed,), "oom-kill", until="(dd) total-vm",
            after_s=2, watch_s=60,
        ),
        Symptom(
            "oom-swap", "a task wanted 900 MiB of memory and 32 MiB of swap", swap + eat, (killed,), "oom-kill",
            may=("allocation",), until="(dd) total-vm", after_s=2, watch_s=90,
        ),
        Symptom(
            "oom-asker", "the same with oom_kill_allocating_task set",
            "echo 1 >/proc/sys/vm/oom_kill_allocating_task\n" + eat, (killed,), "oom-kill", until="(dd) total-vm",
            after_s=2, watch_s=60,
        ),
        Symptom(
            "oom-panic", "the same with panic_on_oom set", "echo 1 >/proc/sys/vm/panic_on_oom\n" + eat,
            (must("oom", task="dd", mode=user, order=0),
             must("panic", reason="Out of memory: system-wide panic_on_oom is enabled", count=1)),
            "oom", until=PANIC_END, watch_s=60,
        ),
        Symptom(
            "oom-cgroup", "a task in a control group of 8 MiB wanted 900 MiB",
            "mount -t cgroup2 none /sys/fs/cgroup\ncd /sys/fs/cgroup\necho +memory >cgroup.subtree_control\nmkdir small\n"
            "echo 8M >small/memory.max\necho $$ >small/cgroup.procs\n" + eat,
            (must("oom-kill", reason="Memory cgroup out of memory", task="dd", pid="$pid"),), "oom-kill",
            cgroups=True, until="(dd) total-vm", after_s=2, watch_s=60,
        ),
        Symptom(
            "failslab", "let slab allocations of one task fail",
            injected.format("failslab", 1) + "echo N >ignore-gfp-wait\necho 1 >/proc/self/make-it-fail\nls / >/dev/null\n",
            (must("fault-injection"),), "fault-injection", may=("slub", "allocation"), kernels=(OURS,), watch_s=4,
        ),
        Symptom(
            "fail-page-alloc", "let page allocations of one task fail",
            injected.format("fail_page_alloc", 2)
            + "echo N >ignore-gfp-wait\necho N >ignore-gfp-highmem\necho 0 >min-order\n"
            "exec sh -c 'echo 1 >/proc/self/make-it-fail; ls / >/dev/null'\n",
            (must("fault-injection"),), "fault-injection", may=("slub", "allocation", "oom", "oom-kill"),
            kernels=(OURS,), watch_s=4,
        ),
    ]  # fmt: skip


def _checked() -> list[Symptom]:
    """What only the kernel that checks itself reports."""
    return [
        Symptom(
            "kasan-free", "wrote to a freed object", module("use_after_free"),
            (must("kasan", reason="slab-use-after-free", function="symptom_use_after_free", bytes=1, **SHELL),),
            "kasan", kernels=(DEBUG,), watch_s=6,
        ),
        Symptom(
            "kasan-beyond", "wrote beyond an object", module("redzone"),
            (must("kasan", reason="slab-out-of-bounds", function="symptom_redzone", bytes=1, **SHELL),),
            "kasan", kernels=(DEBUG,), watch_s=6,
        ),
        Symptom(
            "kasan-panic", "wrote to a freed object with panic_on_warn set",
            "echo 1 >/proc/sys/kernel/panic_on_warn\n" + module("use_after_free"),
            (must("kasan", reason="slab-use-after-free", function="symptom_use_after_free", **SHELL),
             must("panic", reason="KASAN: panic_on_warn set ...", count=1)),
            "kasan", kernels=(DEBUG,), until=PANIC_END, watch_s=10,
        ),
        Symptom(
            "lockdep", "two tasks took two mutexes in opposite order", HUNG + module("abba"),
            (must("locking", reason="possible circular locking dependency"), must("hung-task", task="abba-one"),
             must("hung-task", task="abba-two")),
            "locking", kernels=(DEBUG,), until="task abba-two", after_s=3, watch_s=60,
        ),
        Symptom(
            "sleep", "said that it might sleep, with a spinlock held", module("sleep"),
            (must("complaint", reason="sleeping function called from invalid context", where="*symptoms.c:*",
                  **SHELL),),
            "complaint", kernels=(DEBUG,), watch_s=6,
        ),
        Symptom(
            "ubsan", "LKDTM ARRAY_BOUNDS", lkdtm("ARRAY_BOUNDS"),
            (must("ubsan", reason="array-index-out-of-bounds", where="drivers/misc/lkdtm/bugs.c:*"),), "ubsan",
            may=("bug", "oops", "kasan"), kernels=(DEBUG,), watch_s=6,
        ),
        Symptom(
            "checked-null", "wrote to address 0x18", module("null"),
            (must("oops", function="symptom_null", count=1, **SHELL),), "oops", may=("kasan",), kernels=(DEBUG,),
            until=TRACE_END, after_s=2,
        ),
        Symptom(
            "checked-soft", "tasks spun with preemption off on both CPUs",
            QUICK + f"sh -c '{module('soft').strip()}' &\n" + module("soft"),
            (must("soft-lockup", function="symptom_soft", task="sh", cpu=0),
             must("soft-lockup", function="symptom_soft", task="sh", cpu=1)),
            "soft-lockup", may=("rcu-stall", "hung-task", "workqueue"), kernels=(DEBUG,), vcpus=2,
            until="s! [sh:", after_s=8, watch_s=60,
        ),
    ]  # fmt: skip


def symptoms() -> tuple[Symptom, ...]:
    return (
        *_panics(), *_oopses(), *_assertions(), *_lockups(), *_hung(), *_memory(), *_checked(),
    )  # fmt: skip
