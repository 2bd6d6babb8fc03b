"""Owns the decision that waiting on is useless. It only ends a wait: the judge decides what it means."""

from __future__ import annotations

from testbed.consoles import lines, sign_of

# The kernel stops for good, or has killed the processes whose progress we wait for. Text of a guest's
# userland that looks alike, timestamp and all, only ends the wait early, and the judge, who finds no
# cause, will not call the cell recovered.
FINAL = ("panic", "oom-kill")
TAIL_BYTES = 64 << 10


def ended_for_good(console_tail: bytes) -> bool:
    """Whether the last `TAIL_BYTES` of the subject's console say that nothing more will come."""
    for _, _, line in lines(console_tail[-TAIL_BYTES:]):
        sign = sign_of(line)
        if sign is not None and sign.kind in FINAL:
            return True
    return False
