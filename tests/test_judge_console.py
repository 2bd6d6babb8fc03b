"""What the kernel's own lines mean, and what must not pass for them."""

from __future__ import annotations

import time

import pytest
from histories import Story, Values, kernel_line

from testbed.consoles import clean, read, sign_of
from testbed.judge import Verdict, judge
from testbed.judge.console import written_ns

STAMP = "[   31.250000] "
BOOT = kernel_line(-15, "Linux version 6.1.192") + b"\r\ninit: ready\r\n"

# Kind, line. Each as Linux 6.1 writes it.
LINES = [
    ("panic", "Kernel panic - not syncing: System is deadlocked on memory"),
    ("oops", "BUG: unable to handle page fault for address: ffffea0000001000"),
    ("oops", "BUG: kernel NULL pointer dereference, address: 0000000000000008"),
    ("oops", "Oops: 0002 [#1] SMP NOPTI"),
    (
        "oops",
        "general protection fault, probably for non-canonical address 0xdead000000000100: 0000 [#1] PREEMPT",
    ),
    ("oops", "invalid opcode: 0000 [#1] SMP"),
    ("bug", "kernel BUG at mm/slub.c:442!"),
    ("corruption", "BUG: Bad page state in process kswapd0  pfn:03f2a"),
    ("bug", "BUG: scheduling while atomic: ksoftirqd/0/13/0x00000100"),
    ("swap-error", "Write-error on swap-device (43:0:1208)"),
    ("swap-error", "Read-error on swap-device (43:0:1208)"),
    ("swap-error", "Write error -5 on dio swapfile (4096)"),
    ("swap-error", "Write error -121 on dio swapfile (4096)"),
    ("swap-error", "Write error on swap-device (43:0:1208)"),
    ("swap-again", "Write error -12 on dio swapfile (88727552)"),
    ("swap-again", "Write error 24576 on dio swapfile (143785984)"),
    ("swap-again", "Write error 0 on dio swapfile (4096)"),
    ("io-error", "I/O error, dev nbd0, sector 1208 op 0x1:(WRITE) flags 0x104000 phys_seg 1 prio class 2"),
    (
        "io-error",
        "blk_update_request: I/O error, dev nbd0, sector 1208 op 0x1:(WRITE) flags 0x0",
    ),
    ("io-error", "Buffer I/O error on dev nbd0, logical block 0, async page read"),
    ("io-error", "md/raid1:md0: Disk failure on nbd0, disabling device."),
    ("oom-kill", "Out of memory: Killed process 213 (load) total-vm:72004kB, anon-rss:1020kB"),
    ("oom-kill", "Out of memory (oom_kill_allocating_task): Killed process 213 (load) total-vm:72004kB"),
    ("soft-lockup", "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [kworker/0:1H:88]"),
    ("rcu-stall", "rcu: INFO: rcu_sched self-detected stall on CPU"),
    ("workqueue", "BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 41s!"),
    ("hung-task", "INFO: task kworker/u2:1:29 blocked for more than 20 seconds."),
    ("allocation", "ksoftirqd/0: page allocation failure: order:0, mode:0x820(GFP_ATOMIC), nodemask=(null)"),
    ("allocation", "kworker/0:1H: page allocation failure: order:0, mode:0xa20(GFP_ATOMIC)"),
    ("slub", "SLUB: Unable to allocate memory on node -1, gfp=0x820(GFP_ATOMIC)"),
    ("lost-connection", "block nbd0: Connection timed out"),
    ("nfs", "nfs: server 10.20.0.3 not responding, still trying"),
    ("oom", "load invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP), order=0"),
    ("warning", "WARNING: CPU: 0 PID: 33 at net/core/dev.c:5393 napi_poll"),
]


def judged(*lines: bytes, machine: str = "A", **changes: object) -> Verdict:
    story = Story(consoles={machine: BOOT + b"".join(lines)})
    return judge(story.but(**changes).evidence())


@pytest.mark.parametrize(("kind", "line"), LINES)
def test_the_kernels_lines_are_known(kind: str, line: str) -> None:
    for stamp in (STAMP, "[    1.000001][    T1] ", "[123456.123456] "):
        sign = sign_of(f"{stamp}{line}\r\n".encode())
        assert sign is not None
        assert sign.kind == kind


@pytest.mark.parametrize(("_", "line"), LINES)
def test_the_same_words_of_the_userland_are_not(_: str, line: str) -> None:
    for text in (
        line,
        f"login: {line}",
        f"[31.25] {line}",
        f"[   31.250000]{line}",
        f"{STAMP}init: it said {line}",
    ):
        sign = sign_of(text.encode())
        assert sign is None or sign.kind in ("allocation", "oom")  # these begin with a process's name


