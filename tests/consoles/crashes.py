"""Owns the deeds after which the kernel calls itself broken: panics, oopses, failed assertions."""

from __future__ import annotations

from typing import Any

from tests.consoles.symptoms import (
    DEBIAN,
    DEBUG,
    OURS,
    PANIC_END,
    SHELL,
    TRACE_END,
    Symptom,
    lkdtm,
    module,
    must,
)


def _panics() -> list[Symptom]:
    return [
        Symptom(
            "sysrq-c",
            "wrote c to /proc/sysrq-trigger",
            "echo c >/proc/sysrq-trigger\n",
            (must("panic", reason="sysrq triggered crash", function="sysrq_handle_crash", count=1, **SHELL),),
            "panic",
            until=PANIC_END,
        ),
        Symptom(
            "sysrq-c-serial",
            "sent BREAK and c to the serial port",
            "",
            (must("panic", reason="sysrq triggered crash", function="sysrq_handle_crash", count=1),),
            "panic",
            until=PANIC_END,
            host=lambda bench, name: bench.domains[name].sysrq("c"),
        ),
        Symptom(
            "panic",
            "a module called panic()",
            module("panic"),
            (
                must(
                    "panic",
                    reason="symptoms: a panic was asked for",
                    function="symptom_panic",
                    count=1,
                    **SHELL,
                ),
            ),
            "panic",
            until=PANIC_END,
        ),
        Symptom(
            "lkdtm-panic",
            "LKDTM called panic()",
            lkdtm("PANIC"),
            (must("panic", reason="dumptest", function="lkdtm_PANIC", count=1, **SHELL),),
            "panic",
            kernels=(OURS,),
            until=PANIC_END,
        ),
        Symptom(
            "no-init",
            "named an init that is not there",
            "",
            (must("panic", reason="Requested init /nowhere failed*", count=1),),
            "panic",
            kernels=(OURS,),
            boots=False,
            until=PANIC_END,
            watch_s=60,
            told_kernel="console=ttyS0,115200 loglevel=8 init=/nowhere",
        ),
        Symptom(
            "no-root",
            "named a root that is not there",
            "",
            (must("panic", reason="VFS: Unable to mount root fs*", count=1),),
            "panic",
            kernels=(OURS,),
            boots=False,
            until=PANIC_END,
            watch_s=60,
            told_kernel="console=ttyS0,115200 loglevel=8 root=/dev/nowhere norootwait",
        ),
        Symptom(
            "nmi",
            "sent an NMI that nobody explains",
            "",
            (must("nmi", cpu=0),),
            "nmi",
            host=lambda bench, name: bench.domains[name].qmp("inject-nmi"),
            until="Dazed and confused",
        ),
        Symptom(
            "nmi-panic",
            "sent an NMI with unknown_nmi_panic set",
            "echo 1 >/proc/sys/kernel/unknown_nmi_panic\n",
            (must("nmi", cpu=0), must("panic", reason="NMI: Not continuing", count=1)),
            "nmi",
            host=lambda bench, name: bench.domains[name].qmp("inject-nmi"),
            until=PANIC_END,
        ),
    ]


def _oopses() -> list[Symptom]:
    def oops(name: str, done: str, **facts: Any) -> Symptom:
        expected = must("oops", **{"function": f"symptom_{name}", "count": 1, **SHELL, **facts})
        return Symptom(f"oops-{name}", done, module(name), (expected,), "oops", until=TRACE_END)

    null = "kernel NULL pointer dereference"
    fault = "unable to handle page fault for"
    made = [
        oops("null", "wrote to address 0x18", reason=null, address="0000000000000018"),
        oops("wild", "wrote to unmapped memory", reason=fault, address="ffffc000dead0000"),
        oops(
            "gpf",
            "wrote to an address that is none",
            reason="general protection fault",
            address="dead000000000100",
        ),
        oops("divide", "divided by zero", reason="divide error"),
        oops("opcode", "ran an instruction that is none", reason="invalid opcode"),
        Symptom(
            "oops-stack",
            "recursed until the stack was full",
            module("stack"),
            (
                must(
                    "oops", reason="TASK stack guard page was hit", function="symptom_stack", count=1, **SHELL
                ),
            ),
            "oops",
            may=("panic",),
            until=TRACE_END,
        ),
        Symptom(
            "oops-double-fault",
            "pushed to a stack that is not there",
            module("double_fault"),
            (must("oops", reason="double fault", function="symptom_double_fault", count=1, **SHELL),),
            "oops",
            may=("panic",),
            until=TRACE_END,
        ),
        Symptom(
            "oops-worker",
            "a work item wrote to address 0x28",
            module("worker_oops"),
            (
                must(
                    "oops",
                    reason=null,
                    address="0000000000000028",
                    function="symptom_work_oopses",
                    count=1,
                    task="kworker*",
                ),
            ),
            "oops",
            until=TRACE_END,
        ),
        Symptom(
            "oops-irq",
            "a timer wrote to address 0x38",
            module("irq_oops"),
            (
                must(
                    "oops", reason=null, address="0000000000000038", function="symptom_timer_fires", count=1
                ),
                must("panic", reason="Fatal exception in interrupt", count=1),
            ),
            "oops",
            until=PANIC_END,
        ),
        Symptom(
            "oops-panic",
            "wrote to address 0x18 with panic_on_oops set",
            "echo 1 >/proc/sys/kernel/panic_on_oops\n" + module("null"),
            (
                must(
                    "oops", reason=null, address="0000000000000018", function="symptom_null", count=1, **SHELL
                ),
                must("panic", reason="Fatal exception", count=1),
            ),
            "oops",
            until=PANIC_END,
        ),
    ]
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
            Symptom(
                f"lkdtm-{name.lower().replace('_', '-')}",
                f"LKDTM {name}",
                lkdtm(name),
                (expected,),
                "oops",
                may=("panic",),
                kernels=(OURS,),
                until=TRACE_END,
            )
        )
    return made


