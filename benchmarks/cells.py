"""Where the time of finished cells went, from their histories.

    python -m benchmarks.cells results/flood-short

`around` is what lies outside the playbook's own doing: until the guests are ready, and attaching.
Filling memory, the steady state, timeline, judging and sweep are the playbook's. The clean-up after
`judging.end` is not in a history; benchmarks.controller measures it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.table import show
from testbed import history, store
from testbed.campaign.play import cells_of
from testbed.clock import NS

STAGES = ("ready", "attach", "fill, steady", "timeline", "judging", "around", "all")


def stages_s(folder: Path) -> list[float | None]:
    """Seconds of each stage; None where the cell did not get that far."""
    log, steady_s = history.read(folder / store.HISTORY), store.read_plan(folder).steady_s
    found = (log.first(what) for what in ("cell.begin", "lab.ready", "timeline.begin", "judging.begin"))
    begin, ready, timeline, judging = (event.t_ns / NS if event else None for event in found)
    end = next((event.t_ns / NS for event in log.events_of("judging.end")), None)
    started = next((event.t_ns / NS for event in log.events_of("load.started")), None)
    if timeline is not None and (started is None or started >= timeline):
        started = timeline - steady_s  # no load fills memory first: the steady state begins at once
    spans = [(begin, ready), (ready, started), (started, timeline), (timeline, judging), (judging, end)]
    spans += [(begin, started), (begin, end)]
    return [last - first if first is not None and last is not None else None for first, last in spans]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="campaigns' folders")
    rows = []
    for into in parser.parse_args().folders:
        for cell in cells_of(into):
            times = ("-" if value is None else f"{value:.1f} s" for value in stages_s(cell.folder))
            rows.append([cell.plan.cell, cell.verdict.outcome, *times])
    show(["cell", "outcome", *STAGES], rows)


if __name__ == "__main__":
    main()
