"""Owns the checks of patch sets for the command line: step by step, and how what was found is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from testbed.cli import inputs
from testbed.errors import MissingCapability, UsageError, nearest
from testbed.kernels import BuiltKernel, checking, composing, patchset, source
from testbed.kernels.checked import Checked
from testbed.kernels.checking import STEPS, Check, Step
from testbed.kernels.composing import Composition
from testbed.model import KernelSpec
from testbed.run import trial


@dataclass(frozen=True, slots=True)
class Row:
    """What was found of a set on one base; a step that was not reached is not there.

    `members` are the sets that it stands for; it is `made` for this base, or not, by its set.toml. `source`
    is the base as it was found.
    """

    name: str
    base: str
    members: tuple[str, ...]
    made: bool = True
    source: str = ""
    checks: tuple[Check, ...] = ()


Note = Callable[[Row], None]
"""Told of a row after each of its steps."""


def steps_until(last: str) -> tuple[Step, ...]:
    for index, step in enumerate(STEPS):
        if step == last:
            return STEPS[: index + 1]
    raise UsageError(f"no step '{last}'", hint=nearest(last, STEPS), where="--until")


def rows(names: Sequence[str], bases: Sequence[str], root: Path) -> list[Row]:
    """What is to be looked at: each set on each of `bases`, or of those that it states. Raises UsageError.

    All is read here, so that what is wrong with one set is said before others take their time.
    """
    found = []
    for name in names:
        about = patchset.about(name, root)
        members = about.sets or (name,)
        for base in bases or checking.bases_of(about):
            found.append(Row(name, base, members, made=patchset.is_for(about, base)))
            for member in members:
                patchset.load(member, root, base)
    if not any(row.made for row in found):
        raise UsageError(
            f"no set is made for {', '.join(bases)}", hint="see 'testbed patches list'", where="--base"
        )
    return found


def look(row: Row, steps: Sequence[Step], root: Path, accelerator: str, note: Note, *, quiet: bool) -> None:
    """Takes a set through the steps until one fails. A fault of the testbed ends it, whatever it was at."""
    if not row.made:
        note(row)
        return
    spec = KernelSpec(base=row.base, sets=row.members)
    with inputs.progress(f"{row.name}@{row.base}", quiet=quiet) as told:

        def found(*checks: Check) -> bool:
            nonlocal row
            row = replace(row, checks=(*row.checks, *checks))
            note(row)
            return bool(checks[-1].ok)

        try:
            origin = source.find(row.base, told)
        except (UsageError, MissingCapability) as error:
            hint = f" ({error.hint})" if error.hint else ""
            found(Check("applies", None, f"this base can not be had: {error}{hint}"))
            return
        row = replace(row, source=f"{origin.package} {origin.version}")
        if not found(checking.applies(row.members, row.base, root=root, progress=told)):
            return
        if "builds" not in steps:
            return
        check, built = checking.builds(spec, root=root, progress=told)
        found(check)
        if built is None or "boots" not in steps:
            return
        failed, kernel = checking.watched(spec, root=root, progress=told)
        if failed is not None:
            found(failed)
        if kernel is not None:
            found(*_boot(spec, kernel, root, accelerator, steps, told))


def _boot(
    spec: KernelSpec,
    built: BuiltKernel,
    root: Path,
    accelerator: str,
    steps: Sequence[Step],
    told: inputs.Told,
) -> list[Check]:
    """Boots the set in the kernel that watches itself."""
    wanted: dict[str, str] = {}
    for member in spec.sets:
        wanted |= patchset.about(member, root).counters
    plan = trial.alone(inputs.idle_plan_of("abc", spec, built.digest, accelerator))
    told("booting with LOCKDEP and DEBUG_ATOMIC_SLEEP", None)
    with TemporaryDirectory(prefix="testbed-trial-") as folder:
        found = trial.boot(plan, built, inputs.build_image(quiet=True), tuple(wanted), Path(folder))
    says = "\n".join(found.reports[: checking.MOST_SHOWN]) or "no report"
    if not found.reports and not found.watched:
        says = "LOCKDEP was off at the end"
    checks = [Check("boots", found.clean, says)]
    if "counters" not in steps:
        return checks
    if not wanted:
        return [*checks, Check("counters", False, "set.toml names none: nobody can see that its code ran")]
    if not found.counters:
        return checks  # it did not come so far
    missing = [name for name, value in found.counters.items() if value is None]
    values = ", ".join(f"{name} = {value}" for name, value in found.counters.items())
    return [
        *checks,
        Check("counters", not missing, f"not there: {', '.join(missing)}" if missing else values),
    ]


def kept(row: Row, root: Path) -> Checked | None:
    """What of a row is to be kept, with the patches and the source that it is of; None if it says nothing."""
    checks = tuple(check for check in row.checks if check.ok is not None)
    if not checks:
        return None
    content = patchset.content([patchset.load(member, root, row.base) for member in row.members])
    day = datetime.now(UTC).date().isoformat()
    return Checked(name=row.name, base=row.base, content=content, source=row.source, day=day, checks=checks)


# --- how it is shown


def row_json(row: Row) -> dict[str, Any]:
    return {
        "set": row.name,
        "base": row.base,
        "checks": {check.step: {"ok": check.ok, "says": check.says} for check in row.checks},
    }


def _cell(row: Row, step: Step) -> Check | None:
    return next((check for check in row.checks if check.step == step), None)


def _mark(cell: Check | None) -> str:
    if cell is None:
        return ""
    return {True: "[green]ok[/]", False: "[red]no[/]", None: "?"}[cell.ok]


def table(rows: Sequence[Row]) -> RenderableType:
    shown = Table("set", "base", *STEPS, box=None)
    words: list[Text] = []
    for row in rows:
        cells = [_cell(row, step) for step in STEPS]
        marks = [_mark(cell) for cell in cells] if row.made else ["not made for it"]
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
