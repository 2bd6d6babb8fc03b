"""Owns the choice between KVM and TCG: a canary guest boots, because /dev/kvm being there proves nothing."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from testbed import paths, proc
from testbed.errors import MissingCapability, TestbedFault

CANARY_TIMEOUT_S = 20.0
BOOTED = (b"VFS: Unable to mount root fs", b"No working init found", b"Run /init", b"Run /sbin/init")
"""What a kernel says that came all the way up and found no root: lib. init/do_mounts.c, init/main.c."""
_HINT = "use accelerator 'tcg' or 'auto'; see 'testbed doctor'"
DEVICE = Path("/dev/kvm")
_MISSING = "there is no /dev/kvm"
_CLOSED = "this user may not open /dev/kvm"
_REMEDIES = {
    _MISSING: "enable virtualisation in the firmware, or nested virtualisation where this is a guest itself; "
    "then: modprobe kvm_intel, or kvm_amd",
    _CLOSED: "join its group: usermod -aG kvm USER, and log in anew",
}
_REFUSED = (
    "/dev/kvm opens, but QEMU can not use it: mostly this host is a guest itself, and is not "
    "given all of KVM; try another QEMU, or another host"
)


@dataclass(frozen=True, slots=True)
class Accelerator:
    """`kind` as the user writes it; `why` for the record and for `doctor`, as is what there is against it."""

    kind: Literal["kvm", "tcg"]
    why: str
    remedy: str = ""

    @property
    def domain_type(self) -> Literal["qemu", "kvm"]:
        """What libvirt calls it."""
        return "kvm" if self.kind == "kvm" else "qemu"


def choose(wish: Literal["auto", "kvm", "tcg"], kernel: Path) -> Accelerator:
    """What guests run on here. `kernel` is the canary: any bzImage with a serial console.

    The canary's answer is kept for as long as this host is up and QEMU is the same, unless it may only
    have been too slow. Raises MissingCapability, with QEMU's words, if "kvm" is asked for and no guest boots.
    """
    if wish == "tcg":
        return Accelerator("tcg", "asked for")
    why_not = _why_no_kvm(kernel)
    if why_not is None:
        return Accelerator("kvm", "a canary guest boots with it")
    if wish == "kvm":
        raise MissingCapability(f"KVM is not usable: {why_not}", hint=_HINT)
    return Accelerator("tcg", f"KVM is not usable: {why_not}", _REMEDIES.get(why_not, _REFUSED))


def _why_no_kvm(kernel: Path) -> str | None:
    """None if KVM boots guests, else the reason it does not."""
    if not DEVICE.exists():
        return _MISSING
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        return _CLOSED
    known, key = paths.cache_dir() / "accelerator.json", _key()
    try:
        kept = json.loads(known.read_text())
        if kept["key"] == key:
            return str(kept["why_not"]) if kept["why_not"] is not None else None
    except (OSError, ValueError, KeyError, TypeError):
        pass
    why_not, lasts = _canary(kernel)
    if lasts:
        new = known.with_name(f".accelerator.{os.getpid()}")
        new.write_text(json.dumps({"key": key, "why_not": why_not}))
        new.replace(known)
    return why_not


def _key() -> list[str]:
    program = shutil.which("qemu-system-x86_64")
    if program is None:
        raise MissingCapability("no program 'qemu-system-x86_64' on this host", hint="run 'make setup'")
    status = Path(program).stat()
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return [boot_id, program, str(status.st_mtime_ns), str(status.st_size), str(os.getuid())]


def _canary(kernel: Path) -> tuple[str | None, bool]:
    """Why no guest boots, None if one does; and whether it will be so tomorrow.

    That it boots, and what QEMU itself complains of, lasts. That it took too long, or ended without a word,
    may be the host's business of the moment.
    """
    with tempfile.TemporaryDirectory(prefix="testbed-canary-") as folder:
        log = Path(folder) / "log"
        argv = [
            *("qemu-system-x86_64", "-accel", "kvm", "-machine", "pc", "-cpu", "host", "-m", "128"),
            *("-nodefaults", "-nographic", "-no-reboot", "-serial", "stdio", "-kernel", str(kernel)),
            *("-append", "console=ttyS0 panic=-1 nokaslr"),
        ]
        late = ""
        try:
            proc.run(argv, timeout_s=CANARY_TIMEOUT_S, check=False, log=log)
        except MissingCapability:
            raise
        except TestbedFault:
            late = f"the canary guest was not up in {CANARY_TIMEOUT_S:g} s"
        said = log.read_bytes() if log.exists() else b""
    if any(line in said for line in BOOTED):
        return None, True
    complaint = " ".join(
        line for line in said.decode(errors="replace").splitlines() if line.startswith("qemu-system")
    )
    return late or complaint[:500] or "the canary guest ended before it was up", bool(complaint) and not late
