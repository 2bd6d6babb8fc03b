"""Owns Snitzer's job: a file system made on a RAID1 of a local disk and the transport's device."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from testbed.errors import TestbedFault
from testbed.load import Bytes
from testbed.loads import LoadContext, Needed, OneProcess, agent, disk_device
from testbed.model import PlannedMachine
from testbed.transports import Guest

ARRAY = "/dev/md0"
PAST_ZEROOUT = "UNIX_IO_NOZEROOUT=1"
"""The variable with which libext2fs writes zeros as it writes all else."""


class Mke2fs(OneProcess):
    """`mke2fs -j` on a mirror of `disk` and the transport's device (M. Snitzer, 2007-09-17).

    It writes the inode tables and the journal through the page cache, as mke2fs did in 2007: a small
    `bytes_per_inode` makes it write more than may be dirty. Since 1.43 (e2fsprogs, lib/ext2fs/unix_io.c,
    unix_zeroout) it asks the device to write zeros itself, past the page cache (6.1, block/fops.c,
    blkdev_fallocate), and dirties next to nothing; PAST_ZEROOUT keeps it from that. Nothing is discarded
    first, since a device that discards to zeros would be spared the tables. The `first` member is the one
    that reads go to, and the one that is written to first: the disk, or the transport's device ("far").
    """

    kind: ClassVar[str] = "mke2fs"
    page_kind: ClassVar[str] = "job"
    finish: ClassVar[Literal["sweep", "exit"] | None] = "exit"
    kernel_options: ClassVar[tuple[str, ...]] = ("CONFIG_MD_RAID1",)

    disk: str
    first: Literal["disk", "far"] = "disk"
    bytes_per_inode: Bytes = Field(default=4 << 10, ge=1 << 10, le=64 << 20)

    def needs(self) -> tuple[Needed, ...]:
        return (("disk", "disk", self.disk), ("kind", "device", ""))

    def devices(self, machine: PlannedMachine) -> tuple[str, ...]:
        return (disk_device(machine, self.disk),)

    def prepare(self, guest: Guest, context: LoadContext) -> None:
        """Makes the mirror, without a first synchronisation: both members are new and all zero."""
        theirs = context.transport_devices()
        if not theirs:
            raise TestbedFault("the transport brings no block device to mirror on")
        members = [f"/dev/testbed/{self.disk}", f"/dev/{theirs[0]}"]
        if self.first == "far":
            members.reverse()
        create = ["mdadm", "--create", ARRAY, "--run", "--assume-clean", "--level=1", "--metadata=1.2"]
        create += ["--bitmap=none", "--raid-devices=2", *members]
        guest.run(create, timeout_s=30 * context.cpu_scale)

    def argv(self, slot: int, context: LoadContext) -> list[str]:
        command = ["env", PAST_ZEROOUT, "mke2fs", "-F", "-j", "-i", str(self.bytes_per_inode)]
        command += ["-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", ARRAY]
        return [*agent("job", slot, {"log": f"/run/{context.load.name}.log"}), "--", *command]
