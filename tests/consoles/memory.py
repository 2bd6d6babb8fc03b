"""Owns the deeds that take the memory: allocations that fail, on purpose or not, and OOM kills."""

from __future__ import annotations

from tests.consoles.symptoms import OURS, OVERCOMMIT, PANIC_END, SHELL, Symptom, module, must

# What is sent to a listener that is stopped stays queued; net/ipv4/tcp.c: tcp_close() asks tcp_check_oom().
TCP_FULL = """\
/usr/lib/testbed/busybox nc -l -p 9999 >/dev/null </dev/zero &
listener=$!
sleep 0.5
/usr/lib/testbed/busybox nc 127.0.0.1 9999 </dev/zero >/dev/null &
sender=$!
sleep 0.2
kill -STOP $listener
sleep 1
echo '1 1 1' >/proc/sys/net/ipv4/tcp_mem
kill -9 $sender
"""


def _memory() -> list[Symptom]:
    atomic, user = "0xa20(GFP_ATOMIC)", "*GFP_HIGHUSER_MOVABLE*"
    eat = OVERCOMMIT + "exec dd if=/dev/zero of=/dev/null bs=900M count=1\n"
    disk = "/dev/testbed/disk"
    swap = f"dd if=/dev/zero of={disk} bs=1M count=32\nmkswap {disk}\nswapon {disk}\n"
    killed = must("oom-kill", reason="Out of memory", task="dd", pid="$pid")
    injected = (
        "cd /sys/kernel/debug/{0}\necho 100 >probability\necho 2 >times\necho {1} >verbose\n"
        "echo Y >task-filter\n"
    )
    return [
        Symptom(
            "alloc",
            "allocated every page without waiting",
            module("alloc"),
            (must("allocation", order=0, mode=atomic, function="symptom_alloc", **SHELL),),
            "allocation",
            may=("slub", "oom-kill", "oom"),
            until="page allocation failure",
            after_s=3,
            watch_s=20,
        ),
        Symptom(
            "alloc-order",
            "allocated every block of 512 pages",
            module("alloc_order"),
            (must("allocation", order=9, mode="0xcc0(GFP_KERNEL)", function="symptom_alloc_order", **SHELL),),
            "allocation",
            may=("slub",),
            until="page allocation failure",
            after_s=3,
            watch_s=20,
        ),
        Symptom(
            "slab",
            "allocated slab objects without waiting until none was left",
            module("slab"),
            (
                must("allocation", order=[0, 3], mode="0x*GFP_ATOMIC*", function="symptom_slab", **SHELL),
                must("slub", cache="kmalloc-512", mode="0xa20(GFP_ATOMIC)", bytes=512),
            ),
            "allocation",
            may=("oom-kill", "oom"),
            until="cache: kmalloc",
            after_s=3,
            watch_s=30,
        ),
        Symptom(
            "vmalloc",
            "asked vmalloc() for 1 TiB",
            module("vmalloc"),
            (must("allocation", bytes=1 << 40, function="symptom_vmalloc", count=1, **SHELL),),
            "allocation",
            watch_s=4,
        ),
        Symptom(
            "tcp-memory",
            "a connection was closed while TCP's limit was below what it had to send",
            TCP_FULL,
            (must("tcp-memory"),),
            "tcp-memory",
            until="TCP: out of memory",
            watch_s=20,
        ),
        Symptom(
            "oom",
            "a task wanted 900 MiB of memory",
            eat,
            (killed,),
            "oom-kill",
            until="(dd) total-vm",
            after_s=2,
            watch_s=60,
        ),
        Symptom(
            "oom-swap",
            "a task wanted 900 MiB of memory and 32 MiB of swap",
            swap + eat,
            (killed,),
            "oom-kill",
            may=("allocation",),
            until="(dd) total-vm",
            after_s=2,
            watch_s=90,
        ),
        Symptom(
            "oom-asker",
            "the same with oom_kill_allocating_task set",
            "echo 1 >/proc/sys/vm/oom_kill_allocating_task\n" + eat,
            (killed,),
            "oom-kill",
            until="(dd) total-vm",
            after_s=2,
            watch_s=60,
        ),
        Symptom(
            "oom-panic",
            "the same with panic_on_oom set",
            "echo 1 >/proc/sys/vm/panic_on_oom\n" + eat,
            (
                must("oom", task="dd", mode=user, order=0),
                must("panic", reason="Out of memory: system-wide panic_on_oom is enabled", count=1),
            ),
            "oom",
            until=PANIC_END,
            watch_s=60,
        ),
        Symptom(
            "oom-cgroup",
            "a task in a control group of 8 MiB wanted 900 MiB",
            "mount -t cgroup2 none /sys/fs/cgroup\ncd /sys/fs/cgroup\n"
            "echo +memory >cgroup.subtree_control\nmkdir small\n"
            "echo 8M >small/memory.max\necho $$ >small/cgroup.procs\n" + eat,
            (must("oom-kill", reason="Memory cgroup out of memory", task="dd", pid="$pid"),),
            "oom-kill",
            cgroups=True,
            until="(dd) total-vm",
            after_s=2,
            watch_s=60,
        ),
        Symptom(
            "failslab",
            "let slab allocations of one task fail",
            injected.format("failslab", 1)
            + "echo N >ignore-gfp-wait\necho 1 >/proc/self/make-it-fail\nls / >/dev/null\n",
            (must("fault-injection"),),
            "fault-injection",
            may=("slub", "allocation"),
            kernels=(OURS,),
            watch_s=4,
        ),
        Symptom(
            "fail-page-alloc",
            "let page allocations of one task fail",
            injected.format("fail_page_alloc", 2)
            + "echo N >ignore-gfp-wait\necho N >ignore-gfp-highmem\necho 0 >min-order\n"
            "exec sh -c 'echo 1 >/proc/self/make-it-fail; ls / >/dev/null'\n",
            (must("fault-injection"),),
            "fault-injection",
            may=("slub", "allocation", "oom", "oom-kill"),
            kernels=(OURS,),
            watch_s=4,
        ),
    ]


def symptoms() -> tuple[Symptom, ...]:
    return (*_memory(),)
