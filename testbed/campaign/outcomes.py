"""Owns what an outcome counts as in a table: gone on, wedged, failed otherwise, or not counted at all."""

from __future__ import annotations

from typing import Literal

from testbed.model import Outcome

Sort = Literal["went on", "wedged", "failed otherwise", "not counted"]

SORTS: dict[Outcome, Sort] = {
    "recovered": "went on",
    "slow": "went on",
    "starved": "wedged",
    "deadlocked": "wedged",
    "stalled": "wedged",
    "livelocked": "wedged",
    "oom-killed": "failed otherwise",
    "io-error": "failed otherwise",
    "crashed": "failed otherwise",
    "corrupt": "failed otherwise",
    "fragmented": "failed otherwise",
    "server-down": "not counted",
    "network-down": "not counted",
    "inconclusive": "not counted",
}
"""*Wedged* is a failure to recover: nothing lasting moved for as long as the cell was watched.

A kernel that killed, gave errors, crashed or corrupted did not wedge, but did not get through either: it
is told apart and stays among those that count, so that no share is of a chosen few. What does not count
says nothing of the kernel: the evidence is in doubt, or it was the server's or the network's doing.
"""


def counts(outcome: Outcome) -> bool:
    """Whether a cell with this outcome says anything of the kernel."""
    return SORTS[outcome] != "not counted"


def wedged(outcome: Outcome) -> bool:
    """Whether the kernel failed to recover, by whatever name that has."""
    return SORTS[outcome] == "wedged"


def went_on(outcome: Outcome) -> bool:
    """Whether work went on for good after the heal."""
    return SORTS[outcome] == "went on"
