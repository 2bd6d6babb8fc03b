"""Owns the rule by which a campaign plays on until its result is clear, and the note of it in its folder.

What is looked at after every round must hold at every look, or a lucky stretch ends the run
(docs/decisions/0009-stop-when-it-is-clear-at-every-look.md).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from testbed import store
from testbed.campaign.comparison import Families
from testbed.campaign.repeats import Place, Repeats, place_of
from testbed.campaign.statistics import CONFIDENCE, anytime
from testbed.campaign.statistics.proportions import Interval, Tally
from testbed.errors import UsageError
from testbed.model import Labels, Value

NOTE = "until-clear-{}.json"
AT_MOST = 20
WIDTH = 0.5

Seen = Mapping[int, bool]
"""Of one kernel: by round whether it wedged; what does not count is not in it."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the rule says of one kernel, or of two: `clear`, with the reason, or still open."""

    kernels: tuple[str, ...]
    clear: bool
    statement: str


@dataclass(frozen=True, slots=True)
class Stop:
    """How what was played by a rule ended, or how it stands."""

    place: Place
    kernels: tuple[str, ...]
    clear: bool
    statement: str


class Rule(Value):
    """Of one kernel: until the interval of its share of wedged cells leaves out one half, or is narrower
    than `width`. Of several: until that of each pair's difference leaves out 0, or lies within `width`
    to either side of it. All intervals hold at every look, and for all pairs together, at `confidence`.
    """

    width: float = Field(default=WIDTH, gt=0, le=1)
    at_most: int = Field(default=AT_MOST, ge=1, le=1000)
    confidence: float = Field(default=CONFIDENCE, gt=0.5, lt=1)

    def looks(self, seen: Mapping[str, Seen]) -> tuple[Look, ...]:
        """At one kernel alone, or at every pair of several, in the order of `seen`."""
        if len(seen) == 1:
            ((kernel, rounds),) = seen.items()
            return (self._alone(kernel, rounds),)
        pairs = list(combinations(seen, 2))
        level = (1 - self.confidence) / len(pairs)
        return tuple(self._pair(first, second, seen, level) for first, second in pairs)

    def open_kernels(self, seen: Mapping[str, Seen]) -> tuple[str, ...]:
        """Of which another round is needed: those that a look is still open about."""
        still = {kernel for look in self.looks(seen) if not look.clear for kernel in look.kernels}
        return tuple(kernel for kernel in seen if kernel in still)

    def _alone(self, kernel: str, rounds: Seen) -> Look:
        tally = Tally(sum(rounds.values()), len(rounds))
        low, high = interval = anytime.interval(tally, self.confidence)
        if interval.excludes(0.5):
            return Look((kernel,), True, f"the interval for {kernel} leaves out one half")
        if high - low < self.width:
            return Look((kernel,), True, f"the interval for {kernel} is narrower than {_points(self.width)}")
        return Look((kernel,), False, f"the interval for {kernel} holds one half")

    def _pair(self, first: str, second: str, seen: Mapping[str, Seen], level: float) -> Look:
        rounds = anytime.paired(seen[first], seen[second])
        names = f"{first} and {second}"
        if anytime.p_value(rounds) <= level:
            return Look((first, second), True, f"the difference between {names} is shown")
        if within(anytime.difference(rounds, 1 - level), self.width):
            return Look((first, second), True, f"{names} differ by less than {_points(self.width)}")
        return Look((first, second), False, f"{names} may differ or not")


class Note(Value):
    """That cells of these kernels at one place were played by a rule. Lies in the campaign's folder."""

    kind: Literal["until-clear"] = "until-clear"
    place: tuple[str, str, str, str, str]
    kernels: tuple[str, ...] = Field(min_length=1)
    rule: Rule

    def covers(self, labels: Labels) -> bool:
        return self.place == _parts(place_of(labels)) and labels.kernel in self.kernels

    @property
    def families(self) -> Families:
        """Of each pair of kernels how many pairs the rule looked at together."""
        pairs = list(combinations(self.kernels, 2))
        return {(Place(*self.place), frozenset(pair)): len(pairs) for pair in pairs}

    def stop(self, rows: Sequence[Repeats]) -> Stop:
        """`Stopped when clear, after 5 of at most 20 repeats: ...`; by the verdicts of today."""
        by_kernel = {row.kernel: row for row in rows}
        played = [len(by_kernel[each].observations) if each in by_kernel else 0 for each in self.kernels]
        repeats = " to ".join(str(number) for number in dict.fromkeys((min(played), max(played))))
        seen = {each: by_kernel[each].by_round if each in by_kernel else {} for each in self.kernels}
        looks = self.rule.looks(seen)
        still = [look.statement for look in looks if not look.clear]
        reasons = "; ".join(still or [look.statement for look in looks])
        ended = "Not clear" if still else "Stopped when clear,"
        statement = f"{ended} after {repeats} of at most {self.rule.at_most} repeats: {reasons}."
        return Stop(Place(*self.place), self.kernels, not still, statement)


def note_of(labels: Sequence[Labels], rule: Rule) -> Note:
    """Of the labels of the cells that the rule plays, all at one place."""
    kernels = tuple(dict.fromkeys(each.kernel for each in labels))
    return Note(place=_parts(place_of(labels[0])), kernels=kernels, rule=rule)


def write_note(folder: Path, note: Note) -> None:
    """One file for each place and choice of kernels: a rule that is given again takes the old one's place."""
    name = hashlib.sha256(json.dumps([note.place, sorted(note.kernels)]).encode()).hexdigest()[:8]
    store.write_json(folder / NOTE.format(name), note.model_dump(mode="json"))


def read_notes(folder: Path) -> tuple[Note, ...]:
    """All notes of a campaign's folder. Raises UsageError on one that this version does not read."""
    found = []
    for path in sorted(folder.glob(NOTE.format("*"))):
        try:
            found.append(Note.model_validate_json(path.read_bytes()))
        except (OSError, ValidationError) as error:
            raise UsageError(
                "not a note of a run until clear",
                where=str(path),
                hint="move it away; intervals are then as if the number of repeats had been fixed",
            ) from error
    return tuple(found)


def families_of(notes: Iterable[Note]) -> Families:
    """Of pairs in several notes the larger family counts."""
    found: dict[tuple[Place, frozenset[str]], int] = {}
    for note in notes:
        for pair, family in note.families.items():
            found[pair] = max(family, found.get(pair, 0))
    return found


def within(interval: Interval, width: float) -> bool:
    """Whether a difference lies that near to 0 for sure: two that are alike for all practical purposes."""
    return -width < interval.low and interval.high < width


def _parts(place: Place) -> tuple[str, str, str, str, str]:
    return place.playbook, place.form, place.variant, place.transport, place.nic


def _points(share: float) -> str:
    return f"{share * 100:.0f} points"
