"""Owns reading a guest's console: which of the kernel's lines matter, and when they were written.

A console is hostile input: binary, endless lines, escape sequences, carriage returns. Only what
follows a kernel timestamp counts, so that text of the userland is not taken for the kernel's. All
expressions are bounded and anchored: time is linear in the size of the console.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator
from dataclasses import dataclass

from testbed.history import Point
from testbed.judge.values import Says

MAX_LINE = 1000
MAX_TEXT = 300

STAMP = re.compile(r"\[ {0,5}\d{1,7}\.\d{6}\](?:\[ {0,8}[TC]\d{1,7}\])? ")
_ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]{0,16}[@-~]|[@-_])")
_ODD = re.compile(r"[^\x20-\x7e\u00a0-\uffff]")


@dataclass(frozen=True, slots=True)
class Sign:
    """A kind of kernel line: what it says of the cell, its shape after the timestamp, its name in words."""

    kind: str
    says: Says
    shape: str
    words: str


# Ordered by cause: the first that matches names the line. Wording from Linux 6.1, file named beside it.
SIGNS = (
    # kernel/panic.c
    Sign("panic", "crashed", r"Kernel panic - not syncing", "kernel panic"),
    # arch/x86/mm/fault.c, kernel/dumpstack.c `die`: "NAME: 0002 [#1] SMP"
    Sign(
        "oops", "crashed", r"BUG: (?:unable to handle|kernel NULL pointer)", "bad memory access in the kernel"
    ),
    Sign("oops", "crashed", r"[A-Za-z][^\[:]{2,120}: [0-9a-f]{4} \[#\d{1,4}\]", "oops"),
    Sign("bug", "crashed", r"kernel BUG at ", "failed assertion of the kernel"),
    # mm/page_alloc.c bad_page, mm/kasan, lib/list_debug.c
    Sign("bug", "crashed", r"BUG: (?:Bad page|KASAN|KFENCE|scheduling while atomic|Bad rss)", "kernel bug"),
    Sign("bug", "crashed", r"list_(?:add|del) corruption", "corrupt list in the kernel"),
    # mm/page_io.c
    Sign(
        "swap-error",
        "io-error",
        r"(?:Write|Read)[- ]error (?:-?\d{1,4} )?on (?:swap-device|dio swapfile)",
        "swap error",
    ),
    # block/blk-mq.c blk_print_req_error, fs/buffer.c; an empty floppy or CD drive is no matter
    Sign(
        "io-error",
        "io-error",
        r"(?:blk_update_request: )?[A-Za-z/ -]{2,40} error, dev (?!fd\d|sr\d)",
        "block I/O error",
    ),
    Sign("io-error", "io-error", r"Buffer I/O error on dev", "buffer I/O error"),
    # drivers/md/raid1.c
    Sign("io-error", "io-error", r"md/raid\S{1,20}: Disk failure on", "RAID member failed"),
    # mm/oom_kill.c
    Sign(
        "oom-kill",
        "oom-killed",
        r"(?:Out of memory|Memory cgroup out of memory)[^:]{0,40}: Killed process",
        "OOM kill",
    ),
    # kernel/watchdog.c, kernel/rcu/tree_stall.h
    Sign("soft-lockup", "note", r"(?:watchdog: )?BUG: soft lockup", "soft lockup"),
    Sign("rcu-stall", "note", r"(?:rcu: )?INFO: rcu_\w{1,30} (?:self-)?detected", "RCU stall"),
    # kernel/workqueue.c
    Sign("workqueue", "note", r"BUG: workqueue lockup", "workqueue lockup"),
    # kernel/hung_task.c
    Sign("hung-task", "note", r"INFO: task .{1,40} blocked for more than", "hung task"),
    # mm/page_alloc.c warn_alloc: "COMM: page allocation failure: order:0, mode:0x..."
    Sign("allocation", "note", r".{1,40}?: page allocation (?:failure|stalls)", "page allocation failure"),
    # mm/slub.c slab_out_of_memory
    Sign("slub", "note", r"SLUB: Unable to allocate memory", "slab allocation failure"),
    # drivers/block/nbd.c; that a device was set up is no matter
    Sign("nbd", "note", r"(?:block )?nbd\d{1,3}: (?!detected capacity change)", "NBD"),
    # net/sunrpc/clnt.c, call_timeout; fs/lockd
    Sign("nfs", "note", r"(?:nfs|lockd|rpc): server \S{1,80} ", "NFS"),
    Sign("oom", "note", r"(?:Out of memory|oom-kill:|.{1,40}? invoked oom-killer)", "out of memory"),
    Sign("bug", "note", r"BUG: ", "kernel complaint"),
    Sign("warning", "note", r"WARNING: ", "kernel warning"),
)

_ANY = re.compile("|".join(f"(?P<s{index}>{sign.shape})" for index, sign in enumerate(SIGNS)))


@dataclass(frozen=True, slots=True)
class KernelLine:
    """A line that matches a sign. `offset` is where it begins in the file, `number` counts from 1."""

    number: int
    offset: int
    text: str
    sign: Sign


def clean(line: bytes) -> str:
    """A console line as text that is safe to show: no escapes, no control characters, bounded."""
    text = _ESCAPE.sub("", line[:MAX_LINE].decode("utf-8", errors="replace"))
    return _ODD.sub("\N{REPLACEMENT CHARACTER}", text.rstrip("\r\n").expandtabs(4))


def sign_of(text: str) -> Sign | None:
    """What a cleaned line means; None for the userland's lines and for lines that do not matter."""
    stamp = STAMP.search(text)
    if stamp is None:
        return None
    found = _ANY.match(text, stamp.end())
    if found is None or found.lastgroup is None:
        return None
    return SIGNS[int(found.lastgroup[1:])]


def lines(console: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Number (from 1), offset and bytes of every line, without its end."""
    number, start = 0, 0
    while start < len(console):
        number += 1
        end = console.find(b"\n", start)
        end = len(console) if end < 0 else end
        yield number, start, console[start : min(end, start + MAX_LINE)]
        start = end + 1


def _bracketed(console: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Those of `lines` that hold a bracket, as every timestamp does; the others are not looked at."""
    number, start, bracket = 1, 0, console.find(b"[")
    while bracket >= 0:
        before = start
        start = console.rfind(b"\n", before, bracket) + 1 or before
        number += console.count(b"\n", before, start)
        end = console.find(b"\n", bracket)
        end = len(console) if end < 0 else end
        if bracket < start + MAX_LINE:
            yield number, start, console[start : min(end, start + MAX_LINE)]
        bracket = console.find(b"[", end)


def telling(console: bytes) -> tuple[KernelLine, ...]:
    """Every kernel line that matters, in order."""
    found = []
    for number, offset, line in _bracketed(console):
        text = clean(line)
        sign = sign_of(text)
        if sign is not None:
            found.append(KernelLine(number, offset, text[:MAX_TEXT], sign))
    return tuple(found)


def written_ns(sizes: tuple[Point, ...], offset: int) -> int | None:
    """When the file grew past `offset`, by the samples of its size; None if no sample says."""
    index = bisect.bisect_right(sizes, offset, key=lambda point: point[1])
    return sizes[index][0] if index < len(sizes) else None
