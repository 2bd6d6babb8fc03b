"""Owns the making of root.ext4 from a tree: without privileges, and the same bytes from the same tree."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from testbed import proc
from testbed.errors import TestbedFault, UsageError

TIMEOUT_S = 300
EPOCH = 1_700_000_000
"""All time stamps of the image: any constant will do, the guest's clock is past it."""

UUID = "7e57bed0-0000-4000-8000-000000000001"
BLOCK_BYTES = 4096
SPARE_BYTES = 1 << 20
FEATURES = "^has_journal,^resize_inode,^metadata_csum,^64bit,^orphan_file"
"""It is never written to: no journal, no room to grow, no checksums to verify at each read."""

PRIVATE = {"root": 0o700, "tmp": 0o1777}
"""Folders with a mode of their own."""

_TIMES = ("atime", "ctime", "mtime", "crtime")


def make_root(tree: Path, image: Path, *, keep_owners: bool = False) -> None:
    """Writes the ext4 image of `tree`. Files belong to root, unless `keep_owners` (only as root)."""
    _fix(tree, keep_owners)
    environment = {"E2FSPROGS_FAKE_TIME": str(EPOCH), **_tools()}
    extended = f"root_owner=0:0,hash_seed={UUID},lazy_itable_init=0"
    make = ["mke2fs", "-q", "-F", "-t", "ext4", "-b", str(BLOCK_BYTES), "-m", "0", "-N", str(_inodes(tree))]
    make += ["-L", "root", "-U", UUID, "-O", FEATURES, "-E", extended, "-d", str(tree), str(image)]
    # Without privileges the files are ours; in a user namespace of its own they appear as root's.
    as_root = [] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--"]
    proc.run([*as_root, *make, str(_blocks(tree))], timeout_s=TIMEOUT_S, env=environment)
    # mke2fs -d copies the tree's ctime, which nobody can set; so it is overwritten in the image.
    proc.run(
        ["debugfs", "-w", "-f", "-", str(image)],
        timeout_s=TIMEOUT_S,
        env=environment,
        stdin="".join(_time_stamps(tree)).encode(),
    )


def check_own(image: Path) -> None:
    """Refuses a user's image that is no ext4, or that lacks our init. Raises UsageError."""
    done = proc.run(
        ["debugfs", "-R", "stat /usr/lib/testbed/init", str(image)],
        timeout_s=60,
        env=_tools(),
        check=False,
    )
    if "Inode:" in done.stdout:
        return
    missing = "not found" in done.stdout + done.stderr
    raise UsageError(
        "has no /usr/lib/testbed/init" if missing else "is no ext4 file system",
        where=str(image),
        hint="give a tree (a folder) instead: the testbed lays its programs over a copy and makes the image",
    )


def read_file(image: Path, name: str) -> bytes:
    """The content of a file of an image, by its absolute name there. Raises TestbedFault."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        proc.run(["debugfs", "-R", f"dump {name} {copy}", str(image)], timeout_s=TIMEOUT_S, env=_tools())
        if not copy.is_file() or copy.stat().st_size == 0:
            raise TestbedFault(f"has no {name}", where=str(image))
        return copy.read_bytes()


def _tools() -> dict[str, str]:
    """The environment of e2fsprogs, which an ordinary user's PATH does not reach."""
    return {"LC_ALL": "C", "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}


def _entries(tree: Path) -> Iterator[Path]:
    return iter(sorted(tree.rglob("*")))


def _fix(tree: Path, keep_owners: bool) -> None:
    """Owners and times that do not depend on who unpacked, and when."""
    for path in (tree, *_entries(tree)):
        if not keep_owners:
            _fix_access(path, PRIVATE.get(str(path.relative_to(tree))))
        os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)


def _fix_access(path: Path, special: int | None) -> None:
    """Root's, and modes that depend on no umask; nothing is setuid, for nobody but root logs in."""
    if os.geteuid() == 0:
        os.chown(path, 0, 0, follow_symlinks=False)
    if not path.is_symlink():
        executable = path.is_dir() or path.stat().st_mode & 0o100
        path.chmod(special or (0o755 if executable else 0o644))


def _inodes(tree: Path) -> int:
    return sum(1 for _ in _entries(tree)) + 64


def _blocks(tree: Path) -> int:
    # What a folder takes differs by the file system that the tree lies on: one block, mostly.
    files = (path for path in _entries(tree) if not path.is_symlink())
    content = sum(1 if path.is_dir() else -(-path.stat().st_size // BLOCK_BYTES) for path in files)
    metadata = _inodes(tree) * 256 // BLOCK_BYTES + content // 64
    return content + metadata + SPARE_BYTES // BLOCK_BYTES


def _time_stamps(tree: Path) -> Iterator[str]:
    for path in (tree, *_entries(tree)):
        name = f"/{path.relative_to(tree)}"
        for field in _TIMES:
            yield f'set_inode_field "{name}" {field} @{EPOCH}\n'
            yield f'set_inode_field "{name}" {field}_extra 0\n'
