"""Owns what two kernels at one place come to: which wedged more often, by how much, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from testbed.campaign.repeats import AT, Place, Repeats
from testbed.campaign.statistics import LEVEL, anytime, proportions, recovery
from testbed.campaign.statistics.proportions import Interval, Tally
from testbed.campaign.statistics.recovery import Compared

Families = Mapping[tuple[Place, frozenset[str]], int]
"""Of two kernels that were played until clear: how many pairs were looked at together."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """`difference` is the first kernel's share of wedged cells less the second's, with its `interval`.

    Where the number of repeats was fixed, `p` is Fisher's and `adjusted` is it after Holm, over the
    `family` comparisons of the table. Where it was played until clear (`always`), `p` and the interval
    hold at every look, both for the `family` pairs of kernels together, and times have no p.
    """

    place: Place
    first: Repeats
    second: Repeats
    difference: float
    interval: Interval
    p: float
    adjusted: float
    times: Compared | None
    times_adjusted: float | None
    family: int
    always: bool

    @property
    def tallies(self) -> tuple[Tally, Tally]:
        return self.first.wedged.tally, self.second.wedged.tally

    @property
    def shown(self) -> bool:
        """Whether a difference is shown: it would be in at most 5 % of tables of kernels that are alike."""
        return self.adjusted <= LEVEL

    @property
    def times_shown(self) -> bool:
        """Whether the times to recover are shown to differ."""
        return self.times_adjusted is not None and self.times_adjusted <= LEVEL

    @property
    def finding(self) -> str | None:
        """What is shown, in a sentence: of the shares, else of the times; None if neither differs."""
        if self.shown:
            return self.words
        if self.times_shown:
            names = f"{self.first.kernel} and {self.second.kernel}"
            return f"Times to recover differ between {names}: {self.times_words}"
        return None

    @property
    def words(self) -> str:
        """`stock wedged less often than x: 0 of 5 against 5 of 5, difference -100 points (...) ...`."""
        first, second = self.first.kernel, self.second.kernel
        if self.shown:
            less_or_more = "less" if sum(self.interval) < 0 else "more"
            told = f"{first} wedged {less_or_more} often than {second}"
        else:
            told = f"no difference shown between {first} and {second}"
        counts = f"{self.first.wedged.count} against {self.second.wedged.count}"
        return f"{told}: {counts}, {self.difference_words}, {self.p_words}"

    @property
    def difference_words(self) -> str:
        """`difference -100 points (-100 to -39) at 95 %`."""
        at = f"{AT} at every look" if self.always else AT
        if self.always and self.family > 1:
            at += f" for all {self.family} pairs"
        return f"difference {show_points(self.difference)} points {self.span} {at}"

    @property
    def span(self) -> str:
        """`(-100 to -39)`, in points."""
        low, high = map(show_points, self.interval)
        return f"({low} to {high})"

    @property
    def in_points(self) -> str:
        """`-100 (-100 to -39)`."""
        return f"{show_points(self.difference)} {self.span}"

    @property
    def p_words(self) -> str:
        """`Fisher p = 0.008`, with Holm's adjustment if there is more than one comparison."""
        if self.always:
            return f"always-valid {show_p(self.adjusted)}"
        if self.adjusted == self.p:
            return f"Fisher {show_p(self.p)}"
        return f"Fisher {show_p(self.p)}, after Holm {show_p(self.adjusted)}"

    @property
    def times_words(self) -> str:
        """Both medians with their intervals, and whether the times differ."""
        told = "; ".join(f"{one.kernel} {one.recovery.median_words}" for one in (self.first, self.second))
        return f"{told}; {self.times_p_words}" if self.times else told

    @property
    def times_p_words(self) -> str:
        """`log-rank by permutation p = 0.008`; a dash where there is no test."""
        if self.times is None or self.times_adjusted is None:
            return "\N{EM DASH}"
        by = "log-rank by permutation" if self.times.exact else "log-rank"
        holm = f", after Holm {show_p(self.times_adjusted)}" if self.times_adjusted != self.times.p else ""
        return f"{by} {show_p(self.times.p)}{holm}"


def compare(rows: Iterable[Repeats], families: Families | None = None) -> tuple[Comparison, ...]:
    """Every pair of kernels that have a place in common and cells that count, in the order of the rows.

    Where `families` says nothing of a pair, its family is that of its place. All comparisons with a fixed
    number of repeats are one table.
    """
    by_place: dict[Place, list[Repeats]] = {}
    for row in rows:
        if row.wedged.tally.of:
            by_place.setdefault(row.place, []).append(row)
    found = []
    for place, group in by_place.items():
        pairs = tuple(combinations(group, 2))
        for first, second in pairs:
            if first.wedged.always or second.wedged.always:
                kernels = frozenset((first.kernel, second.kernel))
                family = (families or {}).get((place, kernels), len(pairs))
                found.append(_at_every_look(first, second, family))
            else:
                found.append(_at_the_end(first, second))
    return _after_holm(found)


def _at_every_look(first: Repeats, second: Repeats, family: int) -> Comparison:
    seen = anytime.paired(first.by_round, second.by_round)
    p = anytime.p_value(seen)
    return Comparison(
        place=first.place,
        first=first,
        second=second,
        difference=first.wedged.tally.share - second.wedged.tally.share,
        interval=anytime.difference(seen, 1 - LEVEL / family),
        p=p,
        adjusted=min(1.0, family * p),
        times=None,
        times_adjusted=None,
        family=family,
        always=True,
    )


def _at_the_end(first: Repeats, second: Repeats) -> Comparison:
    """Alone in its table: `_after_holm` knows of the others."""
    one, other = first.wedged.tally, second.wedged.tally
    p = proportions.fisher(one, other)
    times = recovery.logrank(first.recovery.times, second.recovery.times)
    return Comparison(
        place=first.place,
        first=first,
        second=second,
        difference=one.share - other.share,
        interval=proportions.difference(one, other),
        p=p,
        adjusted=p,
        times=times,
        times_adjusted=times.p if times else None,
        family=1,
        always=False,
    )


def _after_holm(found: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """The same, where the number of repeats was fixed with p adjusted for all that could show something."""
    fixed = [one for one in found if not one.always]
    least = [proportions.least_fisher(*one.tallies) for one in fixed]
    adjusted = iter(proportions.holm([one.p for one in fixed], least))
    timed = [one.times for one in fixed if one.times]
    times = iter(proportions.holm([one.p for one in timed], [one.least for one in timed]))
    return tuple(
        one
        if one.always
        else replace(
            one,
            adjusted=next(adjusted),
            times_adjusted=next(times) if one.times else None,
            family=len(fixed),
        )
        for one in found
    )


def show_points(share: float) -> str:
    return f"{round(share * 100) + 0}"


def show_p(value: float) -> str:
    if value < 0.001:
        return "p < 0.001"
    return f"p = {value:.3f}" if value < 0.1 else f"p = {value:.2f}".removesuffix(".00")
