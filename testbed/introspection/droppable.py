"""Owns counting the pages of swap's cache that whoever reclaims may drop at once: their slot has the same.

Neither the page's own flags nor any page table may say that it was written to since. The counters know
nothing of this (NR_SWAPCACHE has the dirty and the busy ones in it), so every page is looked at.
"""

from __future__ import annotations

import array
from collections.abc import Iterator
from typing import Any

import drgn
from drgn.helpers.linux.mm import pfn_to_page, virt_to_phys
from drgn.helpers.linux.mmzone import for_each_online_pgdat
from drgn.helpers.linux.pid import for_each_task

from testbed.introspection.reading import Reading, number
from testbed.units import PAGE_BYTES

WORD_BYTES = 8
MAPPING_WORD = 3
"""include/linux/mm_types.h, 5.10 to 7.3: `flags`, two words of `lru`, then `mapping`."""
MAPPING_ANON = 1
"""include/linux/page-flags.h, PAGE_MAPPING_ANON, later FOLIO_MAPPING_ANON."""
PRESENT, DIRTY, HUGE = 1 << 0, 1 << 6, 1 << 7
FRAME = 0x000F_FFFF_FFFF_F000
"""arch/x86/include/asm/pgtable_types.h: what an entry of a page table says, with four levels of them."""
USER_ENTRIES = 256
"""Of the highest level: the lower half of all addresses."""
AT_ONCE = 4096
MOST_PAGES = 1 << 22
CACHED = ("PG_swapcache", "PG_swapbacked", "PG_lru")
BUSY = ("PG_dirty", "PG_writeback", "PG_locked", "PG_unevictable")


def droppable(reading: Reading) -> int | None:
    """Pages of swap's cache that are as clean as their slot, and idle; None if it could not be read."""
    clean = reading.get("pages of the swap cache", None, _clean_by_flags, reading.prog)
    if not clean:
        return 0 if clean is not None else None
    written = reading.get("page tables", None, _written, reading)
    return None if written is None else len(clean - written)


def _clean_by_flags(prog: drgn.Program) -> frozenset[int]:
    """Page frame numbers, by what include/linux/page-flags.h has in each page's first word."""
    bits = {item.name: item.value for item in prog.type("enum pageflags").enumerators or ()}
    cached, busy = (sum(1 << bits[name] for name in names) for names in (CACHED, BUSY))
    words = drgn.sizeof(prog.type("struct page")) // WORD_BYTES
    found = set()
    for first, pages in _pages(prog, words):
        for index in range(0, len(pages), words):
            flags, mapping = pages[index], pages[index + MAPPING_WORD]
            if flags & cached == cached and not flags & busy and mapping & MAPPING_ANON:
                found.add(first + index // words)
    return frozenset(found)


def _pages(prog: drgn.Program, words: int) -> Iterator[tuple[int, Any]]:
    """The `struct page`s of all memory, some at a time; where there is a hole in it there are none."""
    for node in for_each_online_pgdat(prog):
        start, count = number(node.node_start_pfn), number(node.node_spanned_pages)
        if count > MOST_PAGES:
            raise ValueError(f"more than {MOST_PAGES} pages")
        for first in range(start, start + count, AT_ONCE):
            size = min(AT_ONCE, start + count - first) * words * WORD_BYTES
            try:
                yield first, array.array("Q", prog.read(number(pfn_to_page(prog, first)), size))
            except drgn.FaultError:
                continue


def _written(reading: Reading) -> frozenset[int]:
    """Page frame numbers that a process's page table has as written to."""
    prog = reading.prog
    spaces = {number(task.mm): task.mm for task in reading.each("tasks", for_each_task, prog) if task.mm}
    found = set()
    for space in spaces.values():
        tops = _table(prog, number(virt_to_phys(space.pgd)))[:USER_ENTRIES]
        for table in _tables(prog, tops, levels=3):
            found |= {(entry & FRAME) // PAGE_BYTES for entry in table if entry & PRESENT and entry & DIRTY}
    return frozenset(found)


def _tables(prog: drgn.Program, entries: Any, levels: int) -> Iterator[Any]:
    """The lowest tables below these entries. A huge page has none: it is not in swap's cache."""
    for entry in entries:
        if entry & PRESENT and not entry & HUGE:
            table = _table(prog, entry & FRAME)
            if levels == 1:
                yield table
            else:
                yield from _tables(prog, table, levels - 1)


def _table(prog: drgn.Program, address: int) -> Any:
    return array.array("Q", prog.read(address, PAGE_BYTES, True))
