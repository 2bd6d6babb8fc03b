"""Owns what the claims come to: the cells of each arm found, each rule asked, and the answer in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import inf
from statistics import median
from typing import TypeVar

from testbed.campaign.claims.rules import SAID, Compared, Difference, Rates, Rule, Says, State, state
from testbed.campaign.claims.signs import RATES, Rate, Sign, measured, number, shows
from testbed.campaign.claims.table import Arm, Claim, Key, key_of
from testbed.campaign.counted import at_rest, standing_of
from testbed.campaign.counterfactual import counterfactual
from testbed.campaign.kept import Collected, Found
from testbed.campaign.observation import Observation, mixed
from testbed.campaign.outcomes import SORTS, counts
from testbed.campaign.repeats import AT, Proportion
from testbed.campaign.statistics import anytime, proportions, ranks
from testbed.campaign.statistics.proportions import Tally
from testbed.campaign.until_clear import Note
from testbed.judge.values import OUTCOMES
from testbed.model import Outcome

MOST_IN_FULL = 3
DOUBTFUL: tuple[Outcome, ...] = ("inconclusive", "server-down")
"""That the server was down is concluded of a machine that stood still, from a second client: were that wrong,
it wedged. Where no packet was let pass there is nothing to conclude."""

_FIELDS = ("playbook", "form", "variant", "transport", "nic")

ByArm = Mapping[Key, Sequence[Found]]
K = TypeVar("K")

Turned = int | None
"""How inconclusive cells are taken: as if so many of them showed the sign, or (None) not at all."""
ALL = 1_000_000
TURNS: tuple[tuple[Turned, Turned], ...] = ((None, None), (ALL, 0), (0, ALL))
"""Of the first and the second arm of a pair: as they are, and the two extremes."""


@dataclass(frozen=True, slots=True)
class Tried:
    """An arm of a claim, and all cells of it. `name` is what tells it from the claim's other arms.

    `sign` is what the claim's rule looks for: cells in which it was not measured do not count. `idle_counts`
    is the claim's: cells in which a set did nothing do. `always` where it was played until clear, so that its
    intervals hold at every look.
    """

    arm: Arm
    name: str
    sign: Sign
    needed: int
    cells: tuple[Found, ...]
    idle_counts: bool
    always: bool

    @property
    def counted(self) -> tuple[Found, ...]:
        """Those that say something of the kernel, and in which every set did something, or need not."""
        return tuple(cell for cell in self._judged if self.idle_counts or not self._at_rest(cell))

    @property
    def idle(self) -> Mapping[str, int]:
        """By set of the kernel, in how many cells none of its counters moved."""
        return Counter(name for cell in self._judged for name in self._at_rest(cell))

    @property
    def unasked(self) -> Mapping[str, int]:
        """By what the arm's playbook asks of a cell, how many were not asked it, and do not count."""
        found = (cell for cell in self.cells if counts(cell.observation.outcome))
        return Counter(name for cell in found for name in self._unasked(cell))

    def _at_rest(self, cell: Found) -> tuple[str, ...]:
        return at_rest(cell.counters, standing_of(self.arm.sets))

    def _unasked(self, cell: Found) -> tuple[str, ...]:
        rules, one = self.arm.plan.judging, cell.observation
        met = (name for name in rules.requires if name not in one.requires)
        failed = SORTS[one.outcome] in ("wedged", "failed otherwise")  # whatever else had to end well
        jobs = () if failed else (job for job in rules.ends_too if job not in one.ends_too)
        return (*met, *(f"{job} ended well" for job in jobs))

    @property
    def _judged(self) -> tuple[Found, ...]:
        """Those that say something of the kernel, and have the first judgement where that is asked."""
        found = tuple(
            cell
            for cell in self.cells
            if counts(cell.observation.outcome) and not self._unasked(cell) and measured(cell, self.sign)
        )
        if not self.arm.table.under:
            return found
        return tuple(cell for cell in found if cell.observation.under not in (None, "in doubt"))

    @property
    def undecided(self) -> tuple[Found, ...]:
        """Those of which the judge could not say how they came out, and which would count if it could.

        Who crashed or lost data is known to have, whatever else is in doubt.
        """
        if self.sign == "broke":
            return ()
        return tuple(
            cell
            for cell in self.cells
            if self._in_doubt(cell.observation)
            and not self._unasked(cell)
            and (self.idle_counts or not self._at_rest(cell))
        )

    def _in_doubt(self, one: Observation) -> bool:
        under = self.arm.table.under and one.under == "in doubt"
        return one.outcome in DOUBTFUL or (under and counts(one.outcome))

    @property
    def missing(self) -> int:
        return max(0, self.needed - len(self.counted))

    @property
    def place(self) -> str:
        """`stock · flood · short · nbd · e1000e`."""
        kernel, place = self.arm.key
        return f"{kernel} \N{MIDDLE DOT} {place.words}"

    @property
    def cautions(self) -> tuple[str, ...]:
        """What never was, does not quite belong together, or may have decided instead of the kernel."""
        told = [f"Counterfactual: {why}." for why in counterfactual(self.arm.labels)]
        told += mixed(cell.observation for cell in self.cells)
        if any(cell.observation.confounders for cell in self.cells):
            told.append(f"{self.arm.labels.kernel} has confounders.")
        return tuple(told)

    def share(self, sign: Sign, turned: Turned = None) -> Proportion:
        """How many of the cells that count show it; with `turned` those that are undecided are among them."""
        under = self.arm.table.under
        shown = [shows(cell, sign, under=under) for cell in self.counted]
        shown += [shown_as for _, shown_as in self._turned(sign, turned)]
        tally = Tally(sum(shown), len(shown))
        interval = anytime.interval(tally) if self.always else proportions.wilson(tally)
        return Proportion(tally, interval, self.always)

    def words(self, sign: Sign) -> str:
        """`wedged 6 of 6; 61-100 % at 95 %`, and in how many cells a set of the kernel did nothing."""
        share, under = self.share(sign), " under the flood" if self.arm.table.under else ""
        if not self.cells:
            return "no cell"
        sets = ", none of ".join(
            f"{name} moved in {count} cell{'' if count == 1 else 's'}"
            for name, count in sorted(self.idle.items())
        )
        nothing = "" if self.idle_counts else ": that says nothing"
        idle = f"; no counter of {sets}{nothing}" if sets else ""
        idle += "".join(
            f"; {count} cell{'' if count == 1 else 's'} not asked whether '{name}'"
            for name, count in self.unasked.items()
        )
        if not share.tally.of:
            return f"none of {len(self.cells)} counts{idle}"
        every = " at every look" if self.always else ""
        return f"{sign}{under} {share.count}; {share.span} {AT}{every}{idle}"

    def by_outcome(self) -> tuple[tuple[Outcome, tuple[Found, ...]], ...]:
        """Its cells by what came out, in the order of the judge's rules."""
        told = ((name, tuple(c for c in self.cells if c.observation.outcome == name)) for name in OUTCOMES)
        return tuple((name, cells) for name, cells in told if cells)

    def by_round(self, sign: Sign, turned: Turned = None) -> dict[int, bool]:
        """By repeat whether it shows it; of several of one number the last."""
        told = {cell.observation.labels.repeat: shown_as for cell, shown_as in self._turned(sign, turned)}
        for cell in self.counted:
            told[cell.observation.labels.repeat] = shows(cell, sign, under=self.arm.table.under)
        return told

    def _turned(self, sign: Sign, turned: Turned) -> list[tuple[Found, bool]]:
        """The undecided cells, each as it is taken.

        Who went on did not wedge, whatever else is in doubt: it may be left out, but it can not be turned.
        """
        if turned is None:
            return []
        known = {"went on": True, "wedged": False}.get(sign) if not self.arm.table.under else None
        free = [cell for cell in self.undecided if known is None or not cell.observation.lasted]
        fixed = [cell for cell in self.undecided if cell not in free]
        taken = [(cell, place < turned) for place, cell in enumerate(free)]
        return taken + [(cell, bool(known)) for cell in fixed if turned == (ALL if known else 0)]

    def rates(self, rate: Rate, turned: Turned = None) -> list[float]:
        """Of each cell that counts, 0 or more."""
        found = [number(cell, rate.hits) / number(cell, rate.of) for cell in self.counted]
        extreme = inf if turned else 0.0
        return found + ([extreme] * len(self.undecided) if turned is not None else [])


