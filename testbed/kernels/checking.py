"""Owns the checks of a patch set that need no guest: does it apply, and build without new warnings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from testbed.errors import BuildError
from testbed.kernels import builder, composing, patchset
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


def bases_of(loaded: patchset.PatchSet) -> tuple[str, ...]:
    """The known series that a set is made for."""
    return tuple(
        base for base in SUITES if any(patchset.is_made_for(prefix, base) for prefix in loaded.about.bases)
    )


def applies(names: Sequence[str], base: str, *, root: Path = PATCHES, progress: Progress = silent) -> Check:
    """Do the patches go in, without fuzz?"""
    sets = [patchset.load(name, root, base) for name in names]
    found = composing.compose(sets, base, progress)
    if not found.conflicts:
        count = sum(len(each.patches) for each in found.sets)
        return Check("applies", True, f"{count} patch{'' if count == 1 else 'es'}, no fuzz")
    return Check("applies", False, "\n".join(map(composing.words, found.conflicts[:MOST_SHOWN])))


def builds(
    spec: KernelSpec, *, root: Path = PATCHES, progress: Progress = silent
) -> tuple[Check, BuiltKernel | None]:
    """Does it compile, and without a warning that its base does not have?"""
    stock = builder.build(spec.model_copy(update={"sets": ()}), root=root, progress=progress)
    try:
        built = builder.build(spec, root=root, progress=progress)
    except BuildError as error:
        return Check("builds", False, str(error)), None
    record = _record(built)
    new = new_warnings(record.warnings, _record(stock).warnings)
    if new:
        more = f"\nand {len(new) - MOST_SHOWN} more" if len(new) > MOST_SHOWN else ""
        return Check("builds", False, "new warnings:\n" + "\n".join(new[:MOST_SHOWN]) + more), built
    return Check("builds", True, f"{record.objects} objects, {record.seconds:.0f} s, no new warning"), built


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
