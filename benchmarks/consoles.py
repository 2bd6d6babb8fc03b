"""How many MB/s of console are read into reports, and how much memory that takes.

    python -m benchmarks.consoles

Each console is fed in pieces of 256 KiB: the recorded ones of tests/data/consoles one after the other,
and made ones that are hostile in different ways. Seconds are the processor's, so that a busy host does
not count. Peak memory is what Python allocated beyond the piece.
"""

from __future__ import annotations

import random
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator

from benchmarks.table import show, spread
from testbed.consoles import read
from tests.consoles import corpus

MIB = 1 << 20
SIZE_BYTES = 16 * MIB
PIECE_BYTES = 256 << 10
MILLION = 1_000_000
TIMES = 3

Pieces = Callable[[], Iterable[bytes]]


def rubbish() -> bytes:
    """Reproducible noise that almost looks like the kernel's."""
    dice = random.Random(1)
    pieces = [b"[    1.000000] ", b"A" * 300, b"\x1b[31m", b"page allocation ", b"\r\n", b"BUG: ", b"\xff"]
    pieces += [b"[   12.345678] " + b"x" * 60 + b" error, dev ", b"Out of memory: ", b"\n", b"[[[[[[    "]
    made = bytearray()
    while len(made) < SIZE_BYTES:
        made += dice.choice(pieces)
    return bytes(made[:SIZE_BYTES])


def recorded() -> bytes:
    whole = b"".join(console for _, console in corpus.consoles())
    return (whole * (SIZE_BYTES // len(whole) + 1))[:SIZE_BYTES]


def _in_pieces(console: bytes) -> Iterator[bytes]:
    for start in range(0, len(console), PIECE_BYTES):
        yield console[start : start + PIECE_BYTES]


def _repeated(lines: Callable[[int], bytes], count: int) -> Iterator[bytes]:
    """`count` lines, each made from its number, a thousand at a time."""
    for start in range(0, count, 1000):
        yield b"".join(lines(number) for number in range(start, start + 1000))


def _stamp(number: int) -> bytes:
    return b"[%5d.%06d] " % (number // 1000, number % 1000 * 1000)


def _boot(number: int) -> bytes:
    return _stamp(number) + b"pci 0000:00:1f.2: reg 0x24: [mem 0xfebd1000-0xfebd1fff]\r\n"


def _report(number: int) -> bytes:
    return _stamp(number) + b"INFO: task load:%d blocked for more than 120 seconds.\r\n" % number


def _near_miss(number: int) -> bytes:
    return _stamp(number) + b"nbd0: detected capacity change from 0 to 1048576 error, dev [#\r\n"


def _seconds(pieces: Iterable[bytes]) -> tuple[float, int, int]:
    """The time that reading took without that of making the pieces; bytes, and lines."""
    taken, size, count = 0.0, 0, 0

    def timed() -> Iterator[bytes]:
        nonlocal taken, size, count
        for piece in pieces:
            size, count = size + len(piece), count + piece.count(b"\n")
            begun = time.process_time()
            yield piece
            taken += time.process_time() - begun

    read(timed())
    return taken, size, count


def _peak_bytes(pieces: Iterable[bytes]) -> int:
    tracemalloc.start()
    read(pieces)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def main() -> None:
    real, noise = recorded(), rubbish()
    cases: list[tuple[str, Pieces]] = [
        ("recorded consoles", lambda: _in_pieces(real)),
        ("noise that looks like the kernel's", lambda: _in_pieces(noise)),
        ("one line without an end", lambda: _in_pieces(b"[   12.345678] " + b"A" * SIZE_BYTES)),
        ("a million lines of a boot", lambda: _repeated(_boot, MILLION)),
        ("a million hung tasks", lambda: _repeated(_report, MILLION)),
        ("a million near misses", lambda: _repeated(_near_miss, MILLION)),
    ]
    rows = []
    for name, pieces in cases:
        rates, count = [], 0
        for _ in range(TIMES):
            taken, size, count = _seconds(pieces())
            rates.append(size / 1e6 / taken)
        rows.append([name, f"{count:,}", spread(rates, "MB/s", 1), f"{_peak_bytes(pieces()) / MIB:.1f} MiB"])
    show(["console", "lines", "read", "peak memory"], rows)


if __name__ == "__main__":
    main()
