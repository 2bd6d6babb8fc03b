"""Owns how claims look on a terminal, and as JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from testbed.campaign.claims import Answer, Assessed, State, Tried, Wanted
from testbed.campaign.claims.rules import Compared, Rates
from testbed.campaign.claims.signs import Sign
from testbed.load.toml import shown
from testbed.plan.labels import cell_name
from testbed.units import show_seconds

COLOURS: dict[State, str] = {
    "holds": "green",
    "refuted": "red",
    "holds only when": "yellow",
    "not settled": "dim",
}


def state(one: State) -> str:
    return f"[{COLOURS[one]}]{one}[/]"


def table(assessed: Sequence[Assessed]) -> RenderableType:
    """A row for each claim; `show` says more."""
    drawn = Table(box=None, pad_edge=False, header_style="dim")
    drawn.add_column("claim", no_wrap=True)
    drawn.add_column("who and what")
    drawn.add_column("state", no_wrap=True)
    drawn.add_column("cells", no_wrap=True, justify="right")
    for one in assessed:
        about = one.claim.about
        drawn.add_row(
            one.claim.id,
            f"[dim]{escape(about.who)}:[/] {escape(about.statement)}",
            state(one.state),
            _cells(one),
        )
    settled = sum(one.state != "not settled" for one in assessed)
    asked = sum(bool(one.arms) for one in assessed)
    return Group(
        drawn, f"{len(assessed)} claims, {asked} with arms, {settled} settled: testbed claims show ID"
    )


def _cells(one: Assessed) -> str:
    """`13 of 95`: cells that count, up to what each arm needs, of those that are needed."""
    if not one.arms:
        return "no arm"
    needed = sum(arm.needed for arm in one.arms)
    return f"{needed - one.missing} of {needed}"


def in_full(one: Assessed) -> RenderableType:
    """What was said, how it is tested, what came out of each arm, and what that comes to."""
    about, rule = one.claim.about, one.claim.rule
    lines = [f"[bold]{one.claim.id}[/]  {escape(about.who)}, {about.date}", f"  {escape(about.statement)}"]
    lines += [f"  {state(one.state)}: {escape(one.words)}"]
    lines += [f"  [dim]{escape(about.note)}[/]"] if about.note else []
    if rule is not None:
        once = f"asked once {about.repeats} cells of each arm count"
        lines += [f"  rule [bold]{rule.name}[/], {once}: {escape(rule.meaning)}"]
        lines += [line for answer in one.answers for line in _answer(answer, rule.sign)]
    return "\n".join(lines)


def _answer(answer: Answer, sign: Sign) -> list[str]:
    lines = []
    for number, arm in enumerate(answer.arms):
        lacks = f", {arm.missing} missing" if arm.missing else ""
        against = "against " if number else ""
        lines += [f"  {against}[bold]{escape(arm.place)}[/]: {escape(arm.words(sign))}{lacks}"]
        lines += [
            f"    {outcome}: [dim]{escape(str(shown(cell.path)))}[/]"
            for outcome, cells in arm.by_outcome()
            for cell in cells
        ]
        lines += [f"    [yellow]{escape(caution)}[/]" for caution in arm.cautions]
    if answer.difference is not None:
        lines += [f"    {escape(answer.difference.words)}"]
    return lines


def wanted(cells: Sequence[Wanted]) -> str:
    """Every cell that would be played, and how long all of them take about."""
    if not cells:
        return "Nothing is missing."
    names = [escape(_name(cell)) for cell in cells]
    least, most = (sum(getattr(cell, key) for cell in cells) for key in ("least_s", "most_s"))
    count = "one cell" if len(cells) == 1 else f"{len(cells)} cells"
    return "\n".join(
        [
            *names,
            f"{count}: about {show_seconds(least)} if each recovers or is proved not to, "
            f"at most some {show_seconds(most)}; kernels that are not built yet come on top",
        ]
    )


def wanted_json(cells: Sequence[Wanted]) -> dict[str, Any]:
    return {
        "cells": [_name(cell) for cell in cells],
        "least_s": sum(cell.least_s for cell in cells),
        "most_s": sum(cell.most_s for cell in cells),
    }


def _name(cell: Wanted) -> str:
    return cell_name(cell.arm.labels.model_copy(update={"repeat": cell.repeat}))


def claim_json(one: Assessed) -> dict[str, Any]:
    about, rule = one.claim.about, one.claim.rule
    return {
        "id": one.claim.id,
        "who": about.who,
        "date": about.date,
        "statement": about.statement,
        "note": about.note,
        "not_asked_yet": about.missing,
        "rule": rule.name if rule else None,
        "repeats": about.repeats,
        "state": one.state,
        "words": one.words,
        "missing": one.missing,
        "answers": [_answer_json(answer, rule.sign) for answer in one.answers if rule],
    }


def _answer_json(answer: Answer, sign: Sign) -> dict[str, Any]:
    return {
        "says": answer.says,
        "words": answer.words,
        "arms": [_arm_json(arm, sign) for arm in answer.arms],
        "difference": _difference_json(answer.difference) if answer.difference else None,
    }


def _difference_json(found: Compared) -> dict[str, Any]:
    """`points` of shares with their interval, or the medians of rates."""
    told = {"p": found.p, "adjusted_p": found.adjusted}
    if isinstance(found, Rates):
        return {"medians": [found.first, found.second], **told, "at_every_look": False}
    interval = list(found.interval)
    return {"points": found.difference, "interval": interval, **told, "at_every_look": found.at_every_look}


def _arm_json(arm: Tried, sign: Sign) -> dict[str, Any]:
    kernel, place = arm.arm.key
    share = arm.share(sign)
    return {
        "kernel": kernel,
        **asdict(place),
        "sort": sign,
        "hits": share.tally.hits,
        "of": share.tally.of,
        "interval": list(share.interval),
        "at_every_look": share.always,
        "needed": arm.needed,
        "missing": arm.missing,
        "undecided": len(arm.undecided),
        "idle": dict(sorted(arm.idle.items())),
        "cells": {outcome: [str(shown(cell.path)) for cell in cells] for outcome, cells in arm.by_outcome()},
        "cautions": list(arm.cautions),
    }
