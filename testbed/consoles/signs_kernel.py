"""Owns the rows of the table in which the kernel speaks of itself: broken, out of memory, stuck."""

from __future__ import annotations

from testbed.consoles.sign import ADDRESS, FUNCTION, GFP, TASK, WHERE, Sign

# The kernel is broken: whatever follows may follow from that.
BROKEN = (
    Sign(
        "panic", "kernel panic", "kernel/panic.c panic()",
        starts=("Kernel panic - not syncing",),
        facts=r"Kernel panic - not syncing: (?P<reason>.+)",
    ),
    Sign(
        "kasan", "memory misused (KASAN)", "mm/kasan/report.c print_error_description()",
        starts=("BUG: KASAN: ",),
        facts=rf"BUG: KASAN: (?P<reason>[\w -]{{1,60}}?) in {FUNCTION}",
    ),
    Sign(
        "kfence", "memory misused (KFENCE)", "mm/kfence/report.c kfence_report_error()",
        starts=("BUG: KFENCE: ",),
        facts=rf"BUG: KFENCE: (?P<reason>[\w -]{{1,60}}?) in {FUNCTION}",
    ),
    Sign(
        "kmsan", "uninitialized memory used (KMSAN)", "mm/kmsan/report.c kmsan_report()",
        starts=("BUG: KMSAN: ",),
        facts=rf"BUG: KMSAN: (?P<reason>[\w -]{{1,60}}?) in {FUNCTION}",
    ),
    Sign(
        "oops", "bad memory access in the kernel", "arch/x86/mm/fault.c show_fault_oops()",
        starts=("BUG: unable to handle", "BUG: kernel NULL pointer dereference"),
        facts=rf"BUG: (?P<reason>unable to handle [\w ]{{1,40}}|kernel NULL pointer dereference).{{0,20}}"
        rf" address: {ADDRESS}",
    ),
    Sign(
        "oops", "kernel stack overflow", "arch/x86/kernel/traps.c handle_stack_overflow()",
        starts=("BUG: ",),
        shape=r"BUG: \S{2,16} stack guard page was hit",
        facts=rf"BUG: (?P<reason>\S{{2,16}} stack guard page was hit) at {ADDRESS}",
    ),
    Sign(
        "oops", "double fault", "arch/x86/kernel/traps.c exc_double_fault()",
        starts=("PANIC: double fault",),
        facts=r"PANIC: (?P<reason>double fault)",
    ),
    Sign(
        "oops", "oops", "arch/x86/kernel/dumpstack.c __die_header(): \u201cNAME: 0002 [#1] SMP\u201d",
        holds=" [#",
        shape=r"[A-Za-z#][^\[:]{2,120}: [0-9a-f]{4} \[#\d{1,4}\]",
        facts=rf"(?P<reason>[^\[:]{{2,120}}?)(?:(?: |, probably for| maybe for)[\w -]* address {ADDRESS})?:"
        r" [0-9a-f]{4} \[#",
    ),
    Sign(
        "bug", "failed assertion of the kernel", "lib/bug.c report_bug()",
        starts=("kernel BUG at ", "Kernel BUG at "),
        facts=rf"[kK]ernel BUG at (?:{WHERE}|{FUNCTION})",
    ),
    Sign(
        "bug", "overflow of a buffer in the kernel", "lib/string_helpers.c fortify_panic()",
        starts=("detected buffer overflow in ",),
        facts=r"(?P<reason>detected buffer overflow in \w{1,40})",
    ),
    Sign(
        "bug", "copy beyond an object", "mm/usercopy.c usercopy_abort()",
        starts=("usercopy: Kernel memory ",),
        facts=r"usercopy: (?P<reason>Kernel memory \w{1,20} attempt detected)",
    ),
    Sign(
        "bug", "sleep in atomic context", "kernel/sched/core.c __schedule_bug()",
        starts=("BUG: scheduling while atomic: ",),
        facts=r"BUG: (?P<reason>scheduling while atomic): (?P<task>.{1,40})/(?P<pid>\d{1,10})/0x",
    ),
    Sign(
        "corruption", "corrupt list in the kernel", "lib/list_debug.c __list_add_valid()",
        starts=("list_add corruption", "list_del corruption", "list_add double add"),
        facts=r"(?P<reason>list_\w{3} (?:corruption|double add))",
    ),
    Sign(
        "corruption", "corrupt page", "mm/page_alloc.c bad_page(), mm/memory.c print_bad_pte(),"
        " kernel/fork.c check_mm()",
        starts=("BUG: Bad page ", "BUG: Bad rss-counter"),
        facts=r"BUG: (?P<reason>Bad page \w{3,8}|Bad rss-counter state)"
        r"(?: in process (?P<task>.{1,40}?)  ?p)?",
    ),
    Sign(
        "corruption", "corrupt slab object", "mm/slub.c slab_bug()",
        starts=("BUG ",),
        shape=r"BUG [^ ]{1,80} \((?:Not tainted|Tainted[^)]{0,80})\): ",
        facts=r"BUG (?P<cache>[^ ]{1,80}) \([^)]{0,90}\): (?P<reason>.{1,80})",
    ),
    Sign(
        "corruption", "broken reference count", "lib/refcount.c refcount_warn_saturate()",
        starts=("refcount_t: ",),
        facts=r"(?P<reason>refcount_t: .{1,60}?)\.?$",
    ),
)  # fmt: skip

