"""Owns the word for cells of what never was: a kernel that plays a year, over a transport that is younger."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from testbed.kernels import patchset
from testbed.kernels.naming import PATCHES
from testbed.model import Labels


def counterfactual(labels: Labels, root: Path = PATCHES) -> tuple[str, ...]:
    """Why a cell is none of the history that its patch sets play, a sentence each; mostly empty."""
    return _said(labels.kernel.partition("@")[0], labels.transport, root)


@cache
def _said(kernel: str, transport: str, root: Path) -> tuple[str, ...]:
    """What the sets say of a transport; of a set that is gone nothing is known."""
    there = patchset.known(root)
    told = ((each, patchset.about(each, root).counterfactual) for each in kernel.split("+") if each in there)
    return tuple(f"{each} over {transport}: {says[transport]}" for each, says in told if transport in says)
