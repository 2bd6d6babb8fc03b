"""Owns what a guest is made of: the values, and the libvirt XML rendered from them."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from testbed.errors import UsageError
from testbed.machines.nics import MODELS
from testbed.machines.wire import INTERFACE

WITNESS_BYTES = 1 << 20
TB_CACHE_MIB = 256
EMULATOR = "/usr/bin/qemu-system-x86_64"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,39}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_SERIAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,19}")
_CMDLINE = re.compile(r"[\x20-\x7e]{1,2000}")

Cache = Literal["none", "writeback", "writethrough", "unsafe"]


@dataclass(frozen=True, slots=True)
class Nic:
    """`tap` is its host side, which must be there before the guest starts."""

    tap: str
    mac: str
    model: str
    queues: int = 1


@dataclass(frozen=True, slots=True)
class Disk:
    """A raw image; in the guest /dev/vd[a-z] in the order given, found by `serial` (at most 20 bytes)."""

    path: Path
    serial: str
    readonly: bool = False
    cache: Cache = "writeback"


@dataclass(frozen=True, slots=True)
class GuestSpec:
    """A guest by direct kernel boot.

    `console` is written from the first byte on; `witness` names a file of 1 MiB in the
    sandbox's /dev/shm. `shared_memory` off: for hosts without a sandbox, whose memory nobody reads. A reset
    ends it, unless it `may_restart`: one that resets itself in secret must not look as if it had lived.
    """

    name: str
    memory_bytes: int
    kernel: Path
    cmdline: str
    console: Path
    vcpus: int = 1
    initrd: Path | None = None
    accelerator: Literal["qemu", "kvm"] = "qemu"
    disks: tuple[Disk, ...] = ()
    nics: tuple[Nic, ...] = ()
    witness: str = ""
    shared_memory: bool = True
    may_restart: bool = False


def render(guest: GuestSpec, *, emulator: str = EMULATOR) -> str:
    """The domain XML. Raises UsageError on a name or value that can not be one."""
    _check(guest)
    targets = [f"vd{chr(ord('a') + number)}" for number in range(len(guest.disks))]
    disks = [{**_fields(disk), "target": name} for disk, name in zip(guest.disks, targets, strict=True)]
    text = _template().render(
        guest={**_fields(guest), "disks": disks},
        emulator=emulator,
        tb_cache_mib=TB_CACHE_MIB,
        witness_bytes=WITNESS_BYTES,
        nic_models={name: model.called for name, model in MODELS.items()},
    )
    ElementTree.fromstring(text)
    return text


def _fields(value: GuestSpec | Disk) -> dict[str, object]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def _check(guest: GuestSpec) -> None:
    _must(_NAME, guest.name, "a guest's name")
    _must(_CMDLINE, guest.cmdline, "a kernel command line")
    if guest.witness:
        _must(_NAME, guest.witness, "a witness's name")
    for nic in guest.nics:
        _must(INTERFACE, nic.tap, "a tap's name")
        _must(_MAC, nic.mac, "a MAC address")
        if nic.model not in MODELS:
            raise UsageError(f"no NIC model '{nic.model}'", hint=f"known: {', '.join(MODELS)}")
        if nic.queues != 1 and not MODELS[nic.model].queues:
            raise UsageError(f"a NIC of model '{nic.model}' has one queue, not {nic.queues}")
    for disk in guest.disks:
        _must(_SERIAL, disk.serial, "a disk's serial")
    for path in (guest.kernel, guest.console, *(disk.path for disk in guest.disks)):
        if not path.is_absolute() or not str(path).isprintable():
            raise UsageError(f"'{path}' is not an absolute, printable path")
    if len(guest.disks) > 26 or guest.vcpus < 1 or guest.memory_bytes < 1 << 20:
        raise UsageError(f"'{guest.name}' has too many disks, no CPU or no memory")


def _must(shape: re.Pattern[str], value: str, what: str) -> None:
    if not shape.fullmatch(value):
        raise UsageError(f"{value!r} is not {what}")


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("testbed.machines"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("domain.xml.j2")
