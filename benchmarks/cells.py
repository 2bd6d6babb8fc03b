"""Where the time of finished cells went, from their histories.

    python -m benchmarks.cells results/flood-short

`around` is what lies outside the playbook's own doing: until the guests are ready, and attaching.
Filling memory, the steady state, timeline, judging and sweep are the playbook's. The clean-up after
`judging.end` is not in a history; benchmarks.controller measures it.

`to proof`: from when there was enough for one (the retransmission that the first of the two looks foretold
was past, and the server's second answer there) to the second look; `after heal`: to it from the heal.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.table import show
from testbed import store
from testbed.campaign.play import cells_of
from testbed.clock import NS
from testbed.history import History
from testbed.store import Evidence
from testbed.waitfor import Examination, next_retransmission_ns
from testbed.waitfor.requests import LEAST_ANSWERS

STAGES = ("ready", "attach", "fill, steady", "timeline", "judging", "around", "all")


def stages_s(log: History, steady_s: float) -> list[float | None]:
    """Seconds of each stage; None where the cell did not get that far."""
    found = (log.first(what) for what in ("cell.begin", "lab.ready", "timeline.begin", "judging.begin"))
    begin, ready, timeline, judging = (event.t_ns / NS if event else None for event in found)
    end = next((event.t_ns / NS for event in log.events_of("judging.end")), None)
    started = next((event.t_ns / NS for event in log.events_of("load.started")), None)
    if timeline is not None and (started is None or started >= timeline):
        started = timeline - steady_s  # no load fills memory first: the steady state begins at once
    spans = [(begin, ready), (ready, started), (started, timeline), (timeline, judging), (judging, end)]
    spans += [(begin, started), (begin, end)]
    return [last - first if first is not None and last is not None else None for first, last in spans]


def proof_s(evidence: Evidence, found: Examination | None) -> list[float | None]:
    """Seconds from when a deadlock could be proved, and from the begin of judging, to the second look."""
    healed = evidence.history.first("judging.begin")
    if found is None or found.proves != "deadlocked" or healed is None:
        return [None, None]
    looks = {look.number: look for look in evidence.snapshots}
    first, second_ns = looks[found.first], looks[found.second].taken_ns
    replies = evidence.history.series("wire/swap.replies.delivered_packets")
    had = evidence.history.value_at("wire/swap.replies.delivered_packets", first.taken_ns) or 0
    answered_ns = next((t_ns for t_ns, count in replies if count >= had + LEAST_ANSWERS), 0)
    due_ns = next_retransmission_ns(first, frozenset(evidence.judging.devices)) or 0
    enough_ns = max(first.taken_ns, due_ns, answered_ns)
    return [(second_ns - enough_ns) / NS, (second_ns - healed.t_ns) / NS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="campaigns' folders")
    rows = []
    for into in parser.parse_args().folders:
        for cell in cells_of(into):
            evidence = store.read_evidence(cell.folder)
            found = (
                *stages_s(evidence.history, cell.plan.steady_s),
                *proof_s(evidence, cell.verdict.examination),
            )
            times = ("-" if value is None else f"{value:.1f} s" for value in found)
            rows.append([cell.plan.cell, cell.verdict.outcome, *times])
    show(["cell", "outcome", *STAGES, "to proof", "after heal"], rows)


if __name__ == "__main__":
    main()
