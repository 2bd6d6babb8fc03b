"""Owns what a sign is: how the first line of one kind of kernel report is known, and what it tells.

`source` names file and function of Linux 6.1 that prints it; where another version words it differently,
the row says so. `shape` must match at the beginning of the message, the text after the timestamp; a
console that was cut off may end within it, so what follows the telling words stands in `facts`, whose
named groups are fields of `report.Facts`. `starts` (a beginning) or `holds` (a part) are literals
without which the shape cannot match: most lines are told apart by them alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

TASK = r"(?P<task>.{1,40}?)"
GFP = r"(?P<mode>0x[0-9a-f]{1,8}\([^)]{0,200}\))"
ADDRESS = r"(?:0x)?(?P<address>[0-9a-f]{4,16})"
FUNCTION = r"(?P<function>[\w.]{1,120})\+0x"
WHERE = r"(?P<where>[\w./-]{1,200}:\d{1,6})"
DEVICE = r"(?P<device>[\w!.-]{1,32})"


@dataclass(frozen=True, slots=True)
class Sign:
    """A kind of report: its name in words, and how its first line is known."""

    kind: str
    words: str
    source: str
    starts: tuple[str, ...] = ()
    holds: str = ""
    shape: str = ""
    facts: str = ""
    known: re.Pattern[str] = field(init=False, repr=False, compare=False)
    told: re.Pattern[str] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        shape = self.shape or "|".join(map(re.escape, self.starts))
        object.__setattr__(self, "known", re.compile(shape))
        object.__setattr__(self, "told", re.compile(self.facts) if self.facts else None)
