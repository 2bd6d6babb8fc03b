"""Owns the question what this host can do: one check a capability, each lack with its remedy."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from testbed import apt, paths, proc
from testbed.errors import TestbedError
from testbed.units import show_bytes

NEEDED_DISK_BYTES = 12 << 30
NEEDED_MEMORY_BYTES = 2 << 30
CCACHE = Path("/usr/lib/ccache/gcc")
"""Debian's link, which builds find before gcc (kernels/compile.py)."""
PACKAGES = paths.PROJECT / "debian-packages.txt"


@dataclass(frozen=True, slots=True)
class Check:
    """One capability. `needed` is false where the testbed works without, only slower or with less."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    needed: bool = True


Probe = Callable[[], str]
"""Does the real thing and says how it went; raises TestbedError, whose hint is the remedy if it has one."""


@dataclass(frozen=True, slots=True)
class Probes:
    """What only a lab, a mount or a guest can tell: each makes one."""

    sandbox: Probe
    delay: Probe
    overlay: Probe
    accelerator: Probe


def examine(probes: Probes) -> Iterator[Check]:
    """Runs every check."""
    yield _packages()
    yield _package_lists()
    yield _ccache()
    yield _namespaces()
    yield _tun()
    yield _attempt(
        "sandbox", probes.sandbox, "needs user namespaces, /dev/net/tun, libvirtd and nftables on this kernel"
    )
    yield _attempt("delay", probes.delay, "only the fault 'delay' needs it: modprobe sch_netem", needed=False)
    yield _attempt(
        "overlayfs",
        probes.overlay,
        "modprobe overlay; user namespaces may mount it since 5.11; some 2 GB more for each patched kernel",
        needed=False,
    )
    without = "; without, guests run under TCG, some ten times slower"
    yield _attempt("KVM", probes.accelerator, "", needed=False, without=without)
    yield _memory()
    yield _disk()
    yield _cores()


def wanted_packages(text: str) -> list[str]:
    """The names in debian-packages.txt."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def _packages() -> Check:
    wanted = wanted_packages(PACKAGES.read_text())
    shown = proc.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *wanted], timeout_s=20, check=False
    )
    there = {line.split()[0] for line in shown.stdout.splitlines() if line.endswith(" installed")}
    missing = [name for name in wanted if name not in there]
    detail = f"{len(wanted)} there" if not missing else "missing: " + ", ".join(missing)
    return Check("Debian packages", not missing, detail, "run: make setup")


def _package_lists() -> Check:
    def probe() -> str:
        return f"{len(apt.lists_state())} lists: the guest image and 'debian' can be made"

    return _attempt("apt's package lists", probe, apt.REMEDY)


def _ccache() -> Check:
    there = CCACHE.exists()
    detail = "stands in for gcc" if there else f"no {CCACHE}: a changed header costs a whole build"
    return Check("ccache", there, detail, "run: make setup", needed=False)


def _namespaces() -> Check:
    remedy = "sysctl user.max_user_namespaces=10000 kernel.unprivileged_userns_clone=1, or run as root"

    def probe() -> str:
        proc.run(["unshare", "-U", "-r", "-n", "-m", "-p", "-f", "true"], timeout_s=10)
        return "can be made"

    return _attempt("user namespaces", probe, remedy)


def _tun() -> Check:
    ok = os.access("/dev/net/tun", os.R_OK | os.W_OK)
    return Check(
        "/dev/net/tun", ok, "usable" if ok else "not usable", "modprobe tun; chmod 0666 /dev/net/tun"
    )


def _attempt(name: str, probe: Probe, remedy: str, *, needed: bool = True, without: str = "") -> Check:
    """`without` follows the remedy: what it is like as it is."""
    try:
        return Check(name, True, probe(), "", needed)
    except TestbedError as error:
        return Check(name, False, str(error), (error.hint or remedy) + without, needed)


def _memory() -> Check:
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    free = int(fields["MemAvailable"].split()[0]) << 10
    return Check(
        "memory",
        free >= NEEDED_MEMORY_BYTES,
        f"{show_bytes(free)} available",
        "three guests take about 1 GiB",
    )


def _disk() -> Check:
    free = shutil.disk_usage(paths.cache_dir()).free
    return Check(
        "disk",
        free >= NEEDED_DISK_BYTES,
        f"{show_bytes(free)} free for the cache",
        "free some, run 'testbed gc', or set TESTBED_CACHE to a larger disk",
    )


def _cores() -> Check:
    count = len(os.sched_getaffinity(0))
    return Check(
        "cores", count >= 2, f"{count}", "with one core the guests contend, and cells become inconclusive"
    )