@dataclass(frozen=True, slots=True)
class Answer:
    """What the rule says of one arm, or of two; `missing` cells have to be played before it is asked."""

    arms: tuple[Tried, ...]
    says: Says
    words: str
    difference: Compared | None = None

    @property
    def missing(self) -> int:
        return sum(arm.missing for arm in self.arms)

    @property
    def name(self) -> str:
        return " against ".join(arm.name for arm in self.arms)


@dataclass(frozen=True, slots=True)
class Assessed:
    """A claim and what it comes to."""

    claim: Claim
    answers: tuple[Answer, ...]
    state: State

    @property
    def arms(self) -> tuple[Tried, ...]:
        """Each once, also where it is compared with several."""
        return tuple({arm.arm.key: arm for answer in self.answers for arm in answer.arms}.values())

    @property
    def missing(self) -> int:
        """How many cells are to be played before every arm has enough."""
        return sum(arm.missing for arm in self.arms)

    @property
    def words(self) -> str:
        """What the state rests on: `holds with a (wedged 6 of 6; ...); refuted with b (...)`."""
        told = []
        for says, word in SAID.items():
            those = [each for each in self.answers if each.says == says and not each.missing]
            what = "" if word == self.state else f"{word} "
            told += [f"{what}with {_listed(those, len(self.answers))}"] if those else []
        if self.missing:
            told.append("one cell is missing" if self.missing == 1 else f"{self.missing} cells are missing")
        if self.claim.about.missing:
            told.append(f"not asked yet: {self.claim.about.missing}")
        return "; ".join(told)


