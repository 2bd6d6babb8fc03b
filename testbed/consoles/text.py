"""Owns the bytes of a console: where the kernel's own lines begin, and how any line is shown safely.

A kernel line is what follows a kernel timestamp (kernel/printk/printk.c, print_time and print_caller,
6.1). It may begin in the middle of a line of the userland's: the serial driver writes a whole record at
once, but does not wait for a program to end its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from testbed.printable import printable

MAX_LINE = 1000
"""Of a line, in bytes; a record of the kernel's has at most 1024 with its prefix (LOG_LINE_MAX)."""
MAX_STAMP = 80
"""The longest that STAMP matches, in bytes."""
MAX_TEXT = 300

_COLOUR = rb"(?:\x1b\[[0-9;]{0,16}m)?"
STAMP = re.compile(rb"\[ {0,5}(\d{1,7}\.\d{6})\](?:\[ {0,8}([TC]\d{1,7})\])?" + _COLOUR + rb" " + _COLOUR)
"""Group 1: seconds since boot; group 2: who printed, with CONFIG_PRINTK_CALLER. `dmesg` may colour it."""

_ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]{0,16}[@-~]|[@-_])")


def clean(line: bytes) -> str:
    """A console line as text that is safe to show: bounded, without escapes, control characters, or any that
    turns the direction of what follows it.
    """
    text = line[:MAX_LINE].decode("utf-8", errors="replace").rstrip("\r\n")
    if text.isprintable():
        return text
    text = _ESCAPE.sub("", text).rstrip("\r\n").expandtabs(4)
    return printable(text)


def lines(console: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Number (from 1), offset and bytes of every line, without its end."""
    number, start = 0, 0
    while start < len(console):
        number += 1
        end = console.find(b"\n", start)
        end = len(console) if end < 0 else end
        yield number, start, console[start : min(end, start + MAX_LINE)]
        start = end + 1
