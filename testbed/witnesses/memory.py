"""Owns the reading of a guest's memory from its host: what the kernel itself stores, with no guest's help."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from testbed.errors import TestbedFault
from testbed.witnesses import Readings

KERNEL_MAP = 0xFFFF_FFFF_8000_0000
"""__START_KERNEL_map (arch/x86/include/asm/page_64_types.h): physical address 0, without KASLR."""
KERNEL_IMAGE_BYTES = 1 << 30
BELOW_THE_GAP_BYTES = 3 << 30
"""Machine `pc` (hw/i386/pc_piix.c) moves what lies above to 4 GiB; below, address and offset are one."""
FREE_PAGES_SYMBOL = "vm_zone_stat"
"""The array of zone counters (mm/vmstat.c); NR_FREE_PAGES is its index 0 (include/linux/mmzone.h)."""


def symbol_address(lines: Iterable[str], name: str) -> int:
    """A symbol's address from the lines of System.map or /proc/kallsyms. Raises TestbedFault."""
    for line in lines:
        words = line.split()
        if len(words) >= 3 and words[2] == name:
            address = int(words[0], 16)
            if not KERNEL_MAP <= address < KERNEL_MAP + KERNEL_IMAGE_BYTES:
                raise TestbedFault(
                    f"'{name}' is said to be at {address:#x}", hint="kptr_restrict hides it, or KASLR is on"
                )
            return address
    raise TestbedFault(f"the kernel has no symbol '{name}'", hint="CONFIG_KALLSYMS_ALL must be set")


@dataclass(frozen=True)
class GuestMemory:
    """A guest's memory by the file behind it. `fd` stays its owner's."""

    fd: int

    def u64(self, virtual: int) -> int:
        """The word at an address in the kernel's image. Raises OSError if it is not in memory."""
        offset = virtual - KERNEL_MAP
        if not 0 <= offset < min(KERNEL_IMAGE_BYTES, BELOW_THE_GAP_BYTES):
            raise OSError(f"{virtual:#x} is not in the kernel's image")
        data = os.pread(self.fd, 8, offset)
        if len(data) != 8:
            raise OSError(f"{virtual:#x} lies beyond the guest's memory")
        value: int = struct.unpack("<Q", data)[0]
        return value


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
