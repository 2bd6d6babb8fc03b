"""A kernel's ELF out of its bzImage: only one that can be booted as it is."""

from __future__ import annotations

import lzma
import struct

from testbed.kernels.unpack import bootable_elf

NOTE = struct.pack("<III", 4, 4, 18) + b"Xen\0" + bytes(4)


def test_an_elf_with_a_pvh_entry_is_taken_out() -> None:
    elf = b"\x7fELF" + bytes(100) + NOTE
    assert bootable_elf(b"MZ setup code " + lzma.compress(elf) + b" and more behind") == elf


def test_what_can_not_be_booted_as_it_is_stays_packed() -> None:
    assert bootable_elf(b"MZ no xz in here") is None
    assert bootable_elf(b"MZ" + lzma.compress(b"\x7fELF without the note")) is None
    assert bootable_elf(b"MZ" + lzma.compress(b"no ELF" + NOTE)) is None
    assert bootable_elf(b"MZ" + lzma.compress(b"\x7fELF" + NOTE)[:20]) is None
