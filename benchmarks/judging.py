"""How long judging and reporting take.

    python -m benchmarks.judging results/flood-short

Works on copies of the finished cells in a campaign's folder. How fast consoles are read: benchmarks.consoles.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.table import show, spread
from testbed.campaign.play import cells_of, judge_folder
from testbed.reports import html

TIMES = 3


def _seconds(deed: Callable[[], object]) -> float:
    begun = time.perf_counter()
    deed()
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, help="a campaign's folder")
    cells = cells_of(parser.parse_args().folder)
    if not cells:
        raise SystemExit("no finished cell there")
    judged, reported = [], []
    with tempfile.TemporaryDirectory() as scratch:
        for cell in cells:
            copy = Path(scratch) / cell.folder.name
            shutil.copytree(cell.folder, copy)
            for _ in range(TIMES):
                judged.append(_seconds(lambda copy=copy: judge_folder(copy)))  # type: ignore[misc]
                reported.append(_seconds(lambda copy=copy: html.write_cell(copy)))  # type: ignore[misc]
    rows = [
        ["judge a cell", spread(judged, "s")],
        ["write its report", spread(reported, "s")],
    ]
    show(["what", "measured"], rows)


if __name__ == "__main__":
    main()
