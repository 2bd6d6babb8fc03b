"""Owns the decision that waiting on is useless. It only ends a wait: the judge decides what it means."""

from __future__ import annotations

import re
from collections.abc import Callable

# The kernel stops for good, or has killed the processes whose progress we wait for. The timestamp is
# the kernel's: text of a guest's userland that looks alike only ends the wait early, and the judge,
# who finds no cause, will not call the cell recovered.
_FINAL = re.compile(
    rb"^\[ {0,5}\d{1,7}\.\d{6}\][^\n]{0,40}"
    rb"(?:Kernel panic - not syncing|Out of memory: Killed process|---\[ end Kernel panic)",
    re.MULTILINE,
)
LINE_BYTES = 128
"""So much of a line decides: no match is as long."""


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
            self._came = _FINAL.search(text) is not None
            self._line = text[text.rfind(b"\n") + 1 :][:LINE_BYTES]
        return self._came
