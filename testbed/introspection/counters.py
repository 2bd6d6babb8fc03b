"""Owns reading the counters that a patch set adds: read-only numbers in folders of debugfs.

A set shows that its code path was taken by `debugfs_create_atomic_t(NAME, 0444, DIR, &counter)` or its
kin (kernel-patches/README.md). Such a file's inode points at the number.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from typing import Any

import drgn
from drgn import container_of
from drgn.helpers.linux.list import hlist_for_each_entry, list_for_each_entry

from testbed.introspection.reading import UNREADABLE, Reading, number, text

TYPES = {
    "fops_atomic_t_ro": "int",
    "fops_u32_ro": "unsigned int",
    "fops_u64_ro": "unsigned long long",
    "fops_ulong_ro": "unsigned long",
}
"""Operations of a read-only file (fs/debugfs/file.c), and what its inode points at."""
REAL_OPERATIONS = 1
"""DEBUGFS_FSDATA_IS_REAL_FOPS_BIT (fs/debugfs/internal.h): not opened yet, d_fsdata is the operations."""
MOST = 256


def read_counters(reading: Reading) -> dict[str, int]:
    """`SET/COUNTER` and `SET/PART/COUNTER`: every read-only number one or two levels below debugfs's root."""
    types = {}
    for name, kind in TYPES.items():
        address = reading.get(name, 0, lambda name: number(reading.prog[name].address_of_()), name)
        if address:
            types[address] = kind
    found: dict[str, int] = {}
    for path, file in _files(reading):
        try:
            kind = types.get(_operations(file), "")
            if kind and len(found) < MOST:
                value = drgn.Object(reading.prog, f"{kind} *", value=number(file.d_inode.i_private))
                found[f"{path}/{_name(file)}"] = number(value[0])
        except UNREADABLE as error:
            reading.note("a file of debugfs", error)
    return found


def _files(reading: Reading) -> Iterator[tuple[str, Any]]:
    for folder in reading.each("debugfs", _root, reading.prog):
        path = _name(folder)
        for file in reading.each("a folder of debugfs", _children, folder):
            yield path, file
            part = f"{path}/{_name(file)}"
            yield from ((part, each) for each in reading.each("a folder of debugfs", _children, file))


def _root(prog: drgn.Program) -> Iterator[Any]:
    return _children(prog["debugfs_mount"].mnt_root)


def _children(folder: Any) -> Iterator[Any]:
    """The entries of a folder: d_subdirs up to 6.7, d_children after."""
    if not stat.S_ISDIR(_mode(folder)):
        return iter(())
    if folder.type_.type.has_member("d_children"):
        return hlist_for_each_entry("struct dentry", folder.d_children.address_of_(), "d_sib")
    return list_for_each_entry("struct dentry", folder.d_subdirs.address_of_(), "d_child")


def _operations(file: Any) -> int:
    """The address of a file's operations, 0 of a folder.

    They are with its dentry up to 6.12, with its inode in 7.3 (fs/debugfs/internal.h, debugfs_inode_info).
    """
    data = number(file.d_fsdata)
    if not data and stat.S_ISREG(_mode(file)):
        inode = container_of(file.d_inode, "struct debugfs_inode_info", "vfs_inode")
        return number(inode.real_fops)
    if data & REAL_OPERATIONS:
        return data & ~REAL_OPERATIONS
    return number(drgn.cast("struct debugfs_fsdata *", file.d_fsdata).real_fops) if data else 0


def _mode(entry: Any) -> int:
    return number(entry.d_inode.i_mode) if entry.d_inode else 0


def _name(entry: Any) -> str:
    return text(drgn.cast("char *", entry.d_name.name))
