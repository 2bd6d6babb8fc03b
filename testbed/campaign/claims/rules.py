"""Owns what turns counts into an answer: few rules, each a pure function, none of which sees an expectation.

A rule is asked only where enough cells count (assessment.py); what it can not settle stays open.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from testbed.campaign.claims.signs import SOFTIRQ_NS, Rate, Sign
from testbed.campaign.comparison import show_p, show_points
from testbed.campaign.repeats import AT
from testbed.campaign.statistics import LEVEL
from testbed.campaign.statistics.proportions import Interval, Tally
from testbed.campaign.until_clear import WIDTH, within
from testbed.configuration import RuleName

Says = Literal["yes", "no", "open"]
State = Literal["holds", "refuted", "holds only when", "not settled"]

HALF = 0.5
SELDOM = 0.2
"""What never happens, as far as cells can show it, happens in less than this share of them."""
LITTLE = 0.1
"""What costs less than this share of a rate costs nothing that counts."""
SAID: dict[Says, str] = {"yes": "holds", "no": "refuted", "open": "open"}
"""What an answer says of a claim, for one arm or pair."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Two shares: the first less the second with its `interval`, and `p` that they are one.

    `each` are the intervals of the two shares. `adjusted` is p after Holm, over all that its claim compares;
    `at_every_look` where cells were played until clear.
    """

    first: Tally
    second: Tally
    each: tuple[Interval, Interval]
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
class Rates:
    """Rates of two arms' cells, `p` that they are of one kind by their ranks, and `least` that it could be.

    `first` and `second` are the medians, times a thousand. `some` is the interval of the share of the first
    arm's cells whose rate is above 0, `ratio` that of the first arm's rate by the second's. `adjusted` is
    as of `Difference`.
    """

    rate: Rate
    first: float
    second: float
    some: Interval
    ratio: Interval
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
        told = f"{self.first:.3g} against {self.second:.3g} {self.rate.words} in the median cell"
        return f"{told}, rank sum {show_p(self.p)}{holm}"


Compared = Difference | Rates


def mostly(interval: Interval) -> Says:
    """Whether more than half of all cells of an arm do it, where the interval leaves one half out."""
    if interval.low > HALF:
        return "yes"
    return "no" if interval.high < HALF else "open"


def never(interval: Interval) -> Says:
    """Whether no cell of an arm does it, and few can; one that does is a no."""
    if interval.low > 0:
        return "no"
    return "yes" if interval.high < SELDOM else "open"


def less(found: Compared) -> Says:
    """Whether the first arm does it less often than the second; that both mostly do it is a no."""
    if found.shown:
        return "yes" if found.difference < 0 else "no"
    return "no" if _both(found, "yes") else "open"


def more(found: Compared) -> Says:
    """Whether the first arm does it more often than the second; that both mostly do not is a no.

    That both mostly do it leaves it open: there was nothing to be better at.
    """
    if found.shown:
        return "yes" if found.difference > 0 else "no"
    return "no" if _both(found, "no") else "open"


def needed(found: Compared) -> Says:
    """Whether it takes what the second arm lacks; that the second mostly does it is a no.

    That neither mostly does it leaves it open: what they lack is something else.
    """
    if found.shown:
        return "yes" if found.difference > 0 else "no"
    return "no" if isinstance(found, Difference) and mostly(found.each[1]) == "yes" else "open"


def raises(found: Compared) -> Says:
    """Whether the first arm's rate is the higher one; that most of its cells have a rate of 0 is a no."""
    if found.shown:
        return "yes" if found.difference > 0 else "no"
    return "no" if isinstance(found, Rates) and mostly(found.some) == "no" else "open"


def no_slower(found: Compared) -> Says:
    """Whether the first arm's rate is less than LITTLE below the second's; that it is lower is a no."""
    if found.shown and found.difference < 0:
        return "no"
    return "yes" if isinstance(found, Rates) and found.ratio.low > 1 - LITTLE else "open"


def _both(found: Compared, says: Says) -> bool:
    return isinstance(found, Difference) and all(mostly(interval) == says for interval in found.each)


def alike(found: Compared) -> Says:
    """Whether two arms differ by less than WIDTH, as in a run until clear; a difference shown is a no."""
    if found.shown:
        return "no"
    return "yes" if isinstance(found, Difference) and within(found.interval, WIDTH) else "open"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule by name: whether it looks at arms one by one or in pairs, and for which sign.

    Where it `credits` the (first) arm's kernel, a yes must not rest on cells in which a set did nothing.
    """

    name: RuleName
    sign: Sign
    meaning: str
    alone: Callable[[Interval], Says] | None = None
    paired: Callable[[Compared], Says] | None = None
    credits: bool = False

    @property
    def compares(self) -> bool:
        return self.paired is not None


RULES: dict[RuleName, Rule] = {
    rule.name: rule
    for rule in (
        Rule("wedges-mostly", "wedged", "over half of an arm's cells wedge", alone=mostly),
        Rule("recovers-mostly", "went on", "over half of an arm's cells go on", alone=mostly, credits=True),
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
        Rule(
            "others-fail",
            "had calls fail",
            "in over half of an arm's cells a call made between cut and heal fails for want of memory",
            alone=mostly,
        ),
        Rule(
            "never-breaks",
            "broke",
            f"where calls failed, no cell crashes or loses data, and less than {SELDOM * 100:.0f} % can",
            alone=never,
        ),
        Rule(
            "wedges-less",
            "wedged",
            "the first arm wedges less often than the second",
            paired=less,
            credits=True,
        ),
        Rule(
            "recovers-more",
            "went on",
            "the first arm goes on more often than the second",
            paired=more,
            credits=True,
        ),
        Rule(
            "is-needed",
            "went on",
            "the first arm goes on, and the second, which lacks something, does not",
            paired=needed,
        ),
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
            paired=raises,
        ),
        Rule(
            "delivers-more",
            "read packets",
            "of the packets that were sent during the flood more are read in the first arm's cells",
            paired=raises,
        ),
        Rule(
            "gets-more",
            "got pages",
            "a burn of the reserve gets more pages in the first arm's cells",
            paired=raises,
        ),
        Rule(
            "no-slower",
            "wrote",
            f"the job writes as fast in the first arm's cells, but for less than {LITTLE * 100:.0f} %",
            paired=no_slower,
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
