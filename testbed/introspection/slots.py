"""Owns reading which swap slots the memory of a request belongs to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import drgn

from testbed.introspection.reading import Reading, number

OFFSET_BITS = 58
"""include/linux/swapops.h, SWP_TYPE_SHIFT on 64 bits: below the type of a swap entry lies its offset."""


def slots_of(reading: Reading, folios: Iterable[int]) -> tuple[int, ...]:
    """The slots, by their number in their swap area, of those folios that are in the swap cache."""
    found = (reading.get("a folio's swap slot", None, _slot, reading.prog, address) for address in folios)
    return tuple(slot for slot in found if slot is not None)


def _slot(prog: drgn.Program, address: int) -> int | None:
    """include/linux/page-flags.h, folio_test_swapcache(); mm/swap_state.c keeps the entry in `private`."""
    page = drgn.Object(prog, "struct page *", value=address)
    flags = _flags(page)
    if not flags >> number(prog["PG_swapbacked"]) & 1 or not flags >> number(prog["PG_swapcache"]) & 1:
        return None
    return number(page.private) & (1 << OFFSET_BITS) - 1


def _flags(page: Any) -> int:
    """A number, and a structure around it from 6.18 on (include/linux/mm_types.h, memdesc_flags_t)."""
    flags = page.flags
    return number(flags.f if flags.type_.unaliased_kind() == drgn.TypeKind.STRUCT else flags)
