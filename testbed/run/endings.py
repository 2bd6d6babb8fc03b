"""Owns the decision that waiting on is useless. It only ends a wait: the judge decides what it means."""

from __future__ import annotations

from collections.abc import Callable

from testbed.consoles import lines, sign_of

# The kernel stops for good, or has killed the processes whose progress we wait for. Text of a guest's
# userland that looks alike, timestamp and all, only ends the wait early, and the judge, who finds no
# cause, will not call the cell recovered.
FINAL = ("panic", "oom-kill")
LINE_BYTES = 1000
"""So much of a line is kept until its end is there."""


class Ending:
    """Whether the subject's console says that nothing more will come. `new` yields what is new on it.

    Each byte is looked at once. A line may come in pieces, so the begin of the last one is kept until
    its end is there.
    """

    def __init__(self, new: Callable[[], bytes]) -> None:
        self._new = new
        self._line = b""
        self._came = False

    def came(self) -> bool:
        """Asks for what is new; once yes, it stays so."""
        if not self._came:
            text = self._line + self._new()
            self._came = any(_is_final(line) for _, _, line in lines(text))
            self._line = text[text.rfind(b"\n") + 1 :][:LINE_BYTES]
        return self._came


def _is_final(line: bytes) -> bool:
    sign = sign_of(line)
    return sign is not None and sign.kind in FINAL
