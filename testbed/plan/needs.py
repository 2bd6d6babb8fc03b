"""Owns the question whether a kernel has the patch sets without which a playbook can not be played on it.

Their files and prctls are not there on others: a word could not be written, a daemon would not start.
"""

from __future__ import annotations

from testbed.errors import UsageError
from testbed.kernels import composing, given
from testbed.kernels.naming import PATCHES
from testbed.model import KernelSpec
from testbed.plan.playbook import PlaybookFile


def sets_needed(file: PlaybookFile, variant: str) -> tuple[str, ...]:
    """Their names; a composition stands for its sets. Raises UsageError for a variant that there is not."""
    return composing.expand(
        [(True, name) for name in file.needs(variant)], PATCHES, file.where_needs(variant)
    )


def check_needs(file: PlaybookFile, variant: str, spec: KernelSpec) -> None:
    """Refuses a kernel that is known not to have them: ours on a base of Debian's, or Debian's own.

    A base that somebody gave may have anything. Raises UsageError.
    """
    missing = [name for name in sets_needed(file, variant) if name not in spec.sets]
    if not missing or given.is_given(spec.base):
        return
    what = f"variant '{variant}'" if file.variant(variant) else f"'{file.name}'"
    them = "it" if len(missing) == 1 else "them"
    raise UsageError(
        f"{what} can not be played on '{spec.name}', which has not {', '.join(missing)}",
        hint=f"play it on a kernel with {them}, as --kernel {'+'.join(missing)}"
        + (", or leave the variant out" if file.variant(variant) else ""),
        where=file.where_needs(variant),
    )
