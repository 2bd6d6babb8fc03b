"""Kernel reports out of bytes: facts, grouping, the one cause, and what a hostile console can not do."""

from __future__ import annotations

import re
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.consoles import KINDS, SIGNS, KernelReport, Reader, Reading, cause_of, read, reader, sign_of
from testbed.consoles.cause import EXPLAINED_BY, PANIC_FOR
from testbed.consoles.facts import TELLING
from testbed.consoles.report import MOST_LINES
from testbed.consoles.text import MAX_LINE, MAX_STAMP, STAMP
from testbed.judge.console import SAYS

LONG = settings(max_examples=100_000, deadline=None)


def console(*messages: str, at: float = 31.0, caller: str = "") -> bytes:
    """A kernel's lines, a millisecond apart; `caller` is what CONFIG_PRINTK_CALLER adds."""
    prefix = f"[{caller:>6}]" if caller else ""
    lines = (f"[{at + number / 1000:12.6f}]{prefix} {message}\r\n" for number, message in enumerate(messages))
    return "".join(lines).encode()


def only(data: bytes) -> KernelReport:
    (report,) = read(data).reports
    return report


# --- the table

FACTS = [
    ("Kernel panic - not syncing: hung_task: blocked tasks", {"reason": "hung_task: blocked tasks"}),
    (
        "BUG: KASAN: slab-out-of-bounds in foo_bar+0x12/0x40 [foo]",
        {"reason": "slab-out-of-bounds", "function": "foo_bar"},
    ),
    ("BUG: KFENCE: use-after-free read in foo+0x1/0x2", {"reason": "use-after-free read", "function": "foo"}),
    ("BUG: KMSAN: uninit-value in foo+0x1/0x2", {"reason": "uninit-value", "function": "foo"}),
    (
        "BUG: unable to handle page fault for address: ffffea0000001000",
        {"reason": "unable to handle page fault for", "address": "ffffea0000001000"},
    ),
    (
        "general protection fault, probably for non-canonical address 0xdead000000000100: 0000 [#1] SMP",
        {"reason": "general protection fault", "address": "dead000000000100"},
    ),
    ("invalid opcode: 0000 [#3] PREEMPT SMP NOPTI", {"reason": "invalid opcode"}),
    ("kernel BUG at mm/slub.c:442!", {"where": "mm/slub.c:442"}),
    ("Kernel BUG at foo.cold+0x1/0x2 [verbose debug info unavailable]", {"function": "foo"}),
    ("BUG: scheduling while atomic: kworker/0:1/13/0x00000100", {"task": "kworker/0:1", "pid": 13}),
    (
        "BUG: Bad page state in process kswapd0  pfn:03f2a",
        {"task": "kswapd0", "reason": "Bad page state"},
    ),
    (
        "BUG kmalloc-64 (Tainted: G    B      O      ): Poison overwritten",
        {"cache": "kmalloc-64", "reason": "Poison overwritten"},
    ),
    ("Write-error on swap-device (43:0:1208)", {"device": "43:0", "operation": "Write"}),
    ("Read-error on swap-device", {"operation": "Read"}),
    ("Write error -5 on dio swapfile (4096)", {"operation": "Write", "result": -5}),
    ("Write error 24576 on dio swapfile (4096)", {"operation": "Write", "result": 24576}),
    (
        "critical space allocation error, dev nbd0, sector 8 op 0x1:(WRITE) flags 0x104000 phys_seg 1",
        {"device": "nbd0", "sector": 8, "operation": "WRITE", "reason": "critical space allocation"},
    ),
    ("Buffer I/O error on dev nbd0, logical block 3, async page read", {"device": "nbd0", "sector": 3}),
    ("md/raid1:md0: Disk failure on nbd0, disabling device.", {"device": "nbd0"}),
    (
        "Out of memory (oom_kill_allocating_task): Killed process 213 (a b) total-vm:72004kB",
        {"reason": "Out of memory", "pid": 213, "task": "a b"},
    ),
    (
        "Memory cgroup out of memory: Killed process 7 (dd) total-vm:1kB",
        {"reason": "Memory cgroup out of memory", "pid": 7},
    ),
    (
        "load invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP), order=0, oom_score",
        {"task": "load", "order": 0, "mode": "0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP)"},
    ),
    ("NMI watchdog: Watchdog detected hard LOCKUP on cpu 3", {"cpu": 3}),
    (
        "watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [kworker/0:1H:88]",
        {"cpu": 1, "seconds": 22, "task": "kworker/0:1H", "pid": 88},
    ),
    (
        "BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 41s!",
        {"cpu": 0, "seconds": 41},
    ),
    (
        "INFO: task kworker/u2:1:29 blocked for more than 120 seconds.",
        {"task": "kworker/u2:1", "pid": 29, "seconds": 120},
    ),
    (
        "WARNING: CPU: 1 PID: 33 at net/core/dev.c:5393 napi_poll+0x1/0x2",
        {"cpu": 1, "pid": 33, "where": "net/core/dev.c:5393", "function": "napi_poll"},
    ),
    (
        "a: b: page allocation failure: order:3, mode:0xcc0(GFP_KERNEL), nodemask=(null)",
        {"task": "a: b", "order": 3, "mode": "0xcc0(GFP_KERNEL)"},
    ),
    (
        "sh: vmalloc error: size 4096, exceeds total pages, mode:0xcc0(GFP_KERNEL), nodemask=(null)",
        {"task": "sh", "bytes": 4096, "mode": "0xcc0(GFP_KERNEL)"},
    ),
    ("SLUB: Unable to allocate memory on node -1, gfp=0x820(GFP_ATOMIC)", {"mode": "0x820(GFP_ATOMIC)"}),
    (
        "block nbd0: Receive control failed (result -32)",
        {"device": "nbd0", "result": -32, "reason": "Receive control failed"},
    ),
    (
        "block nbd1: Possible stuck request 00608fa720: control (write@1056768,4096B). Runtime 30 seconds",
        {"device": "nbd1", "operation": "write", "bytes": 4096, "seconds": 30},
    ),
    (
        "block nbd0: Connection timed out, retrying (0/1 alive)",
        {"device": "nbd0", "reason": "Connection timed out, retrying"},
    ),
    (" connection1:0: detected conn error (1020)", {"device": "connection1:0"}),
    (
        " connection1:0: gracefully ignored conn error (1022)",
        {"device": "connection1:0", "reason": "gracefully ignored conn error"},
    ),
    ("nvme nvme0: starting error recovery", {"device": "nvme0"}),
    ("e1000e 0000:00:03.0 data: NIC Link is Down", {"device": "data"}),
    ("8139cp 0000:00:02.0 mgmt: link down", {"device": "mgmt"}),
    ("e1000e 0000:00:03.0 data: NETDEV WATCHDOG: CPU: 0: transmit queue 0 timed out", {"device": "data"}),
    (
        "nfs: server 10.20.0.3 not responding, still trying",
        {"server": "10.20.0.3", "reason": "not responding, still trying"},
    ),
    ("nfs: server fs.example OK", {"server": "fs.example"}),
    (
        "EXT4-fs error (device nbd0): ext4_journal_check_start:83: comm dd: Detected aborted journal",
        {"device": "nbd0"},
    ),
    ("Aborting journal on device nbd0-8.", {"device": "nbd0"}),
]


