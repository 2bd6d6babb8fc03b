"""What ends a wait early: the kernel's last words, and not what looks like them."""

from __future__ import annotations

import pytest
from histories import kernel_line

from testbed.run.endings import Ending

FINAL = [
    "Kernel panic - not syncing: Fatal exception",
    "Out of memory: Killed process 213 (load) total-vm:72004kB, anon-rss:1020kB",
]


def ended_for_good(console: bytes) -> bool:
    """Whether a console that is read in one piece says so."""
    pieces = iter([console])
    return Ending(lambda: next(pieces, b"")).came()


@pytest.mark.parametrize("words", FINAL)
def test_the_kernels_last_words_end_the_wait(words: str) -> None:
    line = kernel_line(20, words)
    assert ended_for_good(line)
    assert ended_for_good(b"login: " + line + b"more\r\n" * 100)
    assert not ended_for_good(words.encode())
    assert not ended_for_good(b"app: " + words.encode() + b"\n")


@pytest.mark.parametrize("words", ["INFO: task x:1 blocked for more than 20 seconds.", "Oops: 0000 [#1]", ""])
def test_what_a_kernel_survives_does_not(words: str) -> None:
    assert not ended_for_good(kernel_line(20, words))
