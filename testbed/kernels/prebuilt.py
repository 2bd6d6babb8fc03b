"""Owns prebuilt kernels: Debian's own package as it is, with a first root that loads its modules."""

from __future__ import annotations

import hashlib
import json
import lzma
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from testbed import apt, proc, store
from testbed.errors import MissingCapability, TestbedFault
from testbed.kernels import config, cpio, modules, record, unpack, voiding
from testbed.kernels.progress import Progress
from testbed.model import KernelSpec, Value
from testbed.paths import cache_dir

META = "linux-image-amd64"
BUSYBOX = "busybox-static"
STAGE1 = Path(__file__).with_name("stage1.sh")
MODULES = {
    modules.ALWAYS: (
        "crc32c_generic", "virtio_pci", "virtio_blk", "virtio_console", "virtio_rng", "8139cp", "ext4",
        "overlay",
    ),
    "e1000e": ("e1000e",),
    "e1000": ("e1000",),
    "virtio-net": ("virtio_net",),
    "vmxnet3": ("vmxnet3",),
    "i82559b": ("e100",),
    "pcnet": ("pcnet32",),
    "tulip": ("tulip",),
    "ne2k_pci": ("ne2k-pci",),
    "nbd": ("nbd",),
    "nbd-crossed": ("nbd",),
    "local-nbd": ("nbd",),
    "local-fuse": ("fuse", "loop"),
    "nfs3": ("nfs", "nfsv3", "nfsd"),
    "nfs4": ("nfs", "nfsv4", "nfsd"),
    "iscsi": ("iscsi_tcp", "sd_mod", "iscsi_target_mod", "target_core_iblock", "target_core_file"),
    "nvme-tcp": ("nvme_tcp", "nvmet_tcp"),
    "mke2fs": ("raid1",),
    "loop": ("loop",),
    "raid1": ("raid1",),
    "dm": ("dm_mod",),
}  # fmt: skip
"""What a machine needs by what it has to do with: kinds of NICs, transports and loads. A machine that names
no kinds (one to play with) is given all: a module that nobody needs costs time to boot, and memory."""
OPTIONS = {
    "nbd": "nbds_max=4",
    "nvme-core": "multipath=N",  # a device of several paths counts no requests of its own (6.1)
}
BUILDER = "2"
APT_S = 600.0
_NO_LISTS = "run 'apt-get update' as root: Debian's package lists are needed"


@dataclass(frozen=True, slots=True)
class Package:
    """The concrete packages that a prebuilt kernel is made of."""

    image: str
    version: str
    busybox_version: str

    def inputs(self) -> dict[str, str]:
        """The words that decide what comes out."""
        return {
            "builder": BUILDER,
            "image": f"{self.image} {self.version}",
            "busybox": f"{BUSYBOX} {self.busybox_version}",
            "stage1": hashlib.sha256(STAGE1.read_bytes()).hexdigest(),
            "modules": " ".join(f"{kind}:{','.join(names)}" for kind, names in MODULES.items()),
            "options": " ".join(f"{name}:{text}" for name, text in sorted(OPTIONS.items())),
        }


def _shown(*packages: str) -> list[dict[str, str]]:
    """The newest candidates' control fields. Raises MissingCapability if apt knows no such package."""
    done = proc.run(["apt-cache", "show", "--no-all-versions", *packages], timeout_s=60, check=False)
    told = (
        dict(re.findall(r"^(\w[\w-]*): (.*)$", stanza, re.MULTILINE)) for stanza in done.stdout.split("\n\n")
    )
    known = {fields["Package"]: fields for fields in told if {"Package", "Version"} <= fields.keys()}
    for package in packages:
        if package not in known:
            raise MissingCapability(f"apt knows no package {package}", hint=_NO_LISTS)
    return [known[package] for package in packages]


class _Answer(Value):
    """debian.json of the cache: what apt said, and of which question and state of its lists (a hash)."""

    asked: str
    package: Package