@pytest.mark.parametrize(("message", "facts"), FACTS, ids=lambda value: str(value)[:40])
def test_a_first_line_tells_its_facts(message: str, facts: dict[str, object]) -> None:
    for caller in ("", "T1", "C0"):
        known = only(console(message, caller=caller)).facts.known()
        assert {name: known.get(name) for name in facts} == facts


@pytest.mark.parametrize(("message", "_"), FACTS, ids=lambda value: str(value)[:40])
def test_a_line_that_was_cut_off_is_still_that_kind(message: str, _: object) -> None:
    """At every length from which on it is known at all, it is known for what it is."""
    whole = only(console(message)).kind
    kinds = {
        sign.kind
        for end in range(len(message))
        if (sign := sign_of(b"[   31.250000] " + message[:end].encode()))
    }
    assert kinds <= {whole, "complaint", "warning", "nbd", "oom"}


def test_each_sign_says_where_it_is_from() -> None:
    for sign in SIGNS:
        assert sign.words and sign.source
        assert sign.starts or sign.holds
        for literal in (*sign.starts, sign.holds):
            assert literal.isascii()


def test_every_kind_has_its_place_in_the_order_of_causes() -> None:
    assert set(EXPLAINED_BY) == set(KINDS)
    explaining = set().union(*EXPLAINED_BY.values(), *(kinds for _, kinds in PANIC_FOR))
    assert explaining <= set(KINDS)
    assert set(SAYS) <= set(KINDS)


