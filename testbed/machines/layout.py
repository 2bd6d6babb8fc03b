"""Owns where things are in a lab's folder, and the settings of its private libvirtd."""

from __future__ import annotations

from pathlib import Path

RECORD = "lab.json"
BROKER_SOCKET = "broker"
BROKER_LOG = "broker.log"
LIBVIRT_SOCKET = "run/libvirt/libvirt-sock"
LIBVIRT_LOG = "libvirtd.log"

_LIBVIRTD_CONF = """\
auth_unix_rw = "none"
auth_unix_ro = "none"
unix_sock_rw_perms = "0600"
log_outputs = "3:file:{log}"
max_clients = 64
"""
_QEMU_CONF = """\
stdio_handler = "file"
memory_backing_dir = "/dev/shm"
security_driver = "none"
security_default_confined = 0
nvram = []
"""


def make(folder: Path, capabilities: Path) -> None:
    """Fills a new lab's folder: daemon settings, and its capability cache, which outlives the lab.

    Probing QEMU anew takes 1-3 s; libvirt itself checks whether what it kept is still true.
    """
    settings = folder / "config" / "libvirt"
    settings.mkdir(parents=True, mode=0o700)
    (settings / "libvirtd.conf").write_text(_LIBVIRTD_CONF.format(log=folder / LIBVIRT_LOG))
    (settings / "qemu.conf").write_text(_QEMU_CONF)
    (folder / "run").mkdir(mode=0o700)
    capabilities.mkdir(parents=True, exist_ok=True)
    kept = folder / "cache" / "libvirt" / "qemu" / "cache"
    kept.mkdir(parents=True)
    (kept / "capabilities").symlink_to(capabilities, target_is_directory=True)


def environment(folder: Path) -> dict[str, str]:
    """What makes libvirt keep to the lab's folder."""
    return {
        "XDG_RUNTIME_DIR": str(folder / "run"),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "XDG_DATA_HOME": str(folder / "data"),
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
    }


def libvirt_uri(folder: Path) -> str:
    """Where any process of ours reaches the lab's daemon."""
    return f"qemu+unix:///session?socket={folder / LIBVIRT_SOCKET}"


def vmlinux(folder: Path, machine: str) -> Path:
    """In a kept lab: the debug information of a guest's kernel, if it has any."""
    return folder / f"vmlinux-{machine}"


def dump(folder: Path, machine: str) -> Path:
    """In a kept lab: where a guest's memory is written to when somebody looks into it."""
    return folder / f"memory-{machine}.elf"
