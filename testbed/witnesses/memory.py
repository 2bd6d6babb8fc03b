"""Owns the counters that are read from a guest's RAM: the kernel's own, with no help of the guest."""

from __future__ import annotations

from dataclasses import dataclass

from testbed.introspection.ram import GuestMemory
from testbed.witnesses import Readings

FREE_PAGES_SYMBOL = "vm_zone_stat"
"""The array of zone counters (mm/vmstat.c); NR_FREE_PAGES is its index 0 (include/linux/mmzone.h)."""


@dataclass(frozen=True)
class FreePages:
    """`A/memory.free_pages`: free pages of all zones, less what the CPUs have not yet added up.

    `address` is that of FREE_PAGES_SYMBOL.
    """

    machine: str
    memory: GuestMemory
    address: int
    every_ticks: int = 1

    @property
    def name(self) -> str:
        return f"{self.machine}/memory"

    def read(self) -> Readings:
        # atomic_long_t: readers of it take less than 0 for 0 (include/linux/vmstat.h, zone_page_state)
        pages = self.memory.u64(self.address)
        return {self.name: {"free_pages": pages if pages < 1 << 63 else 0}}
