"""Owns Debian's packages: what the userland needs, resolved and fetched by apt, verified, cached."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import unquote

from testbed import apt, paths, proc
from testbed.errors import TestbedFault

RESOLVE_TIMEOUT_S = 60
DOWNLOAD_TIMEOUT_S = 900

WANTED = (
    "bindfs",
    "busybox-static",
    "dash",  # the login shell: busybox' own would run its applets in place of Debian's programs
    "dmsetup",
    "dropbear-bin",
    "e2fsprogs",
    "ethtool",
    "iproute2",
    "mdadm",
    "mount",
    "nbd-client",
    "nbd-server",
    "nbdkit",
    "netbase",
    "nfs-common",
    "nfs-kernel-server",
    "open-iscsi",
    "qemu-utils",  # qemu-nbd, and qemu-img to write with
    "rpcbind",
)

UNWANTED = {
    "*perl*": "maintainers' scripts and helpers that no guest runs",
    "*python3*": "as above (nfsiostat, mountstats)",
    "adduser": "maintainers' scripts; /etc/passwd is ours",
    "debconf": "maintainers' scripts",
    "dpkg": "nothing is installed inside a guest",
    "gcc-*-base": "documentation only",
    "init-system-helpers": "no systemd, no sysvinit",
    "keyutils": "no Kerberos, no idmapping upcalls",
    "libpam-*": "dropbear takes keys only",
    "libsasl2-modules*": "no LDAP, no SASL",
    "libcurl*": "plugins of nbdkit that tree.PRUNED takes out, like the next six",
    "libicu*": "as above",
    "libnbd*": "as above",
    "libssh*": "as above",
    "libtorrent*": "as above",
    "libxml2": "as above",
    "libstdc++6": "as above",
    "logsave": "nothing logs to disk",
    "lsb-base": "init scripts",
    "media-types": "no mail, no web",
    "passwd": "no password anywhere",
    "readline-common": "no interactive program needs it",
    "sed": "busybox has it",
    "sensible-utils": "no editor, no browser",
    "sysvinit-utils": "init scripts",
    "tar": "busybox has it",
    "ucf": "maintainers' scripts",
    "udev": "devtmpfs and our init name what there is",
    "usrmerge": "the tree is merged while it is assembled",
    "util-linux*": "busybox has what is needed; mount and swapon come from the package mount",
}
"""Packages that the resolution brings and the image leaves out, each with its reason.

What is left must still find every library it links to: tree.close_libraries checks that.
"""

_FILE = re.compile(
    r"'[^']+' (?P<file>(?P<name>[^_ ]+)_(?P<version>[^_ ]+)_[^_ ]+\.deb) \d+ SHA256:(?P<sha256>[0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """One binary package, by the name, version and content that the archive signed."""

    name: str
    version: str
    sha256: str
    file: str


def parse_uris(output: str) -> tuple[Package, ...]:
    """Reads `apt-get --print-uris`. Raises TestbedFault for a line without a SHA256."""
    packages = []
    for line in output.splitlines():
        found = _FILE.fullmatch(line.strip())
        if found is None:
            raise TestbedFault(f"apt-get --print-uris said something unexpected: {line!r}")
        packages.append(Package(found["name"], unquote(found["version"]), found["sha256"], found["file"]))
    return tuple(sorted(packages))


def resolve(wanted: Iterable[str] = WANTED) -> tuple[Package, ...]:
    """The packages that `wanted` needs on an empty system, without those of UNWANTED, sorted.

    Asked of apt, without privileges and without regard to what this host has installed. Asked once
    per state of apt's lists: the answer is kept in the cache.
    """
    asked = (sorted(wanted), sorted(UNWANTED), apt.lists_state())
    key = hashlib.sha256(repr(asked).encode()).hexdigest()[:20]
    known = packages_dir() / f"resolved-{key}.json"
    if known.exists():
        return tuple(Package(**entry) for entry in json.loads(known.read_text()))
    packages = tuple(package for package in _ask_apt(wanted) if not _unwanted(package))
    _write(known, json.dumps([asdict(package) for package in packages], indent=1).encode())
    return packages


def _unwanted(package: Package) -> bool:
    return any(fnmatch.fnmatch(package.name, glob) for glob in UNWANTED)


def fetch(packages: Iterable[Package]) -> tuple[Path, ...]:
    """The packages' files in the cache, downloaded if they are not there yet, their content verified."""
    wanted = tuple(packages)
    missing = [package for package in wanted if not (packages_dir() / package.file).exists()]
    if missing:
        _download(missing)
    return tuple(packages_dir() / package.file for package in wanted)


def packages_dir() -> Path:
    folder = paths.cache_dir() / "packages"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _ask_apt(wanted: Iterable[str]) -> tuple[Package, ...]:
    # An own, empty archive folder: apt does not print what it finds downloaded already.
    with tempfile.TemporaryDirectory(dir=packages_dir()) as archives:
        (Path(archives) / "partial").mkdir()
        options = {
            "Dir::State::status": "/dev/null",
            "Dir::Cache::archives": f"{archives}/",
            "Acquire::ForceHash": "SHA256",
            "APT::Install-Recommends": "false",
            "Debug::NoLocking": "true",
        }
        argv = ["apt-get", "-qq", "--print-uris"]
        argv += [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        done = proc.run([*argv, "install", *wanted], timeout_s=RESOLVE_TIMEOUT_S, env={"LC_ALL": "C"})
    return parse_uris(done.stdout)


def _download(packages: list[Package]) -> None:
    with tempfile.TemporaryDirectory(dir=packages_dir()) as folder:
        argv = ["apt-get", "-qq", "-o", "APT::Sandbox::User=", "download"]
        names = [f"{package.name}={package.version}" for package in packages]
        proc.run([*argv, *names], timeout_s=DOWNLOAD_TIMEOUT_S, cwd=Path(folder), env={"LC_ALL": "C"})
        for package in packages:
            _accept(Path(folder) / package.file, package)


def _accept(file: Path, package: Package) -> None:
    if not file.exists() or hashlib.sha256(file.read_bytes()).hexdigest() != package.sha256:
        raise TestbedFault(
            f"apt-get download did not bring {package.name} {package.version} as the archive has it",
            hint="run apt-get update and try again",
        )
    file.rename(packages_dir() / package.file)


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{hashlib.sha256(data).hexdigest()[:8]}")
    temporary.write_bytes(data)
    temporary.rename(path)
