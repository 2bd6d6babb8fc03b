"""Owns taking a kernel's ELF out of its bzImage, so that the guest need not unpack it under emulation."""

from __future__ import annotations

import lzma
import re
import struct

XZ = b"\xfd7zXZ\x00"
MAX_BYTES = 512 << 20
PHYS32_ENTRY = 18
"""XEN_ELFNOTE_PHYS32_ENTRY (include/xen/interface/elfnote.h): where an ELF is entered by PVH."""
_NOTE = re.compile(
    b"|".join(re.escape(struct.pack("<III", 4, size, PHYS32_ENTRY) + b"Xen\0") for size in (4, 8))
)


def bootable_elf(bzimage: bytes) -> bytes | None:
    """The ELF inside, if it is packed by xz and can be booted as it is (CONFIG_PVH); None otherwise."""
    start = bzimage.find(XZ)
    if start < 0:
        return None
    try:
        found = lzma.LZMADecompressor().decompress(bzimage[start:], MAX_BYTES)
    except lzma.LZMAError:
        return None
    return found if found.startswith(b"\x7fELF") and _NOTE.search(found) else None