def test_the_document_has_every_sign() -> None:
    document = (Path(__file__).parent.parent / "docs" / "verdicts.md").read_text()
    rows = {
        tuple(cell.strip() for cell in row)
        for row in re.findall(r"^\| `([\w-]+)` \| (.+?) \| (.+?) \|$", document, re.M)
    }
    wanted = {
        (
            kind,
            ", ".join(dict.fromkeys(sign.words for sign in SIGNS if sign.kind == kind)),
            SAYS.get(kind, "note"),
        )
        for kind in KINDS
    }
    assert rows == wanted


# --- grouping

OOPS = (
    "BUG: kernel NULL pointer dereference, address: 0000000000000018",
    "#PF: supervisor write access in kernel mode",
    "#PF: error_code(0x0002) - not-present page",
    "PGD 0 P4D 0 ",
    "Oops: 0002 [#1] SMP NOPTI",
    "CPU: 1 PID: 107 Comm: sh Tainted: G           O       6.1.192 #1",
    "RIP: 0010:symptom_null+0x0/0x10 [symptoms]",
    "Code: Unable to access opcode bytes at 0xffffffff9fffffd6.",
    "Call Trace:",
    " <TASK>",
    " asked+0x96/0xd0 [symptoms]",
    " ? nonsense+0x1/0x2",
    " proc_reg_write+0x4f/0x90",
    " </TASK>",
    "CR2: 0000000000000018",
    "---[ end trace 0000000000000000 ]---",
)
HUNG = (
    "INFO: task dd:99 blocked for more than 120 seconds.",
    "      Not tainted 6.1.192 #1",
    '"echo 0 > /proc/sys/kernel/hung_task_timeout_secs" disables this message.',
    "task:dd              state:D stack:0     pid:99    ppid:1      flags:0x00004002",
    "Call Trace:",
    " <TASK>",
    " __schedule+0x2f5/0x8c0",
    " schedule+0x5a/0xd0",
    " io_schedule+0x42/0x70",
    " blk_mq_get_tag+0x11a/0x2a0",
    " </TASK>",
)


def interleaved(one: bytes, other: bytes) -> bytes:
    pairs = zip(one.splitlines(keepends=True), other.splitlines(keepends=True), strict=False)
    return b"".join(line for pair in pairs for line in pair)


def test_an_oops_with_all_its_lines_is_one_report() -> None:
    report = only(console(*OOPS))
    assert report.kind == "oops"
    assert report.facts.known() == {
        "task": "sh", "pid": 107, "cpu": 1, "function": "symptom_null", "address": "0000000000000018",
        "reason": "kernel NULL pointer dereference",
    }  # fmt: skip
    assert report.trace == ("asked", "proc_reg_write")


def test_reports_of_two_callers_do_not_mix() -> None:
    first, second = read(
        interleaved(console(*OOPS, caller="T107"), console(*HUNG * 2, caller="T22"))
    ).reports[:2]
    assert (first.kind, first.facts.function, first.facts.pid) == ("oops", "symptom_null", 107)
    assert (second.kind, second.facts.function, second.facts.pid) == ("hung-task", "blk_mq_get_tag", 99)
    assert "blk_mq_get_tag" not in first.trace


def test_the_userlands_lines_between_do_not_end_a_report() -> None:
    lines = console(*HUNG).splitlines(keepends=True)
    noise = b"login: \x1b[2J\xff\xfe BUG: oops\r\n"
    report = only(b"".join(line + noise for line in lines))
    assert report.facts.function == "blk_mq_get_tag"


def test_a_second_trace_is_not_the_first_ones() -> None:
    report = only(console(*HUNG, "Call Trace:", " <TASK>", " other+0x1/0x2", " </TASK>"))
    assert "other" not in report.trace


def test_what_comes_long_after_is_not_its() -> None:
    report = only(console(HUNG[0]) + console(*HUNG[4:], at=60))
    assert report.trace == ()


def test_a_sysrq_dump_belongs_to_no_report() -> None:
    report = only(console(HUNG[0], "sysrq: Show Blocked State", *HUNG[3:]))
    assert report.trace == ()