@pytest.mark.parametrize(
    "line",
    [
        "NET: Registered PF_INET protocol family",
        "I/O error, dev fd0, sector 0 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2",
        "ACPI: bus type drm_connector registered",
        "Killed process 3",
        "Adding 131068k swap on /dev/nbd0.  Priority:-2 extents:1 across:131068k",
        "EXT4-fs (vda): mounted filesystem without journal. Quota mode: disabled.",
    ],
)
def test_harmless_lines_are_left_alone(line: str) -> None:
    assert sign_of((STAMP + line).encode()) is None


@pytest.mark.parametrize(
    ("line", "outcome"),
    [
        ("Kernel panic - not syncing: Fatal exception", "crashed"),
        ("Oops: 0000 [#1]", "crashed"),
        ("Write-error on swap-device (43:0:8)", "io-error"),
        ("I/O error, dev nbd0, sector 8 op 0x0:(READ) flags 0x0", "io-error"),
        ("Out of memory: Killed process 213 (load) total-vm:1kB", "oom-killed"),
        ("INFO: task kswapd0:33 blocked for more than 20 seconds.", "recovered"),
        ("swapper/0: page allocation failure: order:0, mode:0x820(GFP_ATOMIC)", "recovered"),
    ],
)
def test_what_a_line_means_for_the_verdict(line: str, outcome: str) -> None:
    found = judged(kernel_line(20, line))
    assert found.outcome == outcome
    told = next(finding for finding in found.findings if finding.detector == "console")
    assert told.lines[0].at_s == pytest.approx(20, abs=0.5)
    assert line[:30] in told.statement


def test_a_server_with_the_kernel_under_test_speaks_for_it() -> None:
    kill = kernel_line(20, "Out of memory: Killed process 213 (mke2fs) total-vm:1kB")

    def alike(t: float, values: Values) -> None:
        values["C/vmsampler"] = {"samples": int(t * 4) + 99}

    assert judged(kill, machine="C").outcome == "inconclusive"
    assert judged(kill, machine="C", tweak=alike).outcome == "oom-killed"


def test_causes_come_in_order() -> None:
    panic, kill = (
        kernel_line(25, "Kernel panic - not syncing: x"),
        kernel_line(21, "Out of memory: Killed process 1 (x)"),
    )
    error = kernel_line(20, "Write-error on swap-device (43:0:8)")
    assert judged(error, kill, panic).outcome == "crashed"
    assert judged(kill, error).outcome == "io-error"
    assert judged(kill).outcome == "oom-killed"


def test_a_crash_stands_though_the_testbed_failed_over_it() -> None:
    fault = ((25.0, "testbed.fault", {"message": "guest A does not answer"}),)
    panic = kernel_line(22, "Kernel panic - not syncing: x")
    assert judged(panic, events=fault, recover_s=None).outcome == "crashed"


def test_an_io_error_does_not_stand_where_the_testbed_failed() -> None:
    fault = ((19.0, "testbed.fault", {"message": "QEMU of C is gone"}),)
    error = kernel_line(22, "Write-error on swap-device (43:0:8)")
    found = judged(error, events=fault, recover_s=None)
    assert (found.outcome, found.testbed_fault) == ("inconclusive", "QEMU of C is gone")


@pytest.mark.parametrize("result", ["-12", "24576"])
def test_a_swap_write_that_found_no_memory_is_written_again_and_decides_nothing(result: str) -> None:
    found = judged(kernel_line(20, f"Write error {result} on dio swapfile (143785984)"))
    assert found.outcome == "recovered"
    told = [each for each in found.findings if "swap write put off for want of memory" in each.statement]
    assert {each.says for each in told} == {"note"}


def test_errors_of_the_tearing_down_are_only_noted() -> None:
    late = Story().end_s + 0.5
    assert judged(kernel_line(late, "I/O error, dev nbd0, sector 8")).outcome == "recovered"
    assert judged(kernel_line(late + 100, "I/O error, dev nbd0, sector 8")).outcome == "recovered"


def test_a_kill_before_the_timeline_is_a_wrong_set_up() -> None:
    assert judged(kernel_line(-5, "Out of memory: Killed process 213 (load)")).outcome == "inconclusive"


def test_the_swap_servers_trouble_is_not_the_subjects() -> None:
    found = judged(kernel_line(20, "Kernel panic - not syncing: x"), machine="C")
    assert found.outcome == "inconclusive"
    assert "console of C" in found.reason


def test_the_kernels_own_count_of_kills_is_believed_without_a_console() -> None:
    def killed(t: float, values: dict[str, dict[str, int]]) -> None:
        values["A/vmsampler"]["oom_kill"] = int(t > 20)

    assert judge(Story(tweak=killed).evidence()).outcome == "oom-killed"


