"""Owns the checks of a patch set that need no guest: does it apply, and build without new warnings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from testbed.errors import BuildError
from testbed.kernels import builder, compile, composing, patchset
from testbed.kernels.naming import PATCHES
from testbed.kernels.progress import Progress, silent
from testbed.kernels.record import BuiltKernel, KernelRecord
from testbed.kernels.source import SUITES
from testbed.model import KernelSpec

CHECKING = Path(__file__).with_name("checking.config")
FRAGMENTS = (builder.FRAGMENT, CHECKING)
"""Of the kernel that watches itself."""
MOST_SHOWN = 5
Step = Literal["applies", "builds", "boots", "counters"]
STEPS: tuple[Step, ...] = ("applies", "builds", "boots", "counters")
_PLACE = re.compile(r":\d+(?::\d+)?: ")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: `ok` is None where it could not be looked at; `says` tells what was found."""

    step: Step
    ok: bool | None
    says: str


def bases_of(about: patchset.SetFile) -> tuple[str, ...]:
    """The known series that a set is made for, and what it states besides: nobody knows where that is."""
    series = [base for base in SUITES if patchset.is_for(about, base)]
    others = [one for one in about.bases if not any(patchset.is_made_for(one, base) for base in SUITES)]
    return (*series, *others)


def applies(names: Sequence[str], base: str, *, root: Path = PATCHES, progress: Progress = silent) -> Check:
    """Do the patches go in, without fuzz?"""
    sets = [patchset.load(name, root, base) for name in names]
    empty = [f"'{each.name}' has no patches" for each in sets if not each.patches]
    if empty:
        return Check("applies", False, "; ".join(empty))
    found = composing.compose(sets, base, progress)
    if not found.conflicts:
        count = sum(len(each.patches) for each in found.sets)
        return Check("applies", True, f"{count} patch{'' if count == 1 else 'es'}, no fuzz")
    return Check("applies", False, "\n".join(map(composing.words, found.conflicts[:MOST_SHOWN])))


def builds(
    spec: KernelSpec, *, root: Path = PATCHES, progress: Progress = silent
) -> tuple[Check, BuiltKernel | None]:
    """Does it compile, and without a warning that its base does not have?"""
    try:
        stock = builder.build(spec.model_copy(update={"sets": ()}), root=root, progress=progress)
    except BuildError as error:
        return Check("builds", None, f"its base alone does not build: {error}"), None
    try:
        built = builder.build(spec, root=root, progress=progress)
    except BuildError as error:
        return Check("builds", False, str(error)), None
    record = _record(built)
    new = new_warnings(record.warnings, _record(stock).warnings)
    if new:
        more = f"\nand {len(new) - MOST_SHOWN} more" if len(new) > MOST_SHOWN else ""
        return Check("builds", False, "new warnings:\n" + "\n".join(new[:MOST_SHOWN]) + more), built
    says = f"{record.objects} objects, {record.seconds:.0f} s, no new warning"
    sets = [patchset.load(name, root, spec.base) for name in spec.sets]
    return Check("builds", True, says + _uncompiled(sets, built)), built


def _uncompiled(sets: Sequence[patchset.PatchSet], built: BuiltKernel) -> str:
    """Which touched files gave no object: the configuration leaves them out, or others include them."""
    made = compile.objects((built.folder / "build.log").read_text(errors="replace"))
    touched = {name for each in sets for patch in each.patches for name in patch.touches}
    missing = sorted(name for name in touched if name.endswith(".c") and f"{name[:-2]}.o" not in made)
    if not missing:
        return ""
    what = "1 touched file gives" if len(missing) == 1 else f"{len(missing)} touched files give"
    more = f" and {len(missing) - MOST_SHOWN} more" if len(missing) > MOST_SHOWN else ""
    return f"; {what} no object here: {', '.join(missing[:MOST_SHOWN])}{more}"


def watched(
    spec: KernelSpec, *, root: Path = PATCHES, progress: Progress = silent
) -> tuple[Check | None, BuiltKernel | None]:
    """The kernel that watches itself; or why it can not be booted, since there is none."""
    try:
        builder.base_tree(spec, root=root, fragments=FRAGMENTS, progress=progress)
    except BuildError as error:
        return Check("boots", None, f"its base alone does not build with LOCKDEP: {error}"), None
    try:
        return None, builder.build(spec, root=root, fragments=FRAGMENTS, progress=progress)
    except BuildError as error:
        return Check("boots", False, f"does not build with LOCKDEP: {error}"), None


def _record(built: BuiltKernel) -> KernelRecord:
    return KernelRecord.model_validate_json((built.folder / "kernel.json").read_text())


def new_warnings(ours: Sequence[str], bases: Sequence[str]) -> list[str]:
    """Those that the base's own build did not have. A patch moves lines, so their numbers do not count."""
    known = [_PLACE.sub(": ", line, count=1) for line in bases]
    new = []
    for line in ours:
        plain = _PLACE.sub(": ", line, count=1)
        if plain in known:
            known.remove(plain)
        else:
            new.append(line)
    return new