@pytest.mark.parametrize(
    ("messages", "kind", "facts"),
    [
        (
            ("kernel BUG at mm/slub.c:442!", "invalid opcode: 0000 [#1] SMP"),
            "bug", {"where": "mm/slub.c:442", "reason": "invalid opcode"},
        ),
        (
            ("list_add corruption. prev is NULL.", "kernel BUG at lib/list_debug.c:23!",
             "invalid opcode: 0000 [#1]"),
            "corruption", {"where": "lib/list_debug.c:23", "reason": "list_add corruption"},
        ),
        (
            ("------------[ cut here ]------------", "refcount_t: underflow; use-after-free.",
             "WARNING: CPU: 0 PID: 9 at lib/refcount.c:28 refcount_warn_saturate+0xb/0xc"),
            "corruption", {"where": "lib/refcount.c:28", "reason": "refcount_t: underflow; use-after-free"},
        ),
        (
            ("list_add corruption. next->prev should be prev (ffffc90000683bc0), but was 0.",
             "------------[ cut here ]------------", "kernel BUG at lib/list_debug.c:27!",
             "invalid opcode: 0000 [#1] PREEMPT SMP NOPTI", "RIP: 0010:__list_add_valid.cold+0x4b/0x5b"),
            "corruption", {"where": "lib/list_debug.c:27", "function": "__list_add_valid"},
        ),
        (
            ("usercopy: Kernel memory exposure attempt detected from SLUB object 'kmalloc-64' (offset 0)!",
             "------------[ cut here ]------------", "kernel BUG at mm/usercopy.c:101!",
             "invalid opcode: 0000 [#1] PREEMPT SMP NOPTI"),
            "bug", {"where": "mm/usercopy.c:101", "reason": "Kernel memory exposure attempt detected"},
        ),
        (
            ("PANIC: double fault, error_code: 0x0", "double fault: 0000 [#1] SMP"),
            "oops", {"reason": "double fault"},
        ),
        (
            ("------------[ cut here ]------------", "what was said",
             "WARNING: CPU: 0 PID: 9 at a/b.c:1 f+0x1/0x2"),
            "warning", {"reason": "what was said", "where": "a/b.c:1"},
        ),
        (
            ("dd invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=1, oom_score_adj=0",
             "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),task=load,pid=8,uid=0",
             "Out of memory: Killed process 8 (load) total-vm:1kB"),
            "oom-kill", {"task": "load", "pid": 8, "order": 1, "mode": "0xcc0(GFP_KERNEL)"},
        ),
    ],
)  # fmt: skip
def test_what_is_said_of_one_thing_is_one_report(
    messages: tuple[str, ...], kind: str, facts: dict[str, object]
) -> None:
    report = only(console(*messages))
    assert report.kind == kind
    assert facts.items() <= report.facts.known().items()


def test_two_oopses_are_two() -> None:
    kinds = [report.facts.reason for report in read(console(*OOPS, "divide error: 0000 [#2] SMP")).reports]
    assert kinds == ["kernel NULL pointer dereference", "divide error"]


def test_two_assertions_are_two() -> None:
    first, second = ("kernel BUG at a.c:1!", "invalid opcode: 0000 [#1]"), ("kernel BUG at b.c:2!",)
    assert [report.facts.where for report in read(console(*first, *second)).reports] == ["a.c:1", "b.c:2"]


def test_what_was_printed_before_is_no_news() -> None:
    once = console("boot", *OOPS, *HUNG)
    assert len(read(once * 3).reports) == 2
    assert len(read(once + console(*OOPS, at=50)).reports) == 3


def test_a_stamp_in_the_middle_of_a_line_counts() -> None:
    for before in (b"login: ", b"[    1.000000] pulse", b"x" * 5000, b"\x1b[31m", b"[   31.25"):
        assert only(before + console(OOPS[0])).facts.address == "0000000000000018"


def test_what_has_begun_is_known_while_the_console_grows() -> None:
    growing = Reader()
    panic = console("Kernel panic - not syncing: x", "CPU: 0 PID: 7 Comm: sh Not tainted 6.1.192 #1")
    assert growing.feed(panic) == []
    (begun,) = growing.open
    assert (begun.kind, begun.facts.pid) == ("panic", 7)
    assert len(growing.feed(console("---[ end Kernel panic - not syncing: x ]---", at=32))) == 1
    assert growing.open == ()


# --- the cause


def cause(*data: bytes) -> str | None:
    found = cause_of(read(b"".join(data)))
    return None if found is None else found.kind


def test_a_panic_for_an_earlier_report_is_its_consequence() -> None:
    hung, panic = console(*HUNG), console("Kernel panic - not syncing: hung_task: blocked tasks", at=32)
    found = cause_of(read(hung + panic))
    assert found is not None and found.report is not None
    assert (found.kind, found.report.kind, found.consequences) == ("hung-task", "hung-task", ("panic",))
    assert cause(panic) == "hung-task"  # the report itself was not printed, or lost
    assert cause(hung, console("Kernel panic - not syncing: sysrq triggered crash", at=32)) == "panic"


