"""Owns the first root of a thin client without a disk: busybox, its seed, and what mounts the real root."""

from __future__ import annotations

from pathlib import Path

from testbed.images import filesystem, programs
from testbed.kernels import cpio

BUSYBOX = "/usr/bin/busybox"


def first_root(image: Path, seed: bytes, modules: Path | None) -> bytes:
    """A cpio archive for the kernel, with the busybox of `image`: that of the root that will be mounted.

    `modules` is the first root of a prebuilt kernel, whose init loads them and then starts `thin-init`; the
    kernel unpacks archives one after the other (Documentation/driver-api/early-userspace/buffer-format.rst).
    """
    init = (programs.SOURCES / programs.THIN_INIT).read_bytes()
    ours = cpio.archive([
        *(cpio.directory(name) for name in ("bin", "dev", "proc", "root", "sys")),
        cpio.device("dev/console", 5, 1),
        cpio.program("bin/busybox", filesystem.read_file(image, BUSYBOX)),
        cpio.program("init" if modules is None else "thin-init", init),
        cpio.file("seed.tar", seed),
    ])  # fmt: skip
    return ours if modules is None else modules.read_bytes() + ours