# Memory ran out.
KILLS = (
    Sign(
        "oom-kill", "OOM kill", "mm/oom_kill.c __oom_kill_process()",
        starts=("Out of memory", "Memory cgroup out of memory"),
        shape=r"(?:Out of memory|Memory cgroup out of memory)[^:]{0,40}: Killed process",
        facts=r"(?P<reason>[^:(]{1,40}?)(?: \([^)]{0,40}\))?: Killed process (?P<pid>\d{1,10})"
        r" \((?P<task>.{1,40}?)\) total-vm",
    ),
    Sign(
        "oom", "out of memory", "mm/oom_kill.c dump_header(), out_of_memory()",
        starts=("Out of memory", "oom-kill:"),
        holds=" invoked oom-killer",
        shape=r"Out of memory|oom-kill:|.{1,40}? invoked oom-killer",
        facts=rf"{TASK} invoked oom-killer: gfp_mask={GFP}, order=(?P<order>-?\d{{1,3}})",
    ),
)  # fmt: skip

# A CPU does not get on.
CPUS = (
    Sign(
        "hard-lockup", "hard lockup", "kernel/watchdog_hld.c watchdog_overflow_callback()",
        starts=("NMI watchdog: Watchdog detected hard LOCKUP", "watchdog: Watchdog detected hard LOCKUP",
                "Watchdog detected hard LOCKUP"),
        facts=r".{0,14}Watchdog detected hard LOCKUP on cpu (?P<cpu>\d{1,4})",
    ),
    Sign(
        "soft-lockup", "soft lockup", "kernel/watchdog.c watchdog_timer_fn()",
        starts=("watchdog: BUG: soft lockup", "BUG: soft lockup"),
        facts=r"(?:watchdog: )?BUG: soft lockup - CPU#(?P<cpu>\d{1,4}) stuck for (?P<seconds>\d{1,9})s!"
        r" \[(?P<task>.{1,40}):(?P<pid>\d{1,10})\]",
    ),
    Sign(
        "rcu-stall", "RCU stall", "kernel/rcu/tree_stall.h print_other_cpu_stall(), print_cpu_stall();"
        " tree_exp.h synchronize_rcu_expedited_wait()",
        starts=("rcu: INFO: rcu_", "INFO: rcu_"),
        shape=r"(?:rcu: )?INFO: rcu_\w{1,30} (?:self-)?detected",
        facts=r"(?:rcu: )?INFO: (?P<reason>rcu_\w{1,30} (?:self-)?detected(?: expedited)? stalls?)",
    ),
    Sign(
        "workqueue", "workqueue stall", "kernel/workqueue.c wq_watchdog_timer_fn()",
        starts=("BUG: workqueue lockup",),
        facts=r"BUG: workqueue lockup - pool(?: cpus=(?P<cpu>\d{1,4})\b)?.{0,80}"
        r" stuck for (?P<seconds>\d{1,9})s!",
    ),
)  # fmt: skip