LOST = "block nbd0: Receive control failed (result -32)"
ERROR = "I/O error, dev nbd0, sector 8 op 0x1:(WRITE) flags 0x0 phys_seg 1"
SOFT = "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [x:1]"
STALL = "rcu: INFO: rcu_sched self-detected stall on CPU"
SLUB = "SLUB: Unable to allocate memory on node -1, gfp=0x820(GFP_ATOMIC)"
KILL = "Out of memory: Killed process 8 (load) total-vm:1kB"


@pytest.mark.parametrize(
    ("messages", "kind"),
    [
        ((LOST, ERROR, "Write-error on swap-device (43:0:8)", HUNG[0]), "lost-connection"),
        ((ERROR, "Write-error on swap-device (43:0:8)"), "io-error"),
        ((OOPS[0], SOFT, HUNG[0], STALL), "oops"),
        ((SOFT, STALL, HUNG[0]), "soft-lockup"),
        ((STALL, SOFT), "soft-lockup"),
        (("nfs: server a not responding, still trying", HUNG[0], "nfs: server a OK"), "nfs"),
        ((KILL, "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000009"), "oom-kill"),
        (("a: page allocation failure: order:0, mode:0x820(GFP_ATOMIC)", SLUB), "allocation"),
        (("FAULT_INJECTION: forcing a failure.", SLUB), "fault-injection"),
        (("WARNING: CPU: 0 PID: 9 at a/b.c:1 f+0x1/0x2", OOPS[0]), "oops"),
        ((OOPS[0], "WARNING: CPU: 0 PID: 9 at a/b.c:1 f+0x1/0x2"), "oops"),
        ((), None),
    ],
)  # fmt: skip
def test_one_console_has_one_name(messages: tuple[str, ...], kind: str | None) -> None:
    assert cause(console("boot", *messages)) == kind


def test_a_task_that_hung_on_a_stuck_request_is_its_consequence_though_it_was_reported_first() -> None:
    hung = console("INFO: task dd:99 blocked for more than 4 seconds.", at=25)
    stuck = "block nbd0: Possible stuck request 0: control (write@0,4096B). Runtime 30 seconds"
    assert cause(hung, console(stuck, at=50.5)) == "nbd"
    assert cause(hung, console(stuck, at=70)) == "hung-task"
    found = cause_of(read(hung + console(stuck, at=50.5)))
    assert found is not None and found.consequences == ("hung-task",)


def test_a_stuck_cpu_has_an_old_clock() -> None:
    data = (
        console("rcu: INFO: rcu_sched detected stalls on CPUs/tasks:", at=26)
        + console(*OOPS[5:8], at=14)
        + console("Call Trace:", " <TASK>", " stuck+0x1/0x2", at=26.5)
    )
    report = only(data)
    assert (report.facts.task, report.facts.function, report.trace) == ("sh", "symptom_null", ("stuck",))


def test_silence_needs_a_pulse_to_be_told() -> None:
    reading = read(console("pulse", at=30))
    assert cause_of(reading, watched_s=100) is None
    assert cause_of(reading, watched_s=32, pulse_s=1) is None
    found = cause_of(reading, watched_s=40, pulse_s=1)
    assert found is not None and found.kind == "no-output"
    for nothing in (b"", b"SeaBIOS\r\nlogin: "):
        silent = cause_of(read(nothing))
        assert silent is not None and silent.kind == "no-output"


# --- hostile consoles

pieces = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([
        b"\r\n", b"\n", b"[   31.250000] ", b"[   31.250000][    T7] ", b"[   31.25", b"\x1b[1m",
        b"Call Trace:\n",
        *(f"{message}\n".encode() for message in (*OOPS, *HUNG, LOST, ERROR, KILL)),
        *(f"[   31.{number:06d}] {message}\r\n".encode() for number, (message, _) in enumerate(FACTS)),
        *(f"[   32.{number:06d}][    T5] {message}\r\n".encode() for number, message in enumerate(OOPS)),
    ]),
)  # fmt: skip