def find() -> Package:
    """What Debian's `linux-image-amd64` stands for today: asked of apt once for each state of its lists.

    apt takes a second for each question, so its answer is kept for other processes as well.
    """
    asked = hashlib.sha256(json.dumps([META, BUSYBOX, apt.lists_state()]).encode()).hexdigest()
    kept = cache_dir() / "debian.json"
    try:
        known = _Answer.model_validate_json(kept.read_bytes())
    except (OSError, ValidationError):
        known = None
    if known is None or known.asked != asked:
        known = _Answer(asked=asked, package=_ask())
        store.write_json(kept, known.model_dump(mode="json"))
    return known.package


def _ask() -> Package:
    meta, busybox = _shown(META, BUSYBOX)
    image = re.search(r"linux-image-[0-9][^\s,]*", meta.get("Depends", ""))
    if image is None:
        raise MissingCapability(f"{META} depends on no kernel: {meta.get('Depends')!r}", hint=_NO_LISTS)
    (found,) = _shown(image.group())
    return Package(image.group(), found["Version"], busybox["Version"])


def _unpack(package: str, version: str, folder: Path) -> Path:
    """Downloads one package with apt and unpacks it; nothing is installed, no root needed."""
    home, tree = folder / f"{package}.deb", folder / package
    home.mkdir()
    try:
        # apt's sandbox user cannot write to a folder of ours.
        argv = ["apt-get", "-q", "-o", "APT::Sandbox::User=", "download", f"{package}={version}"]
        proc.run(argv, timeout_s=APT_S, cwd=home)
    except proc.ProcessFailed as error:
        raise MissingCapability(
            f"{package} {version} cannot be downloaded: {error}", hint=_NO_LISTS
        ) from error
    deb = next(home.glob("*.deb"))
    proc.run(["dpkg-deb", "-x", str(deb), str(tree)], timeout_s=300)
    return tree


def _module(path: Path) -> bytes:
    content = path.read_bytes()
    return lzma.decompress(content) if path.suffix == ".xz" else content


def stage1(needed: tuple[modules.Module, ...], busybox: bytes) -> bytes:
    """The first root: busybox, the modules in order, each with who needs it, and our init."""
    names = [each.path.name.removesuffix(".xz") for each in needed]
    rows = (
        (name, ",".join(sorted(each.kinds)), OPTIONS.get(name.removesuffix(".ko"), ""))
        for name, each in zip(names, needed, strict=True)
    )
    listing = "".join(" ".join(row).rstrip() + "\n" for row in rows)
    return cpio.archive([
        *(cpio.directory(name) for name in ("bin", "dev", "modules", "proc", "root", "sys")),
        cpio.device("dev/console", 5, 1),
        cpio.program("bin/busybox", busybox),
        cpio.program("init", STAGE1.read_bytes()),
        cpio.file("modules.list", listing.encode()),
        *(cpio.file(f"modules/{name}", _module(each.path)) for name, each in zip(names, needed, strict=True)),
    ])  # fmt: skip


def make(package: Package, spec: KernelSpec, name: str, folder: Path, progress: Progress) -> None:
    """Fills `folder` with bzImage (and its ELF), config, stage1.cpio.gz and kernel.json."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        progress(f"downloading {package.image}", None)
        tree = _unpack(package.image, package.version, Path(temporary))
        busybox = _unpack(BUSYBOX, package.busybox_version, Path(temporary)) / "bin/busybox"
        progress("assembling the first root", None)
        image = next(tree.glob("boot/vmlinuz-*"), None)
        if image is None:
            raise TestbedFault(f"{package.image} holds no kernel")
        release = image.name.removeprefix("vmlinuz-")
        shutil.copyfile(image, folder / "bzImage")
        elf = unpack.bootable_elf(image.read_bytes())
        if elf is not None:
            (folder / record.UNPACKED).write_bytes(elf)
        shutil.copyfile(tree / f"boot/config-{release}", folder / "config")
        library = next(path for path in (tree / "lib/modules", tree / "usr/lib/modules") if path.is_dir())
        needed = modules.load_order(library / release, MODULES)
        (folder / "stage1.cpio.gz").write_bytes(stage1(needed, busybox.read_bytes()))
    record.write(
        folder,
        record.KernelRecord(
            spec=spec,
            digest=name,
            inputs=package.inputs(),
            compiler="Debian's",
            release=release,
            confounders=voiding.confounders(config.parse_config((folder / "config").read_text())),
            modules=True,
        ),
    )