@pytest.mark.parametrize(("error", "outcome"), [(5, "io-error"), (7, "io-error"), (12, "inconclusive")])
def test_a_load_that_failed_says_why(error: int, outcome: str) -> None:
    def failed(t: float, values: dict[str, dict[str, int]]) -> None:
        values["A/anonymous"] |= {"state": 5, "error": error} if t > 20 else {}

    assert judge(Story(tweak=failed, recover_s=None).evidence()).outcome == outcome


def test_repeated_soft_lockups_of_a_busy_vcpu_are_a_livelock() -> None:
    lockup = "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [x:1]"
    twice = kernel_line(30, lockup) + kernel_line(55, lockup)
    assert judged(twice, recover_s=None, busy=0.95).outcome == "livelocked"
    assert judged(kernel_line(30, lockup), recover_s=None, busy=0.95).outcome == "stalled"
    assert judged(twice, recover_s=None, busy=0.2).outcome == "stalled"


def test_a_statement_tells_the_facts() -> None:
    hung = judged(kernel_line(20, "INFO: task kworker/0:1:29 blocked for more than 20 seconds."))
    (told,) = [finding for finding in hung.findings if finding.detector == "console"]
    assert "hung task at 20.0 s, kworker/0:1 (pid 29), for 20 s: \u201cINFO: task" in told.statement
    gone = judged(kernel_line(20, "nfs: server 10.20.0.3 not responding, still trying"))
    assert any("server 10.20.0.3" in finding.statement for finding in gone.findings)


def test_several_kinds_come_down_to_one() -> None:
    lost = kernel_line(20, "block nbd0: Receive control failed (result -32)")
    error = kernel_line(21, "I/O error, dev nbd0, sector 8 op 0x1:(WRITE) flags 0x0")
    found = judged(lost, error)
    said = "The console of A comes down to: lost connection to the NBD server, which explains io-error."
    assert found.outcome == "io-error"
    assert said in [finding.statement for finding in found.findings if finding.says == "note"]


def test_a_console_without_a_word_of_the_kernels_is_remarked_on() -> None:
    found = judge(Story(consoles={"A": b"SeaBIOS\r\n"}).evidence())
    assert "the kernel printed nothing" in str(found.findings)
    assert found.outcome == "recovered"


# --- hostile consoles


def test_escapes_and_control_characters_are_removed() -> None:
    assert (
        clean(b"\x1b[31;1m[   31.250000] Kernel\x1b[0m panic\x00\x07 - \xff\r\n")
        == "[   31.250000] Kernel panic\ufffd\ufffd - \ufffd"
    )


@pytest.mark.parametrize("char", ["\u202e", "\u2066", "\u0600", "\u2028", "\u00a0", "\ue000"])
def test_what_turns_or_hides_text_is_not_shown(char: str) -> None:
    assert clean(f"[   31.250000] a{char}b".encode()) == "[   31.250000] a\ufffdb"


def test_a_coloured_panic_is_a_panic() -> None:
    line = b"\x1b[1;31m[   31.250000]\x1b[0m Kernel panic - not syncing: x\r\n"
    assert [found.kind for found in read(line).reports] == ["panic"]


def test_a_panic_behind_a_prompt_is_a_panic() -> None:
    found = read(b"login: [   31.250000] Kernel panic - not syncing: x\n").reports
    assert [report.kind for report in found] == ["panic"]


def test_line_numbers_and_offsets_are_those_of_the_file() -> None:
    console = b"a\n\n[   31.250000] Kernel panic - not syncing: x"
    (found,) = read(console).reports
    assert (found.number, found.offset) == (3, 3)


def test_when_a_line_was_written_is_read_from_the_files_size() -> None:
    sizes = ((10, 0), (20, 100), (30, 250))
    assert [written_ns(sizes, offset) for offset in (0, 99, 100, 249, 250)] == [20, 20, 30, 30, None]


@pytest.mark.parametrize(
    "console",
    [
        b"[" * 3_000_000,
        b"[   31.250000] " + b"A" * 3_000_000,
        (b"[   31.250000] " + b"a: " * 300 + b"\n") * 3000,
        b"[   31.250000] Memory cgroup out of memory\n" * 20_000,
        b"\x1b[" + b"0;" * 1_000_000,
        bytes(range(256)) * 8000,
        b"\n" * 1_000_000,
    ],
    ids=["brackets", "one line", "colons", "near misses", "escapes", "binary", "empty lines"],
)
def test_hostile_consoles_are_read_in_linear_time(console: bytes) -> None:
    began = time.process_time()
    read(console)
    assert time.process_time() - began < 2