def _assertions() -> list[Symptom]:
    asked = "symptoms: a warning was asked for"
    return [
        Symptom(
            "bug",
            "a module called BUG()",
            module("bug"),
            (must("bug", function="symptom_bug", where="*symptoms.c:*", count=1, **SHELL),),
            "bug",
            until=TRACE_END,
        ),
        Symptom(
            "lkdtm-bug",
            "LKDTM called BUG()",
            lkdtm("BUG"),
            (must("bug", function="lkdtm_BUG", where="drivers/misc/lkdtm/bugs.c:*", count=1, **SHELL),),
            "bug",
            kernels=(OURS,),
            until=TRACE_END,
        ),
        Symptom(
            "warn",
            "a module called WARN()",
            module("warn"),
            (
                must(
                    "warning", function="symptom_warn", where="*symptoms.c:*", reason=asked, count=1, **SHELL
                ),
            ),
            "warning",
            until=TRACE_END,
        ),
        Symptom(
            "warn-on",
            "a module called WARN_ON()",
            module("warn_on"),
            (must("warning", function="symptom_warn_on", where="*symptoms.c:*", count=1, **SHELL),),
            "warning",
            until=TRACE_END,
        ),
        Symptom(
            "lkdtm-warning",
            "LKDTM called WARN()",
            lkdtm("WARNING_MESSAGE"),
            (
                must(
                    "warning",
                    function="lkdtm_WARNING_MESSAGE",
                    where="drivers/misc/lkdtm/bugs.c:*",
                    reason="Warning message trigger count: 1",
                    count=1,
                    **SHELL,
                ),
            ),
            "warning",
            kernels=(OURS,),
            until=TRACE_END,
        ),
        Symptom(
            "warn-panic",
            "a module called WARN() with panic_on_warn set",
            "echo 1 >/proc/sys/kernel/panic_on_warn\n" + module("warn"),
            (
                must("warning", function="symptom_warn", reason=asked, count=1, **SHELL),
                must("panic", reason="kernel: panic_on_warn set ...", count=1),
            ),
            "warning",
            until=PANIC_END,
        ),
        Symptom(
            "refcount",
            "raised a reference count from 0",
            module("refcount"),
            (must("corruption", reason="refcount_t: addition on 0; use-after-free", count=1, **SHELL),),
            "corruption",
            until=TRACE_END,
        ),
        Symptom(
            "atomic",
            "slept with bottom halves off",
            module("atomic"),
            (must("bug", reason="scheduling while atomic", count=[1, 9], **SHELL),),
            "bug",
            may=("complaint", "warning"),
            watch_s=4,
        ),
        Symptom(
            "bad-page",
            "freed a page that was still mapped",
            module("bad_page"),
            (must("corruption", reason="Bad page state", count=[1, 40], task="sh"),),
            "corruption",
            watch_s=4,
        ),
        Symptom(
            "redzone",
            "wrote beyond an object, with slub_debug=FZP",
            module("redzone"),
            (must("corruption", cache="kmalloc-64", count=1, **SHELL),),
            "corruption",
            watch_s=4,
            told_kernel="console=ttyS0,115200 loglevel=8 slub_debug=FZP",
        ),
        Symptom(
            "poison",
            "wrote to a freed object, with slub_debug=FZP",
            module("use_after_free") + module("use_after_free") + module("redzone"),
            (must("corruption", cache="kmalloc-64", count=[1, 9]),),
            "corruption",
            watch_s=4,
            told_kernel="console=ttyS0,115200 loglevel=8 slub_debug=FZP",
        ),
        Symptom(
            "list",
            "broke a list that the kernel checks",
            module("list"),
            (must("corruption", reason="list_add corruption", where="lib/list_debug.c:*", count=1, **SHELL),),
            "corruption",
            kernels=(DEBIAN, DEBUG),
            until=TRACE_END,
        ),
        Symptom(
            "usercopy",
            "copied 128 bytes of an object of 64 to the user",
            module("usercopy"),
            (
                must(
                    "bug",
                    reason="Kernel memory exposure attempt detected",
                    where="mm/usercopy.c:*",
                    count=1,
                    **SHELL,
                ),
            ),
            "bug",
            kernels=(DEBIAN, DEBUG),
            until=TRACE_END,
        ),
    ]


def symptoms() -> tuple[Symptom, ...]:
    return (
        *_panics(),
        *_oopses(),
        *_assertions(),
    )
