"""Owns what kernels are called: `SET[+SET...][@BASE]`, `stock` or `debian`, from a user's words to a spec."""

from __future__ import annotations

from pathlib import Path

from testbed.errors import UsageError, nearest
from testbed.kernels import patchset, source, workspace
from testbed.kernels.progress import Progress, silent
from testbed.model import KernelSpec

DEFAULT_BASE = "6.1"
PATCHES = workspace.PACKAGE_ROOT / "kernel-patches"


def names(root: Path = PATCHES) -> tuple[str, ...]:
    """All that may stand before the `@` of a kernel's name."""
    return ("debian", "stock", *patchset.known(root))


def resolve(name: str, root: Path = PATCHES, progress: Progress = silent) -> KernelSpec:
    """`SET[+SET...][@BASE]`, `stock`, or `debian`. Raises UsageError with the nearest right name.

    BASE is a series, as 6.12, or what `source.named` takes; a spec never holds a path.
    """
    wanted, _, base = name.partition("@")
    parts = tuple(wanted.split("+"))
    for part in parts:
        if part not in names(root):
            raise UsageError(f"no kernel '{part}'", hint=nearest(part, names(root)), where=name)
    if "debian" in parts:
        if name != "debian":
            raise UsageError(
                "a prebuilt kernel takes no patches and no base", hint="write 'debian'", where=name
            )
        return KernelSpec(base="debian", prebuilt=True)
    base = source.named(base, progress) if base else DEFAULT_BASE
    sets = tuple(part for part in parts if part != "stock")
    patchset.check_together([patchset.load(each, root, base) for each in sets], base)
    return KernelSpec(base=base, sets=sets)
