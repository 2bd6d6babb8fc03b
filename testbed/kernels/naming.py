"""Owns what kernels are called: `SET[+SET...][@BASE]`, `stock` or `debian`, from a user's words to a spec."""

from __future__ import annotations

from pathlib import Path

from testbed.errors import UsageError
from testbed.kernels import composing, patchset, source
from testbed.kernels.progress import Progress, silent
from testbed.model import DEFAULT_BASE, KernelSpec
from testbed.paths import PROJECT

PATCHES = PROJECT / "kernel-patches"


def names(root: Path = PATCHES) -> tuple[str, ...]:
    """All that may stand before the `@` of a kernel's name."""
    return ("debian", "stock", *patchset.known(root))


def resolve(name: str, root: Path = PATCHES, progress: Progress = silent) -> KernelSpec:
    """`SET[+SET...][-SET...][@BASE]`, `stock`, or `debian`. Raises UsageError with the nearest right name.

    A composition stands for its sets, and `-SET` takes one out. BASE is a series, as 6.12, or what
    `source.named` takes; a spec never holds a path.
    """
    wanted, _, base = name.partition("@")
    terms = composing.parse(wanted, names(root))
    if any(term == "debian" for _, term in terms):
        if name != "debian":
            raise UsageError(
                "a prebuilt kernel takes no patches and no base", hint="write 'debian'", where=name
            )
        return KernelSpec(base="debian", prebuilt=True)
    base = source.named(base, progress) if base else DEFAULT_BASE
    sets = composing.expand(terms, root, name)
    patchset.check_together([patchset.load(each, root, base) for each in sets], base)
    return KernelSpec(base=base, sets=sets)
