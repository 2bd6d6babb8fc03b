"""Owns the checks of patch sets for the command line: step by step, and how what was found is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from testbed import kernels
from testbed.cli import inputs
from testbed.errors import UsageError, nearest
from testbed.kernels import checking, composing, patchset
from testbed.kernels.checked import Checked
from testbed.kernels.checking import STEPS, Check, Step
from testbed.kernels.composing import Composition
from testbed.model import KernelSpec
from testbed.run import trial


@dataclass(frozen=True, slots=True)
class Row:
    """What was found of a set on one base; a step that was not reached is not there."""

    name: str
    base: str
    checks: tuple[Check, ...]


def steps_until(last: str) -> tuple[Step, ...]:
    for index, step in enumerate(STEPS):
        if step == last:
            return STEPS[: index + 1]
    raise UsageError(f"no step '{last}'", hint=nearest(last, STEPS), where="--until")


def check_set(
    name: str,
    only: Sequence[str] | None,
    steps: Sequence[Step],
    root: Path,
    accelerator: str,
    *,
    quiet: bool,
) -> list[Row]:
    """One set on each base that it states, as far as `only` allows."""
    loaded = patchset.load(name, root)
    members = loaded.about.sets or (name,)
    bases = [base for base in checking.bases_of(loaded) if not only or base in only]
    rows = []
    for base in bases:
        spec = KernelSpec(base=base, sets=members)
        with inputs.progress(f"{name}@{base}", quiet=quiet) as told:
            found = [checking.applies(members, base, root=root, progress=told)]
            if found[0].ok and "builds" in steps:
                check, built = checking.builds(spec, root=root, progress=told)
                found.append(check)
                if built is not None and "boots" in steps:
                    found += _boot(spec, root, accelerator, steps, told)
        rows.append(Row(name, base, tuple(found)))
    return rows


def _boot(
    spec: KernelSpec, root: Path, accelerator: str, steps: Sequence[Step], told: inputs.Told
) -> list[Check]:
    """Boots the set in the kernel that watches itself."""
    wanted: dict[str, str] = {}
    for member in spec.sets:
        wanted |= patchset.about(member, root).counters
    built = kernels.build(spec, root=root, fragments=checking.FRAGMENTS, progress=told)
    plan = trial.alone(inputs.idle_plan_of("abc", spec, built.digest, accelerator))
    told("booting with LOCKDEP and DEBUG_ATOMIC_SLEEP", None)
    with TemporaryDirectory(prefix="testbed-trial-") as folder:
        found = trial.boot(plan, built, inputs.build_image(quiet=True), tuple(wanted), Path(folder))
    says = "\n".join(found.reports[: checking.MOST_SHOWN]) or "no report"
    if not found.reports and not found.watched:
        says = "LOCKDEP was off at the end"
    checks = [Check("boots", found.clean, says)]
    if "counters" in steps:
        missing = [name for name, value in found.counters.items() if value is None]
        values = ", ".join(f"{name} = {value}" for name, value in found.counters.items())
        if not wanted:
            checks.append(Check("counters", False, "set.toml names none: nobody can see that its code ran"))
        else:
            checks.append(
                Check("counters", not missing, f"not there: {', '.join(missing)}" if missing else values)
            )
    return checks


def kept(row: Row, root: Path) -> Checked:
    """A row to keep, with the hash of the patches that it speaks of."""
    members = patchset.about(row.name, root).sets or (row.name,)
    content = patchset.content([patchset.load(member, root, row.base) for member in members])
    day = datetime.now(UTC).date().isoformat()
    return Checked(name=row.name, base=row.base, content=content, day=day, checks=row.checks)


# --- how it is shown


def row_json(row: Row) -> dict[str, Any]:
    return {
        "set": row.name,
        "base": row.base,
        "checks": {check.step: {"ok": check.ok, "says": check.says} for check in row.checks},
    }


def _cell(row: Row, step: Step) -> Check | None:
    return next((check for check in row.checks if check.step == step), None)


def table(rows: Sequence[Row]) -> RenderableType:
    shown = Table("set", "base", *STEPS, box=None)
    words: list[Text] = []
    for row in rows:
        cells = [_cell(row, step) for step in STEPS]
        marks = ["" if cell is None else "[green]ok[/]" if cell.ok else "[red]no[/]" for cell in cells]
        shown.add_row(escape(row.name), row.base, *marks)
        words += [
            Text(f"{row.name}@{row.base} {cell.step}: {cell.says}") for cell in cells if cell is not None
        ]
    return Group(shown, *words)


def composition(found: Composition, base: str) -> RenderableType:
    lines = [f"{len(found.sets)} sets on {base}, in this order:"]
    lines += [f"  {one.name} ({len(one.patches)})" for one in found.sets]
    lines += [f"{file} is touched by {' and '.join(names)}" for file, names in found.shared.items()]
    if not found.conflicts:
        lines.append("all patches go in, without fuzz")
    lines += [composing.words(conflict) for conflict in found.conflicts]
    if found.untried:
        lines.append(f"{found.untried} patches after it were not tried")
    return Text("\n".join(lines))


def composition_json(found: Composition, base: str) -> dict[str, Any]:
    return {
        "base": base,
        "sets": [one.name for one in found.sets],
        "shared": {file: list(names) for file, names in found.shared.items()},
        "conflicts": [
            {
                "patch": one.patch,
                "file": one.file,
                "hunk": one.hunk,
                "where": one.where,
                "says": one.says,
                "because_of": one.because_of,
            }
            for one in found.conflicts
        ],
        "untried": found.untried,
    }
