"""Owns drgn's view of a running guest: it reads the file behind the guest's RAM, and the guest goes on."""

from __future__ import annotations

import os
from pathlib import Path

import drgn

from testbed.introspection.ram import BELOW_THE_GAP_BYTES, DIRECT_MAP, GuestMemory, symbol_address

MAX_VMCOREINFO_BYTES = 4096
"""VMCOREINFO_BYTES (include/linux/crash_core.h): one page."""
PLATFORM = drgn.Platform(
    drgn.Architecture.X86_64, drgn.PlatformFlags.IS_64_BIT | drgn.PlatformFlags.IS_LITTLE_ENDIAN
)


def program(fd: int, symbols: Path) -> drgn.Program:
    """The guest whose RAM is the file `fd`, which stays its owner's; `symbols` is its kernel's System.map.

    What is read may change meanwhile: a list can lead nowhere, and two values need not be of one moment.
    Raises OSError where the guest has not come so far that its kernel describes itself.
    """
    memory = GuestMemory(fd)
    size = min(os.fstat(fd).st_size, BELOW_THE_GAP_BYTES)

    def read(address: int, count: int, offset: int, physical: bool) -> bytes:
        return memory.read(offset, count)

    prog = drgn.Program(PLATFORM)
    prog.add_memory_segment(0, size, read, True)
    prog.set_linux_kernel_custom(_vmcoreinfo(memory, symbols), is_live=True)
    return prog


def _vmcoreinfo(memory: GuestMemory, symbols: Path) -> bytes:
    """What the kernel says of itself (crash_save_vmcoreinfo_init)."""
    lines = symbols.read_text().splitlines()
    address, size = (
        memory.u64(symbol_address(lines, name)) for name in ("vmcoreinfo_data", "vmcoreinfo_size")
    )
    if not 0 < size <= MAX_VMCOREINFO_BYTES or address < DIRECT_MAP:
        raise OSError(f"no VMCOREINFO at {address:#x}: the guest has not booted so far")
    return memory.read(address - DIRECT_MAP, size)
