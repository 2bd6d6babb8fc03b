"""How long judging and reporting take, and how many MB/s of console the judge classifies.

    python -m benchmarks.judging results/flood-short

Works on copies of the finished cells in a campaign's folder. The consoles to classify are the
cells' own, repeated up to 16 MiB, and a hostile one: endless lines, escapes, half of a kernel's words.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.table import show, spread
from testbed import store
from testbed.campaign.play import cells_of, judge_folder
from testbed.judge.console import telling
from testbed.reports import html

CONSOLE_BYTES = 16 << 20
TIMES = 3


def _seconds(deed: Callable[[], object]) -> float:
    begun = time.perf_counter()
    deed()
    return time.perf_counter() - begun


def _hostile() -> bytes:
    """Reproducible rubbish that almost looks like the kernel's."""
    dice = random.Random(1)
    pieces = [b"[    1.000000] ", b"A" * 300, b"\x1b[31m", b"page allocation ", b"\r\n", b"BUG: ", b"\xff"]
    pieces += [b"[   12.345678] " + b"x" * 60 + b" error, dev ", b"Out of memory: ", b"\n", b"[[[[[[    "]
    made = bytearray()
    while len(made) < CONSOLE_BYTES:
        made += dice.choice(pieces)
    return bytes(made[:CONSOLE_BYTES])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, help="a campaign's folder")
    cells = cells_of(parser.parse_args().folder)
    if not cells:
        raise SystemExit("no finished cell there")
    judged, reported, consoles = [], [], b""
    with tempfile.TemporaryDirectory() as scratch:
        for cell in cells:
            copy = Path(scratch) / cell.folder.name
            shutil.copytree(cell.folder, copy)
            for _ in range(TIMES):
                judged.append(_seconds(lambda copy=copy: judge_folder(copy)))  # type: ignore[misc]
                reported.append(_seconds(lambda copy=copy: html.write_cell(copy)))  # type: ignore[misc]
            consoles += (copy / store.console_name(cell.plan.judging.subject)).read_bytes()
    rows = [
        ["judge a cell", spread(judged, "s")],
        ["write its report", spread(reported, "s")],
    ]
    real = (consoles * (CONSOLE_BYTES // len(consoles) + 1))[:CONSOLE_BYTES]
    for name, console in (("real", real), ("hostile", _hostile())):
        taken = [_seconds(lambda console=console: telling(console)) for _ in range(TIMES)]  # type: ignore[misc]
        rows.append(
            [f"classify a {name} console", spread([len(console) / 1e6 / t for t in taken], "MB/s", 1)]
        )
    show(["what", "measured"], rows)


if __name__ == "__main__":
    main()
