"""Owns the decision that waiting on is useless. It only ends a wait: the judge decides what it means."""

from __future__ import annotations

import re

# The kernel stops for good, or has killed the processes whose progress we wait for. The timestamp is
# the kernel's: text of a guest's userland that looks alike only ends the wait early, and the judge,
# who finds no cause, will not call the cell recovered.
_FINAL = re.compile(
    rb"^\[ *\d+\.\d+\][^\n]{0,40}"
    rb"(?:Kernel panic - not syncing|Out of memory: Killed process|---\[ end Kernel panic)",
    re.MULTILINE,
)
TAIL_BYTES = 64 << 10


def ended_for_good(console_tail: bytes) -> bool:
    """Whether the last `TAIL_BYTES` of the subject's console say that nothing more will come."""
    return _FINAL.search(console_tail[-TAIL_BYTES:]) is not None
