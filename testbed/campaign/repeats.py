"""Owns what the repeats of one cell come to: how many wedged, what else came out, how long recovery took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from testbed.campaign.observation import Observation
from testbed.campaign.outcomes import SORTS, Sort, counts, wedged, went_on
from testbed.campaign.statistics import CONFIDENCE, anytime, proportions, recovery
from testbed.campaign.statistics.proportions import Interval, Tally
from testbed.campaign.statistics.recovery import Times
from testbed.judge.values import OUTCOMES
from testbed.model import Labels, Outcome
from testbed.units import show_seconds

AT = f"at {CONFIDENCE * 100:.0f} %"


@dataclass(frozen=True, slots=True)
class Place:
    """What repeats have in common, but for the kernel."""

    playbook: str
    form: str
    variant: str
    transport: str
    nic: str

    @property
    def words(self) -> str:
        parts = (self.playbook, self.form, self.variant, self.transport, self.nic)
        return " \N{MIDDLE DOT} ".join(part for part in parts if part)


def place_of(labels: Labels) -> Place:
    return Place(labels.playbook, labels.form, labels.variant, labels.transport, labels.nic)


@dataclass(frozen=True, slots=True)
class Proportion:
    """How many of the cells that count wedged; `always` if the interval holds at every look."""

    tally: Tally
    interval: Interval
    always: bool = False

    @property
    def words(self) -> str:
        """`wedged 20 of 20; 84-100 % at 95 %`."""
        at_every_look = " at every look" if self.always else ""
        return f"wedged {self.count}; {self.span} {AT}{at_every_look}"

    @property
    def count(self) -> str:
        return f"{self.tally.hits} of {self.tally.of}"

    @property
    def span(self) -> str:
        low, high = (f"{limit * 100:.0f}" for limit in self.interval)
        return f"{low}\N{EN DASH}{high} %"


@dataclass(frozen=True, slots=True)
class Recovery:
    """Times to recover, with Kaplan and Meier's median; those that never did were given `bound_s`."""

    times: Times
    median: recovery.Median
    bound_s: float

    @property
    def not_within(self) -> str:
        return f"{len(self.times.unseen_s)} of {self.times.of} did not recover"

    @property
    def words(self) -> str:
        """`median 11 s (10 s to 14 s); 1 of 5 did not recover`: in brackets the first and the last seen."""
        if not self.times.of:
            return "\N{EM DASH}"
        if self.median.at_s is None:
            return f"no median: {self.not_within}"
        told = f"median {_seconds(self.median.at_s)}"
        if len(self.times.seen_s) > 1:
            told += f" ({_seconds(min(self.times.seen_s))} to {_seconds(max(self.times.seen_s))})"
        return f"{told}; {self.not_within}" if self.times.unseen_s else told

    @property
    def median_words(self) -> str:
        """`median 11 s (10 s to 14 s at 95 %)`: in brackets the median's interval, if enough recovered."""
        at_s, low_s, high_s = self.median
        if at_s is None:
            return f"no median ({self.not_within})" if self.times.of else "no times"
        if low_s is None:
            return f"median {_seconds(at_s)}"
        limit = f"to {_seconds(high_s)}" if high_s is not None else "or more"
        return f"median {_seconds(at_s)} ({_seconds(low_s)} {limit} {AT})"


@dataclass(frozen=True, slots=True)
class Repeats:
    """All cells of one kernel at one place. What does not count is in `observations` alone."""

    place: Place
    kernel: str
    observations: tuple[Observation, ...]
    wedged: Proportion
    outcomes: tuple[tuple[Outcome, int], ...]
    recovery: Recovery

    @property
    def uncounted(self) -> int:
        return len(self.observations) - self.wedged.tally.of

    @property
    def split(self) -> tuple[str, ...]:
        """`stalled 4`, `recovered 1`, `1 not counted`: every outcome, in the order of the rules."""
        told = tuple(f"{outcome} {count}" for outcome, count in self.outcomes if counts(outcome))
        not_counted = [f"{outcome} {count}" for outcome, count in self.outcomes if not counts(outcome)]
        return (*told, f"not counted: {', '.join(not_counted)}") if not_counted else told

    @property
    def words(self) -> str:
        """`wedged 4 of 5; 38-96 % at 95 %`, then every outcome that came."""
        told = (self.wedged.words, *self.split) if self.wedged.tally.of else self.split
        return " \N{MIDDLE DOT} ".join(told)

    @property
    def by_round(self) -> dict[int, bool]:
        """By repeat whether it wedged; only those that count, of several of one number the last."""
        counted = [one for one in self.observations if counts(one.outcome)]
        return {one.labels.repeat: wedged(one.outcome) for one in counted}


def repeats_of(observations: Sequence[Observation], *, always: bool = False) -> Repeats:
    """Of one observation or more of one kernel and place. `always`: their number was not fixed before."""
    labels = observations[0].labels
    counted = [one for one in observations if counts(one.outcome)]
    tally = tally_of(one.outcome for one in observations)
    interval = anytime.interval(tally) if always else proportions.wilson(tally)
    seen = Counter(one.outcome for one in observations)
    times = times_of(counted)
    return Repeats(
        place=place_of(labels),
        kernel=labels.kernel,
        observations=tuple(observations),
        wedged=Proportion(tally, interval, always),
        outcomes=tuple((outcome, seen[outcome]) for outcome in OUTCOMES if seen[outcome]),
        recovery=Recovery(times, recovery.median(times), max((one.bound_s for one in counted), default=0.0)),
    )


def tally_of(outcomes: Iterable[Outcome], sort: Sort = "wedged") -> Tally:
    """How many wedged, or are of another sort, of those that count."""
    counted = [outcome for outcome in outcomes if counts(outcome)]
    return Tally(sum(SORTS[outcome] == sort for outcome in counted), len(counted))


def times_of(counted: Iterable[Observation]) -> Times:
    """A cell that wedged is censored when it was watched no longer.

    One that failed otherwise (killed, crashed) would never have recovered, however long it was watched, nor
    would one that is proven to be deadlocked, where the proof ended the watching. Both are censored at their
    bound, not when they ended, so that the curve is the share of all cells that had recovered by a time
    (R. J. Gray, Ann. Statist. 16 (1988) 1141).
    """
    seen, unseen = [], []
    for one in counted:
        watched_s = one.bound_s if one.observed_s is None else one.observed_s
        if went_on(one.outcome) and one.time_to_recover_s is not None:
            seen.append(one.time_to_recover_s)
        else:
            never = one.outcome == "deadlocked" or SORTS[one.outcome] == "failed otherwise"
            unseen.append(max(watched_s, one.bound_s) if never else watched_s)
    return Times(tuple(seen), tuple(unseen))


def _seconds(value: float) -> str:
    """Tenths of a second matter here: TCP's timers lie close together."""
    return f"{value:.1f}".removesuffix(".0") + " s" if value < 120 else show_seconds(value)
