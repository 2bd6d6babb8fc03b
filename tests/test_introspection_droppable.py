"""Which pages of swap's cache may be dropped at once, as flags and page tables have it."""

from __future__ import annotations

import array
from types import SimpleNamespace
from typing import Any

from testbed.introspection import droppable
from testbed.units import PAGE_BYTES

FLAGS = {"PG_locked": 0, "PG_dirty": 4, "PG_lru": 5, "PG_writeback": 12, "PG_swapcache": 10,
         "PG_swapbacked": 19, "PG_unevictable": 20}  # fmt: skip
IN_CACHE = 1 << 5 | 1 << 10 | 1 << 19


class Memory:
    """Physical memory by page, and the words of `struct page`s."""

    def __init__(self, tables: dict[int, dict[int, int]]) -> None:
        self.tables = tables

    def read(self, address: int, size: int, physical: bool = False) -> bytes:
        assert physical and size == PAGE_BYTES
        words = array.array("Q", [0]) * 512
        for index, entry in self.tables[address].items():
            words[index] = entry
        return words.tobytes()


def lowest(memory: Memory, top: int) -> list[list[int]]:
    entries = droppable._table(memory, top)
    return [[entry for entry in table if entry] for table in droppable._tables(memory, entries, levels=3)]  # type: ignore[arg-type]


def test_page_tables_are_walked_to_the_lowest_and_huge_pages_left_out() -> None:
    memory = Memory({
        0x1000: {0: 0x2000 | 1, 7: 0x9000},  # the second is not present
        0x2000: {1: 0x3000 | 1, 2: 0x8000 | 1 | droppable.HUGE},
        0x3000: {5: 0x4000 | 1, 6: 0x200000 | 1 | droppable.HUGE},
        0x4000: {8: 0x77000 | 1 | droppable.DIRTY, 9: 0x78000 | 1},
    })  # fmt: skip
    assert lowest(memory, 0x1000) == [[0x77041, 0x78001]]


def test_what_is_dirty_busy_or_of_a_file_is_not_clean(monkeypatch: Any) -> None:
    words = 8
    kinds = [
        (IN_CACHE, 1),  # clean
        (IN_CACHE | 1 << 4, 1),  # dirty
        (IN_CACHE | 1 << 12, 1),  # on its way out
        (IN_CACHE | 1 << 0, 1),  # locked
        (IN_CACHE | 1 << 20, 1),  # never reclaimed
        (IN_CACHE & ~(1 << 10), 1),  # not in the cache: its bit means something else to files
        (IN_CACHE, 0),  # a file's
    ]
    pages = array.array("Q", [0]) * (words * len(kinds))
    for index, (flags, mapping) in enumerate(kinds):
        pages[index * words], pages[index * words + droppable.MAPPING_WORD] = flags, mapping
    monkeypatch.setattr(droppable, "_pages", lambda prog, words: [(100, pages)])
    monkeypatch.setattr(droppable.drgn, "sizeof", lambda kind: words * droppable.WORD_BYTES)
    enumerators = [SimpleNamespace(name=name, value=value) for name, value in FLAGS.items()]
    prog: Any = SimpleNamespace(type=lambda name: SimpleNamespace(enumerators=enumerators))
    assert droppable._clean_by_flags(prog) == {100}