def in_pieces(data: bytes, cuts: list[int]) -> tuple[list[KernelReport], int]:
    feeding, found, start = Reader(), [], 0
    for end in [*sorted(cut % (len(data) + 1) for cut in cuts), len(data)]:
        found += feeding.feed(data[start:end])
        start = end
    found += feeding.end()
    return sorted(found, key=lambda report: report.offset), feeding.kernel_lines


def read_in_pieces(parts: list[bytes], cuts: list[int]) -> None:
    """Whatever it is and however it comes: the same reports, whole and safe to show."""
    data = b"".join(parts)
    whole = read(data)
    assert in_pieces(data, cuts) == (list(whole.reports), whole.kernel_lines)
    for report in whole.reports:
        assert report.facts.known() is not None
        assert report.text.isprintable()
        assert data[report.offset : report.offset + 1] == b"["
    assert whole.bytes == len(data)
    cause_of(whole, watched_s=1000, pulse_s=1)


parted = given(st.lists(pieces, max_size=60), st.lists(st.integers(0, 5000), max_size=12))
test_any_console_in_any_pieces = parted(read_in_pieces)
test_any_console_for_long = pytest.mark.nightly(LONG(parted(read_in_pieces)))


@given(st.integers(1, 4000), st.integers(1, 4000))
def test_a_line_without_an_end_hides_nothing(before: int, after: int) -> None:
    data = b"\xfe" * before + b"[   31.250000] Kernel panic - not syncing: x" + b"\xfe" * after
    assert [report.kind for report in read(data).reports] == ["panic"]
    assert in_pieces(data, [before + 7, before + 20]) == in_pieces(data, [])


@given(st.from_regex(STAMP, fullmatch=True))
def test_no_stamp_is_longer_than_is_kept(stamp: bytes) -> None:
    assert len(stamp) <= MAX_STAMP


HOSTILE = {
    "brackets": b"[" * 600_000,
    "half stamps": b"[     1.00000" * 40_000,
    "stamps": b"[    1.000000] " * 30_000,
    "escapes": b"\x1b[" + b"0;" * 300_000,
    "frames": b"[   31.250000] BUG: x\n[   31.250000] Call Trace:\n"
    + b"[   31.250000]  f+0x1/0x2\n" * 20_000,
    "one letter": b"[   31.250000] " + b"A" * 600_000,
    "commas": (b"[   31.250000] " + b"a: " * 300 + b" error, dev [#\n") * 800,
    "oopses": b"".join(b"[%5d.000000] Oops: 0000 [#%d]\n" % (number, number) for number in range(10_000)),
    "callers": b"".join(b"[   31.000000][%6s] BUG: x\n" % b"T%d" % number for number in range(10_000)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_console_costs_linear_time(name: str) -> None:
    begun = time.process_time()
    read(HOSTILE[name])
    assert time.process_time() - begun < 1


def test_the_cause_is_found_in_linear_time() -> None:
    kinds = [message for message, _ in FACTS if "panic" not in message]
    many = b"".join(console(*kinds, at=number) for number in range(400))
    reading = read(many)
    begun = time.process_time()
    cause_of(reading)
    assert len(reading.reports) > 9_000
    assert time.process_time() - begun < 1


def test_memory_does_not_grow_with_the_console(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MOST_SEEN", 500)
    monkeypatch.setattr(reader, "MOST_OF_A_KIND", 100)

    def lines(count: int) -> list[bytes]:
        return [
            console(f"INFO: task load:{number} blocked for more than 20 seconds.", at=number)
            for number in range(count)
        ]

    def peak(count: int) -> int:
        made = lines(count)
        tracemalloc.start()
        read(made)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(1_000)  # what is made once, at the first reading, is no growth
    assert peak(4_000) < 1.2 * peak(1_000)


def test_a_report_keeps_no_more_lines_than_it_may() -> None:
    report = only(console(*HUNG[:6], *(f" f{number}+0x1/0x2" for number in range(5000))))
    assert len(report.said) == MOST_LINES
    assert max(len(line) for _, line in report.said) <= MAX_LINE


def test_the_lines_that_tell_are_found_by_their_first_four_characters() -> None:
    assert all(len(start) == 4 for start in TELLING)


def test_a_reading_counts_what_it_does_not_keep() -> None:
    many = b"".join(
        console(f"INFO: task load:{n} blocked for more than 20 seconds.", at=n) for n in range(2500)
    )
    reading: Reading = read(many)
    assert reading.counts == {"hung-task": 2500}
    pids = [report.facts.pid for report in reading.reports]
    assert (len(pids), pids[0], pids[-1]) == (2000, 0, 2499)
