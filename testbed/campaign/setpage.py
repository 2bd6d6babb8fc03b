"""Owns the page of patch sets: each set on each base, what its checks found, and where its counters moved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.campaign.kept import Found
from testbed.campaign.markdown import safe, to
from testbed.kernels import checking, patchset
from testbed.kernels.checked import Checks
from testbed.kernels.checking import STEPS, Check, Step
from testbed.kernels.source import SUITES
from testbed.model import DEFAULT_BASE
from testbed.paths import PROJECT

MOST_COUNTERS = 4
HEAD = """# Patch sets: what is known of each

`testbed patches write` makes this page of [kernel-patches]({patches}), of what `testbed patches check
--keep` left in [results/checks]({checks}), and of the cells in [results/summaries]({results}); it is not
edited by hand.

- *applies*, *builds*, *boots*, *counters* are those checks: without fuzz; without a warning that its base
  does not have; with LOCKDEP and DEBUG\\_ATOMIC\\_SLEEP ([checking.config]({config})) without a report; each
  counter of its `set.toml` is there. A check of other patches than today's does not count; *base* has the
  version of its source that was looked at. What is booted takes memory and gives it back, no more: *no
  report* says that the kernel is sound with the set in it, and nothing of the set's own locks under load.
- *seen to move* has, for each playbook that the set is for (`scenarios` of its `set.toml`), the most that
  one cell had counted at the last look into A, whatever the patches were then; and other playbooks, where
  anything moved. Cells of several sets count for each. What is above 0 as soon as a set is in force
  (`standing` of its `set.toml`) is left out.
"""
COLUMNS = ("set", "base", *STEPS, "seen to move")


@dataclass(frozen=True, slots=True)
class _Set:
    """A set, or a composition with its members: their patches by base, and the names of their counters.

    `moving` are those of them that show that the set's code ran, and not only that it is in force.
    """

    about: patchset.PatchSet
    members: tuple[str, ...]
    counters: tuple[str, ...]
    moving: tuple[str, ...]
    root: Path

    def content(self, base: str) -> str:
        return patchset.content([patchset.load(name, self.root, base) for name in self.members])


def render(root: Path, checks: Checks, cells: Sequence[Found], folder: Path) -> str:
    """Markdown for a file in `folder`, to which its links are relative. The same for the same facts."""
    head = HEAD.format(
        patches=to(PROJECT / "kernel-patches" / "README.md", folder),
        checks=to(PROJECT / "results" / "checks", folder),
        results=to(PROJECT / "results" / "README.md", folder),
        config=to(checking.CHECKING, folder),
    )
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    for name in patchset.known(root):
        lines += _rows(_set(name, root), checks, cells, folder)
    return head + "\n" + "\n".join(lines) + "\n"


def _set(name: str, root: Path) -> _Set:
    loaded = patchset.load(name, root)
    members = loaded.about.sets or (name,)
    said = [patchset.about(member, root) for member in members]
    counters = [key for one in said for key in one.counters]
    moving = [key for one in said for key in one.counters if key not in one.standing]
    return _Set(loaded, members, tuple(counters), tuple(moving), root)


def _rows(one: _Set, checks: Checks, cells: Sequence[Found], folder: Path) -> Iterator[str]:
    own = checking.bases_of(one.about.about)
    for base in own:
        played = [cell for cell in cells if _is_of(cell, one, base)]
        found = [_step(one, base, step, checks, len(played)) for step in STEPS]
        yield _row(f"`{one.about.name}`", _source(one, base, checks), *found, _moved(one, played, folder))
    others = [base for base in SUITES if base not in own]
    if others:
        yield _row(f"`{one.about.name}`", ", ".join(others), "not made for them", "", "", "", "")


def _row(*texts: str) -> str:
    return f"| {' | '.join(texts)} |"


def _is_of(cell: Found, one: _Set, base: str) -> bool:
    name, _, other = cell.observation.labels.kernel.partition("@")
    return set(one.members) <= set(name.split("+")) and (other or DEFAULT_BASE) == base


def _step(one: _Set, base: str, step: Step, checks: Checks, played: int) -> str:
    found = checks.get((one.about.name, base))
    if found is not None and found.content != one.content(base):
        return _unchecked("its patches changed since they were checked", step, played)
    check = found.of(step) if found is not None else None
    if check is None:
        return _unchecked("not checked", step, played)
    if step == "counters" and check.ok:
        return f"all {len(one.counters)} there"
    return _said(check)


def _source(one: _Set, base: str, checks: Checks) -> str:
    """The base, and the version of it that was looked at."""
    found = checks.get((one.about.name, base))
    return f"{base} ({safe(found.source.rpartition(' ')[2])})" if found is not None else base


def _unchecked(why: str, step: Step, played: int) -> str:
    """A kernel that was played did build, by itself; the checks ask for more."""
    cells = f"{played} cell{'' if played == 1 else 's'}"
    return f"{why}; {cells} played" if played and step in ("builds", "boots") else why


def _said(check: Check) -> str:
    text = safe(check.says).replace("\n", "<br>")
    return f"**no**: {text}" if check.ok is False else text


def _moved(one: _Set, played: Sequence[Found], folder: Path) -> str:
    """By playbook; what the set is for comes first, and is told of even where there is nothing to tell."""
    by_playbook: dict[str, list[Found]] = {name: [] for name in one.about.about.scenarios}
    for cell in played:
        by_playbook.setdefault(cell.observation.labels.playbook, []).append(cell)
    told = []
    for playbook, cells in by_playbook.items():
        most, highest = _most(cells, one.moving)
        if highest is not None:
            where = f"{safe(playbook)}: {_counts(most)}"
            told.append(
                f"{where} in {_of(_looked(cells, one.moving))} ([the most]({to(highest.path, folder)}))"
            )
        elif playbook in one.about.about.scenarios:
            told.append(f"{safe(playbook)}: {_still(cells, one.moving)}")
    return "; ".join(told) or "no scenario is named"


def _most(cells: Iterable[Found], counters: Sequence[str]) -> tuple[Mapping[str, int], Found | None]:
    """The most of each counter, and the cell in which the first of them that moved was the highest."""
    looked = _looked(cells, counters)
    most = {
        name: max(((cell.counters or {}).get(name, 0) for cell in looked), default=0) for name in counters
    }
    first = next((name for name, count in most.items() if count), None)
    if first is None:
        return most, None
    return most, max(looked, key=lambda cell: (cell.counters or {}).get(first, 0))


def _counts(most: Mapping[str, int]) -> str:
    moved = [f"{safe(name.partition('/')[2])} {count:,}" for name, count in most.items() if count]
    more = f" and {len(moved) - MOST_COUNTERS} more" if len(moved) > MOST_COUNTERS else ""
    return ", ".join(moved[:MOST_COUNTERS]) + more


def _still(cells: Sequence[Found], counters: Sequence[str]) -> str:
    if not cells:
        return "not played"
    looked = _looked(cells, counters)
    return f"**never** in {_of(looked)}" if looked else f"{_of(cells)}, kept without counters"


def _looked(cells: Iterable[Found], counters: Sequence[str]) -> list[Found]:
    """Those that were kept with counters of the set: of none that is there, nobody looked at any."""
    return [cell for cell in cells if set(counters) & set(cell.counters or {})]


def _of(cells: Sequence[Found]) -> str:
    return f"{len(cells)} cell{'' if len(cells) == 1 else 's'}"