def assess(claims: Iterable[Claim], kept: Collected) -> tuple[Assessed, ...]:
    """Every claim, in the order of the table. Comparisons are adjusted for all of their claim together.

    Not for those of other claims: what one comes to would hang on which others somebody played.
    """
    by_arm: dict[Key, list[Found]] = {}
    for cell in kept.cells:
        by_arm.setdefault(key_of(cell.observation.labels), []).append(cell)
    asked = [(claim, _questions(claim, by_arm, kept.notes)) for claim in claims]
    return tuple(_assessed(claim, questions) for claim, questions in asked)


def _assessed(claim: Claim, questions: Sequence[tuple[Tried, ...]]) -> Assessed:
    found = _found(claim, questions)
    answers = tuple(_answer(claim, arms, each) for arms, each in zip(questions, found, strict=True))
    if claim.rule and claim.rule.credits and claim.about.idle_counts:
        busy = [(replace(arms[0], idle_counts=False), *arms[1:]) for arms in questions]
        alone = _found(claim, busy)
        asked = [_answer(claim, arms, each) for arms, each in zip(busy, alone, strict=True)]
        answers = tuple(_credited(*pair) for pair in zip(answers, asked, strict=True))
    says = [answer.says for answer in answers]
    return Assessed(claim, answers, state(says, part_missing=bool(claim.about.missing)))


def _credited(answer: Answer, without: Answer) -> Answer:
    """A yes is one only if it is so `without` the cells in which a set of the first kernel did nothing."""
    if answer.says != "yes" or without.says == "yes":
        return answer
    words = f"{answer.words}; {SAID['yes']} but for cells in which a set did nothing"
    return replace(answer, says="open", words=words)


def _found(claim: Claim, questions: Sequence[tuple[Tried, ...]]) -> list[list[Compared]]:
    """What the two arms of each question come to, by TURNS and all between; nothing if not asked yet."""
    rule = claim.rule
    if rule is None or not rule.compares:
        return [[] for _ in questions]
    whole = [n for n, arms in enumerate(questions) if not any(arm.missing for arm in arms)]
    by_turn = [{n: _compared(questions[n], rule, turned) for n in whole} for turned in TURNS]
    as_they_are = by_turn[0]
    found: list[list[Compared]] = [[] for _ in questions]
    for n in whole:
        alone = ({n: _compared(questions[n], rule, turned)} for turned in _between(questions[n]))
        tables = (*by_turn, *(as_they_are | each for each in alone))
        found[n] = [_after_holm(table)[n] for table in tables]
    return found


def _between(arms: Sequence[Tried]) -> Iterable[tuple[Turned, Turned]]:
    """All between the two extremes: a rule that asks for a difference may say the same at both alone."""
    one, other = (range(len(arm.undecided) + 1) for arm in arms)
    return product(one, other) if len(one) + len(other) > 2 else ()


def _questions(claim: Claim, cells: ByArm, notes: Sequence[Note]) -> list[tuple[Tried, ...]]:
    """One arm each, or two where arms are compared."""
    named = zip(claim.arms, _names(claim.arms), strict=True)
    tried = [_tried(claim, arm, name, cells.get(arm.key, ()), notes) for arm, name in named]
    size = 2 if claim.rule and claim.rule.compares else 1
    return [tuple(tried[start : start + size]) for start in range(0, len(tried), size)]


