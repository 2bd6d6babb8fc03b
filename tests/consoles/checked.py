"""Owns the deeds for the kernel that checks itself: what no other reports."""

from __future__ import annotations

from tests.consoles.symptoms import (
    DEBUG,
    HUNG,
    PANIC_END,
    QUICK,
    SHELL,
    TRACE_END,
    Symptom,
    lkdtm,
    module,
    must,
)


def _checked() -> list[Symptom]:
    """What only the kernel that checks itself reports."""
    return [
        Symptom(
            "kasan-free",
            "wrote to a freed object",
            module("use_after_free"),
            (must("kasan", reason="use-after-free", function="symptom_use_after_free", bytes=1, **SHELL),),
            "kasan",
            kernels=(DEBUG,),
            watch_s=6,
        ),
        Symptom(
            "kasan-beyond",
            "wrote beyond an object",
            module("redzone"),
            (must("kasan", reason="slab-out-of-bounds", function="symptom_redzone", bytes=1, **SHELL),),
            "kasan",
            kernels=(DEBUG,),
            watch_s=6,
        ),
        Symptom(
            "kasan-panic",
            "wrote to a freed object with panic_on_warn set",
            "echo 1 >/proc/sys/kernel/panic_on_warn\n" + module("use_after_free"),
            (
                must("kasan", reason="use-after-free", function="symptom_use_after_free", **SHELL),
                must("panic", reason="KASAN: panic_on_warn set ...", count=1),
            ),
            "kasan",
            kernels=(DEBUG,),
            until=PANIC_END,
            watch_s=10,
        ),
        Symptom(
            "lockdep",
            "two tasks took two mutexes in opposite order",
            HUNG + module("abba"),
            (
                must("locking", reason="possible circular locking dependency"),
                must("hung-task", task="abba-one"),
                must("hung-task", task="abba-two"),
            ),
            "locking",
            kernels=(DEBUG,),
            until="task abba-two",
            after_s=3,
            watch_s=60,
        ),
        Symptom(
            "sleep",
            "said that it might sleep, with a spinlock held",
            module("sleep"),
            (
                must(
                    "complaint",
                    reason="sleeping function called from invalid context",
                    where="*symptoms.c:*",
                    **SHELL,
                ),
            ),
            "complaint",
            kernels=(DEBUG,),
            watch_s=6,
        ),
        Symptom(
            "ubsan",
            "LKDTM ARRAY_BOUNDS",
            lkdtm("ARRAY_BOUNDS"),
            (must("ubsan", reason="array-index-out-of-bounds", where="drivers/misc/lkdtm/bugs.c:*"),),
            "ubsan",
            may=("bug", "oops", "kasan"),
            kernels=(DEBUG,),
            watch_s=6,
        ),
        Symptom(
            "checked-null",
            "wrote to address 0x18: KASAN says so first, and then comes the fault",
            module("null"),
            (
                must("kasan", reason="null-ptr-deref", function="symptom_null", **SHELL),
                must("oops", function="symptom_null", count=1, **SHELL),
            ),
            "kasan",
            kernels=(DEBUG,),
            until=TRACE_END,
            after_s=2,
        ),
        Symptom(
            "checked-soft",
            "tasks spun with preemption off on both CPUs",
            QUICK + f"sh -c '{module('soft').strip()}' &\n" + module("soft"),
            (
                must("soft-lockup", function="symptom_soft", task="sh", cpu=0),
                must("soft-lockup", function="symptom_soft", task="sh", cpu=1),
            ),
            "soft-lockup",
            may=("rcu-stall", "hung-task", "workqueue"),
            kernels=(DEBUG,),
            vcpus=2,
            until="s! [sh:",
            after_s=8,
            watch_s=60,
        ),
    ]


def symptoms() -> tuple[Symptom, ...]:
    return (*_checked(),)
