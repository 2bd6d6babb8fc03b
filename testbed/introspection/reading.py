"""Owns the careful reading of a dump: what fails is noted and left out, never fatal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

import drgn

from testbed.printable import printable

T = TypeVar("T")

FAILURES = (LookupError, AttributeError, ValueError, TypeError, ArithmeticError, RecursionError, OSError)
"""What drgn raises for a symbol, member, value or address that this kernel, or this guest, does not have.

drgn.FaultError and drgn.ObjectAbsentError are ours to add: they are no builtin's children.
"""
UNREADABLE = (*FAILURES, drgn.FaultError, drgn.ObjectAbsentError)
MAX_NOTES = 200
MOST = 4000
"""Of a list in the guest. Mostly there are some dozens of anything, but swap over NFS had 1,068 requests on
their way in 96 MiB: only memory bounds them, and 65,536 slots (6.1, net/sunrpc/xprtsock.c,
xprt_max_tcp_slot_table_entries). No proof is made of a look that leaves something out."""


@dataclass
class Reading:
    """A program under drgn, and what could not be read of it."""

    prog: drgn.Program
    missing: dict[str, str] = field(default_factory=dict)

    def get(self, what: str, default: T, read: Callable[..., T], *arguments: Any) -> T:
        """What `read(*arguments)` finds, or `default` and a note under `what`."""
        try:
            return read(*arguments)
        except UNREADABLE as error:
            self.note(what, error)
            return default

    def has(self, symbol: str) -> bool:
        """Whether the kernel has it. One configured without has nothing there to look at."""
        try:
            self.prog.symbol(symbol)
        except UNREADABLE:
            return False
        return True

    def note(self, what: str, error: Exception) -> None:
        if len(self.missing) < MAX_NOTES:
            self.missing.setdefault(what, f"{type(error).__name__}: {error}"[:160])

    def each(
        self, what: str, items: Callable[..., Iterable[Any]], *arguments: Any, most: int = MOST
    ) -> Iterator[Any]:
        """The items of a list in the guest, up to `most`; a broken list ends where it breaks.

        What is left out is noted.
        """
        try:
            rest = iter(items(*arguments))
            yield from islice(rest, most)
            if next(rest, None) is not None:
                self._left_out(what, most)
        except UNREADABLE as error:
            self.note(what, error)

    def bounded(self, what: str, found: Sequence[T]) -> tuple[T, ...]:
        """What several lists in the guest come to, up to MOST; what is left out is noted."""
        if len(found) > MOST:
            self._left_out(what, MOST)
        return tuple(found[:MOST])

    def _left_out(self, what: str, most: int) -> None:
        self.note(what, ValueError(f"more than {most}, the rest is left out"))

    def notes(self) -> tuple[str, ...]:
        return tuple(f"{what}: {why}"[:256] for what, why in self.missing.items())


def number(value: Any) -> int:
    """A drgn object, or what a helper of drgn made of one, as a plain number."""
    return value if isinstance(value, int) else int(value.value_())


def ipv4(address: Any) -> str:
    """An address as the guest, which is little-endian, keeps it: its first byte is the lowest."""
    raw = number(address)
    return ".".join(str(raw >> shift & 0xFF) for shift in (0, 8, 16, 24))


def text(value: Any) -> str:
    """A C string of the guest, safe to show."""
    return printable(value.string_()[:64].decode(errors="replace"))
