"""Owns what turns counts into an answer: few rules, each a pure function, none of which sees an expectation.

A rule is asked only where enough cells count (assessment.py); what it can not settle stays open.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from testbed.campaign.comparison import show_p, show_points
from testbed.campaign.outcomes import Sort
from testbed.campaign.repeats import AT
from testbed.campaign.statistics import LEVEL
from testbed.campaign.statistics.proportions import Interval, Tally
from testbed.campaign.until_clear import WIDTH, within
from testbed.configuration import RuleName

Sign = Sort | Literal["left memory whole", "spared softirqs", "had calls fail", "read packets"]
"""What a rule looks for in a cell: how it came out, that free memory was not in pieces when it was over, that
reclaim never held a softirq up for SOFTIRQ_NS, that a call of the storm failed for want of memory during the
outage, or that a packet of the flood was read by whom it was for."""

SOFTIRQ_NS = 2_000_000
"""So long softirqs run before what is left of them must wait for ksoftirqd (6.1, kernel/softirq.c,
MAX_SOFTIRQ_TIME)."""

Says = Literal["yes", "no", "open"]
State = Literal["holds", "refuted", "holds only when", "not settled"]

HALF = 0.5
SAID: dict[Says, str] = {"yes": "holds", "no": "refuted", "open": "open"}
"""What an answer says of a claim, for one arm or pair."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Two shares: the first less the second with its `interval`, and `p` that they are one.

    `adjusted` is p after Holm, over all that the table of claims compares; `at_every_look` where cells
    were played until clear.
    """

    first: Tally
    second: Tally
    interval: Interval
    p: float
    adjusted: float
    at_every_look: bool = False

    @property
    def shown(self) -> bool:
        return self.adjusted <= LEVEL

    @property
    def difference(self) -> float:
        return self.first.share - self.second.share

    @property
    def words(self) -> str:
        """`difference -80 points (-96 to -19) at 95 %, Fisher p = 0.048, after Holm p = 0.095`."""
        low, high = map(show_points, self.interval)
        apart = f"difference {show_points(self.difference)} points ({low} to {high})"
        at, test = (f"{AT} at every look", "always-valid") if self.at_every_look else (AT, "Fisher")
        holm = f", after Holm {show_p(self.adjusted)}" if self.adjusted != self.p else ""
        return f"{apart} {at}, {test} {show_p(self.p)}{holm}"


@dataclass(frozen=True, slots=True)
class Rate:
    """Of which measures a cell's rate is made: so many `hits` among all `of` it. `words` are for both."""

    hits: str
    of: str
    words: str


RATES: dict[Sign, Rate] = {
    "had calls fail": Rate("outage_calls_failed", "outage_calls", "calls failed"),
    "read packets": Rate("flood_read", "flood_sent", "packets were read"),
}
"""The signs of which it matters how often a cell shows them, and not only whether."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Rates of two arms' cells, `p` that they are of one kind by their ranks, and `least` that it could be.

    `first` and `second` are the medians, of a thousand. `adjusted` is as of `Difference`.
    """

    rate: Rate
    first: float
    second: float
    p: float
    least: float
    adjusted: float

    @property
    def shown(self) -> bool:
        return self.adjusted <= LEVEL

    @property
    def difference(self) -> float:
        return self.first - self.second

    @property
    def words(self) -> str:
        """`2.1 against 0 of 1,000 calls failed in the median cell, rank sum p = 0.008`."""
        holm = f", after Holm {show_p(self.adjusted)}" if self.adjusted != self.p else ""
        told = f"{self.first:.3g} against {self.second:.3g} of 1,000 {self.rate.words} in the median cell"
        return f"{told}, rank sum {show_p(self.p)}{holm}"


Compared = Difference | Rates


def mostly(interval: Interval) -> Says:
    """Whether more than half of all cells of an arm do it, where the interval leaves one half out."""
    if interval.low > HALF:
        return "yes"
    return "no" if interval.high < HALF else "open"


def less(found: Compared) -> Says:
    """Whether the first arm does it less often than the second; the contrary, if shown, is a no."""
    if not found.shown:
        return "open"
    return "yes" if found.difference < 0 else "no"


def more(found: Compared) -> Says:
    """Whether the first arm does it more often than the second; the contrary, if shown, is a no."""
    if not found.shown:
        return "open"
    return "yes" if found.difference > 0 else "no"


def alike(found: Compared) -> Says:
    """Whether two arms differ by less than WIDTH, as in a run until clear; a difference shown is a no."""
    if found.shown:
        return "no"
    return "yes" if isinstance(found, Difference) and within(found.interval, WIDTH) else "open"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule by name: whether it looks at arms one by one or in pairs, and for which sign."""

    name: RuleName
    sign: Sign
    meaning: str
    alone: Callable[[Interval], Says] | None = None
    paired: Callable[[Compared], Says] | None = None

    @property
    def compares(self) -> bool:
        return self.paired is not None


RULES: dict[RuleName, Rule] = {
    rule.name: rule
    for rule in (
        Rule("wedges-mostly", "wedged", "over half of an arm's cells wedge", alone=mostly),
        Rule("recovers-mostly", "went on", "over half of an arm's cells go on", alone=mostly),
        Rule(
            "stays-whole",
            "left memory whole",
            "of an arm's cells that went on, and were measured, over half leave free memory whole",
            alone=mostly,
        ),
        Rule(
            "spares-softirqs",
            "spared softirqs",
            f"in over half of an arm's cells no reclaim in softirq took {SOFTIRQ_NS / 1e6:.0f} ms or more",
            alone=mostly,
        ),
        Rule("wedges-less", "wedged", "the first arm wedges less often than the second", paired=less),
        Rule("recovers-more", "went on", "the first arm goes on more often than the second", paired=more),
        Rule(
            "alike",
            "wedged",
            f"two arms differ by less than {WIDTH * 100:.0f} points in how often they wedge",
            paired=alike,
        ),
        Rule(
            "fails-calls-more",
            "had calls fail",
            "of the calls made between cut and heal more fail for want of memory in the first arm's cells",
            paired=more,
        ),
        Rule(
            "delivers-more",
            "read packets",
            "of the packets that were sent during the flood more are read in the first arm's cells",
            paired=more,
        ),
    )
}


def state(answers: Sequence[Says], *, part_missing: bool) -> State:
    """What the answers of all arms, or of all pairs, come to.

    A claim of which a part can not be asked yet (`part_missing`) is refuted by the rest, but never
    upheld by it.
    """
    if not answers:
        return "not settled"
    if "yes" in answers and "no" in answers:
        return "holds only when"
    if set(answers) == {"no"}:
        return "refuted"
    return "holds" if set(answers) == {"yes"} and not part_missing else "not settled"