# The kernel checks itself.
CHECKS = (
    Sign(
        "locking", "locks taken in an order that can deadlock", "kernel/locking/lockdep.c"
        " print_circular_bug_header(), print_deadlock_bug(), print_usage_bug()",
        starts=("WARNING: ",),
        shape=r"WARNING: (?:possible (?:circular|recursive|irq) lock|inconsistent lock state"
        r"|\S{4,9}-safe -> |suspicious RCU usage|bad unlock balance|held lock freed|lock held when"
        r"|.{1,40} still has locks held)",
        facts=r"WARNING: (?P<reason>[\w> -]{1,80}?)(?: detected)?!?$",
    ),
    Sign(
        "locking", "misused spinlock", "kernel/locking/spinlock_debug.c spin_dump()",
        starts=("BUG: spinlock ", "BUG: rwlock "),
        facts=r"BUG: (?P<reason>(?:spin|rw)lock [\w ]{1,40}) on CPU#(?P<cpu>\d{1,4}), (?P<task>.{1,40})"
        r"/(?P<pid>\d{1,10})",
    ),
    Sign(
        "ubsan", "undefined behaviour (UBSAN)", "lib/ubsan.c ubsan_prologue()",
        starts=("UBSAN: ",),
        facts=rf"UBSAN: (?P<reason>[\w -]{{1,60}}?) in {WHERE}",
    ),
    Sign(
        "kcsan", "data race (KCSAN)", "kernel/kcsan/report.c print_report()",
        starts=("BUG: KCSAN: ",),
        facts=r"BUG: KCSAN: (?P<reason>[\w -]{1,60}?) in (?P<function>[\w.]{1,120})",
    ),
    Sign(
        "warning", "kernel warning", "kernel/panic.c __warn()",
        starts=("WARNING: ",),
        facts=r"WARNING: CPU: (?P<cpu>\d{1,4}) PID: (?P<pid>\d{1,10}) at"
        rf" (?:{WHERE} )?{FUNCTION}",
    ),
    Sign(
        "complaint", "sleep in atomic context", "kernel/sched/core.c __might_resched()",
        starts=("BUG: sleeping function called from invalid context",),
        facts=rf"BUG: (?P<reason>sleeping function called from invalid context) at {WHERE}",
    ),
    Sign(
        "complaint", "kernel complaint", "any other \u201cBUG: \u201d",
        starts=("BUG: ",),
        facts=r"BUG: (?P<reason>.{1,120})",
    ),
    Sign(
        "nmi", "unexplained NMI", "arch/x86/kernel/nmi.c unknown_nmi_error()",
        starts=("Uhhuh. NMI received",),
        facts=r"Uhhuh. NMI received for unknown reason \w{2} on CPU (?P<cpu>\d{1,4})",
    ),
)  # fmt: skip

# A task does not get on.
TASKS = (
    Sign(
        "hung-task", "hung task", "kernel/hung_task.c check_hung_task()",
        starts=("INFO: task ",),
        shape=r"INFO: task .{1,40} blocked for more than",
        facts=r"INFO: task (?P<task>.{1,40}):(?P<pid>\d{1,10}) blocked for more than"
        r" (?P<seconds>\d{1,9}) seconds",
    ),
)  # fmt: skip

# An allocation failed, and the kernel went on.
ALLOCATIONS = (
    Sign(
        "allocation", "page allocation failure", "mm/page_alloc.c warn_alloc()",
        holds=": page allocation failure",
        shape=r".{1,40}?: page allocation failure",
        facts=rf"{TASK}: page allocation failure: order:(?P<order>\d{{1,3}}), mode:{GFP}",
    ),
    Sign(
        "allocation", "vmalloc failure", "mm/page_alloc.c warn_alloc(), mm/vmalloc.c",
        holds=": vmalloc error: size ",
        shape=r".{1,40}?: vmalloc error: size ",
        facts=rf"{TASK}: vmalloc error: size (?P<bytes>\d{{1,20}}).{{0,80}}, mode:{GFP}",
    ),
    Sign(
        "slub", "slab allocation failure", "mm/slub.c slab_out_of_memory()",
        starts=("SLUB: Unable to allocate memory",),
        facts=rf"SLUB: Unable to allocate memory on node -?\d{{1,4}}, gfp={GFP}",
    ),
    Sign(
        "tcp-memory", "TCP at its memory limit", "net/ipv4/tcp.c tcp_check_oom()",
        starts=("TCP: out of memory",),
    ),
)  # fmt: skip

# Done on purpose.
INJECTED = (
    Sign(
        "fault-injection", "failure injected", "lib/fault-inject.c fail_dump()",
        starts=("FAULT_INJECTION: forcing a failure",),
    ),
)  # fmt: skip