def _tried(claim: Claim, arm: Arm, name: str, cells: Sequence[Found], notes: Sequence[Note]) -> Tried:
    assert claim.rule is not None  # a claim with arms has a rule: table.py

    def order(cell: Found) -> tuple[int, str, str]:
        return cell.observation.labels.repeat, cell.observation.name, str(cell.path)

    always = any(note.covers(cell.observation.labels) for note in notes for cell in cells)
    ordered = tuple(sorted(cells, key=order))
    about = claim.about
    return Tried(arm, name, claim.rule.sign, about.repeats, ordered, about.idle_counts, always)


def _names(arms: Sequence[Arm]) -> list[str]:
    """The kernel, and of the place what differs between a claim's arms."""
    places = [arm.key[1] for arm in arms]
    telling = [field for field in _FIELDS if len({getattr(place, field) for place in places}) > 1]
    return [
        ", ".join([arm.key[0], *(getattr(place, field) for field in telling if getattr(place, field))])
        for arm, place in zip(arms, places, strict=True)
    ]


def _compared(arms: tuple[Tried, ...], rule: Rule, turned: tuple[Turned, Turned]) -> Compared:
    """Two arms, alone in their table: `_after_holm` knows of the others."""
    one, other = arms
    mine, its = (arm.share(rule.sign, turn) for arm, turn in zip(arms, turned, strict=True))
    first, second, each = mine.tally, its.tally, (mine.interval, its.interval)
    if one.always or other.always:
        by_round = (arm.by_round(rule.sign, turn) for arm, turn in zip(arms, turned, strict=True))
        rounds = anytime.paired(*by_round)
        p = anytime.p_value(rounds)
        return Difference(first, second, each, anytime.difference(rounds), p, p, at_every_look=True)
    if rule.sign in RATES:
        rate = RATES[rule.sign]
        of_one, of_other = (arm.rates(rate, turn) for arm, turn in zip(arms, turned, strict=True))
        p, least = ranks.rank_sum(of_one, of_other)
        ratio = ranks.ratio(of_one, of_other)
        return Rates(rate, 1000 * median(of_one), 1000 * median(of_other), each[0], ratio, p, least, p)
    p = proportions.fisher(first, second)
    return Difference(first, second, each, proportions.difference(first, second), p, p)


def _after_holm(found: Mapping[K, Compared]) -> dict[K, Compared]:
    pairs = tuple(found.values())
    adjusted = proportions.holm([one.p for one in pairs], [_least(one) for one in pairs])
    return {key: replace(one, adjusted=p) for key, one, p in zip(found, pairs, adjusted, strict=True)}


def _least(one: Compared) -> float:
    if isinstance(one, Rates):
        return one.least
    return 0.0 if one.at_every_look else proportions.least_fisher(one.first, one.second)


def _answer(claim: Claim, arms: tuple[Tried, ...], found: Sequence[Compared]) -> Answer:
    """`found` is of two arms what they come to by each of TURNS, once they have their cells.

    The judge doubts more readily of a cell that stands still than of one that goes on, and a precondition
    may fail for what a kernel does well: what is undecided is no chance sample. So it must not matter.
    """
    rule = claim.rule
    assert rule is not None  # a claim with arms has a rule: table.py
    words = " against ".join(arm.words(rule.sign) for arm in arms)
    if any(arm.missing for arm in arms):
        return Answer(arms, "open", words)
    if rule.paired and found:
        said = [rule.paired(each) for each in found]
        words = f"{words}; {found[0].words}"
    else:
        assert rule.alone is not None
        said = [rule.alone(arms[0].share(rule.sign, turned).interval) for turned, _ in TURNS]
    if said[0] != "open" and len(set(said)) > 1:
        count = sum(len(arm.undecided) for arm in arms)
        cells = "one inconclusive cell" if count == 1 else f"{count} inconclusive cells"
        words += f"; {SAID[said[0]]} but for {cells}, on which that hangs"
    says = said[0] if len(set(said)) == 1 else "open"
    return Answer(arms, says, words, found[0] if found else None)


def _listed(answers: Sequence[Answer], of: int) -> str:
    """Few arms with their figures, many by their names, all by their number."""
    if len(answers) <= MOST_IN_FULL:
        return ", ".join(f"{each.name} ({each.words})" for each in answers)
    return f"all {of} arms" if len(answers) == of else ", ".join(each.name for each in answers)
