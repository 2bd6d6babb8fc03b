"""Owns what may lie between the transport's device and the swap: dm, loop, a mirror, ext4."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from testbed.transports import Ends, Guest

Layer = Literal["dm", "loop", "raid1", "ext4"]

OPTIONS: Mapping[str, str] = {
    "dm": "CONFIG_BLK_DEV_DM",
    "loop": "CONFIG_BLK_DEV_LOOP",
    "raid1": "CONFIG_MD_RAID1",
    "ext4": "CONFIG_EXT4_FS",
}
"""What each layer asks of the client's kernel."""

FOLDER = "/run/stacked"
FILE = f"{FOLDER}/swap"
BLOCK_BYTES = 4096
SPARE_BYTES = 1 << 20
"""Left for the tables that the swap file itself needs."""


def stacked(client: Guest, device: str, layers: Sequence[Layer], mirror: str | None, ends: Ends) -> str:
    """Puts `layers` over /dev/`device`, the lowest first; returns the path of what is on top."""
    path = f"/dev/{device}"
    for layer in layers:
        path = _LAYERS[layer](client, path, mirror, ends)
    return path


def swap_file(client: Guest, path: str, ends: Ends) -> str:
    """A file that fills the file system of `path`, for swap; `path` itself where that is a device."""
    if path != FOLDER:
        return path
    free = int(_asked(client, ["stat", "-f", "-c", "%a", FOLDER], ends)) * BLOCK_BYTES
    client.run(["fallocate", "-l", str(free - SPARE_BYTES), FILE], timeout_s=ends.command_s)
    client.run(["chmod", "600", FILE], timeout_s=ends.command_s)
    return FILE


def _dm(client: Guest, path: str, mirror: str | None, ends: Ends) -> str:
    """A linear target, which is what LVM makes of a volume in one piece. There is no udev to wait for."""
    sectors = int(_asked(client, ["blockdev", "--getsz", path], ends))
    table = f"0 {sectors} linear {path} 0"
    argv = ["dmsetup", "create", "stacked", "--noudevsync", "--noudevrules", "--table", table]
    client.run(argv, timeout_s=ends.command_s)
    return "/dev/dm-0"


def _loop(client: Guest, path: str, mirror: str | None, ends: Ends) -> str:
    """Through the page cache of what lies below, as loop devices are by default."""
    client.run(["losetup", "/dev/loop7", path], timeout_s=ends.command_s)
    return "/dev/loop7"


def _raid1(client: Guest, path: str, mirror: str | None, ends: Ends) -> str:
    """With a local disk; no first synchronisation, since nothing that was there before is read."""
    argv = ["mdadm", "--create", "/dev/md0", "--run", "--assume-clean", "--level=1", "--metadata=1.2"]
    argv += ["--bitmap=none", "--raid-devices=2", path, f"/dev/testbed/{mirror}"]
    client.run(argv, timeout_s=ends.command_s)
    return "/dev/md0"


def _ext4(client: Guest, path: str, mirror: str | None, ends: Ends) -> str:
    argv = [
        "mke2fs",
        "-q",
        "-F",
        "-t",
        "ext4",
        "-b",
        str(BLOCK_BYTES),
        "-N",
        "64",
        "-m",
        "0",
        "-E",
        "nodiscard",
        path,
    ]
    client.run(argv, timeout_s=ends.command_s)
    client.run(["mkdir", "-p", FOLDER], timeout_s=ends.command_s)
    client.run(["mount", "-t", "ext4", path, FOLDER], timeout_s=ends.command_s)
    return FOLDER


def _asked(client: Guest, argv: list[str], ends: Ends) -> str:
    return client.run(argv, timeout_s=ends.command_s).stdout


_LAYERS: Mapping[Layer, Callable[[Guest, str, str | None, Ends], str]] = {
    "dm": _dm,
    "loop": _loop,
    "raid1": _raid1,
    "ext4": _ext4,
}
