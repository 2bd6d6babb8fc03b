"""Owns what is known of a kernel in the cache: its kernel.json and the value handed to those who boot it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from testbed.kernels import cmdline, voiding
from testbed.kernels.config import Configured, parse_config
from testbed.model import KernelSpec, Value

DIGEST_LENGTH = 24


class KernelRecord(Value):
    """kernel.json. `inputs` are the words whose hash is the digest; `modules`: needs its stage 1.

    `confounders`: of the configuration alone, by the rules when it was built.
    """

    spec: KernelSpec
    digest: str
    inputs: dict[str, str]
    compiler: str
    release: str
    confounders: tuple[str, ...]
    modules: bool
    warnings: tuple[str, ...] = ()
    objects: int = 0
    seconds: float = 0.0


UNPACKED = "boot.elf"


@dataclass(frozen=True, slots=True)
class BuiltKernel:
    """A kernel to boot. `vmlinux` (DWARF) of built ones only, `initrd` of prebuilt ones only.

    `confounders`: what clouds a result of it, by the rules of today, as it is booted here.
    """

    digest: str
    folder: Path
    release: str
    confounders: tuple[str, ...]
    initrd: Path | None
    vmlinux: Path | None

    @property
    def boots(self) -> Path:
        """What QEMU is given: the bzImage, or the ELF out of it (kernels/unpack.py)."""
        unpacked = self.folder / UNPACKED
        return unpacked if unpacked.is_file() else self.folder / "bzImage"

    @property
    def configured(self) -> Configured:
        """What it was built with. Only one that brings a first root loads modules."""
        path = self.folder / "config"
        return Configured(parse_config(path.read_text()), self.initrd is not None, str(path), self.release)

    @property
    def cmdline(self) -> str:
        """What stands on its command line besides what boots it."""
        return " ".join(cmdline.words(prebuilt=self.initrd is not None))


def digest_of(inputs: dict[str, str]) -> str:
    """The name of what these inputs make."""
    text = json.dumps(inputs, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


def write(folder: Path, record: KernelRecord) -> None:
    (folder / "kernel.json").write_text(record.model_dump_json(indent=2) + "\n")


def read(folder: Path) -> BuiltKernel:
    """The kernel in a folder of the cache."""
    record = KernelRecord.model_validate_json((folder / "kernel.json").read_text())
    vmlinux, initrd = folder / "vmlinux", folder / "stage1.cpio.gz"
    given = cmdline.words(prebuilt=initrd.is_file())
    confounders = voiding.confounders(parse_config((folder / "config").read_text()), given)
    if initrd.is_file():
        confounders = (*confounders, f"not as it comes: its command line also has {' '.join(given)}")
    return BuiltKernel(
        digest=record.digest,
        folder=folder,
        release=record.release,
        confounders=confounders,
        initrd=initrd if initrd.is_file() else None,
        vmlinux=vmlinux if vmlinux.is_file() else None,
    )
