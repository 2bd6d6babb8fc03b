"""Owns access to the file behind a guest's RAM, and where the symbols of its kernel are in it."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from testbed.errors import TestbedFault

KERNEL_MAP = 0xFFFF_FFFF_8000_0000
"""__START_KERNEL_map (arch/x86/include/asm/page_64_types.h): physical address 0, without KASLR."""
KERNEL_IMAGE_BYTES = 1 << 30
BELOW_THE_GAP_BYTES = 3 << 30
"""Machine `pc` (hw/i386/pc_piix.c) moves what lies above to 4 GiB; below, address and offset are one."""
DIRECT_MAP = 0xFFFF_8880_0000_0000
"""__PAGE_OFFSET_BASE_L4 (arch/x86/include/asm/page_64_types.h): physical address 0, without KASLR."""


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
        value: int = struct.unpack("<Q", self.read(offset, 8))[0]
        return value

    def read(self, physical: int, count: int) -> bytes:
        """Raises OSError if it is not in memory."""
        data = os.pread(self.fd, count, physical) if physical < BELOW_THE_GAP_BYTES else b""
        if len(data) != count:
            raise OSError(f"{physical:#x} lies beyond the guest's memory")
        return data
