"""What watches a cell from outside: each witness reads numbers that no guest has to send."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

Readings = Mapping[str, Mapping[str, int]]


class Witness(Protocol):
    """Reads its sources: `{"A/memory": {"free_pages": 512}}`. Never waits for a guest.

    `every_ticks`: how many beats of the observer lie between two readings. Raises OSError when the
    thing it reads can not be read.
    """

    @property
    def name(self) -> str: ...

    @property
    def every_ticks(self) -> int: ...

    def read(self) -> Readings: ...
