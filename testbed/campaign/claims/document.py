"""Owns the claims as a document: every figure with links to the summaries that it was made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from testbed.campaign.claims.assessment import Answer, Assessed, Tried
from testbed.campaign.claims.rules import SAID, Rule
from testbed.campaign.kept import Found
from testbed.campaign.markdown import safe, to
from testbed.load.toml import CLAIMS
from testbed.paths import PROJECT

HEAD = """# The claims

What was said in the thread "[RFC 0/3] Recursive reclaim (on \\_\\_PF\\_MEMALLOC)" of 2007, in our words, and
what was measured of it. `testbed claims write` makes this page of [claims.toml]({claims}) and
[results/summaries]({results}); it is not edited by hand. What arms, rules and states are:
[the users' guide]({guide}#the-claims).

- *holds*: the rule says so of every arm. *refuted*: it says the contrary of every arm. *holds only when*: of
  some arms the one, of others the other. *not settled*: anything else, above all that cells are missing, or
  that no playbook asks it yet.
- All of it is said of the arms that are named: kernels of today, some with a patch that takes away what 2007
  did not have, in a small guest under emulation. *Refuted* does not say that somebody was wrong about the
  kernels of 2007.
- Each claim stands by itself, at 95 %: no state is adjusted for the others, so that of twenty settled ones
  one may be wrong by chance.
"""


def render(assessed: Sequence[Assessed], folder: Path) -> str:
    """Markdown for a file in `folder`, to which its links are relative. The same for the same results."""
    head = HEAD.format(
        claims=to(CLAIMS, folder),
        results=to(PROJECT / "results" / "README.md", folder),
        guide=to(PROJECT / "docs" / "guide.md", folder),
    )
    parts = [head, _counts(assessed), _overview(assessed)]
    parts += [_section(one, folder) for one in assessed]
    return "\n".join(parts)


def _counts(assessed: Sequence[Assessed]) -> str:
    states = [one.state for one in assessed]
    told = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(sorted(states)))
    return f"{len(assessed)} claims: {told}.\n"


def _overview(assessed: Sequence[Assessed]) -> str:
    lines = ["| claim | who | what | state |", "|---|---|---|---|"]
    for one in assessed:
        about = one.claim.about
        link = f"[{one.claim.id}](#{one.claim.id.lower()})"
        lines.append(f"| {link} | {safe(about.who)} | {safe(about.statement)} | {_state(one)} |")
    return "\n".join(lines) + "\n"


def _section(one: Assessed, folder: Path) -> str:
    about = one.claim.about
    lines = [f"## {one.claim.id}", "", safe(about.statement), ""]
    lines += [f"{safe(about.who)}, {about.date}. **{one.state}**: {safe(one.words)}."]
    lines += ["", safe(about.note)] if about.note else []
    if one.claim.rule is not None:
        rule = one.claim.rule
        idle = ", also those in which a set did nothing" if about.idle_counts else ""
        lines += [
            "",
            f"Rule `{rule.name}`, asked once {about.repeats} cells of each arm count{idle}: {rule.meaning}.",
            "",
        ]
        lines += _table(one.answers, rule, folder)
        cautions = [f"- {safe(arm.place)}: {safe(caution)}" for arm in one.arms for caution in arm.cautions]
        lines += ["", *cautions] if cautions else []
    return "\n".join(lines) + "\n"


def _table(answers: Iterable[Answer], rule: Rule, folder: Path) -> list[str]:
    lines = ["| arm | says | share | missing | cells |", "|---|---|---|---|---|"]
    for answer in answers:
        for arm in answer.arms:
            says = SAID[answer.says] if arm is answer.arms[0] else "(against it)"
            missing = str(arm.missing) if arm.missing else ""
            cells = _cells(arm, folder) or "\N{EM DASH}"
            share = safe(arm.words(rule.sign)) if arm.cells else ""
            lines.append(f"| {safe(arm.place)} | {says} | {share} | {missing} | {cells} |")
        if answer.difference is not None:
            lines.append(f"| | | {safe(answer.difference.words)} | | |")
    return lines


def _cells(arm: Tried, folder: Path) -> str:
    """`deadlocked [1](...) [2](...); recovered [1](...)`, by the numbers of the repeats."""
    return "; ".join(
        " ".join([outcome, *(_link(cell, folder) for cell in cells)]) for outcome, cells in arm.by_outcome()
    )


def _link(cell: Found, folder: Path) -> str:
    return f"[{cell.observation.labels.repeat}]({to(cell.path, folder)})"


def _state(one: Assessed) -> str:
    return one.state if one.state == "not settled" else f"**{one.state}**"
