"""Finds what a lab left outside of its sandbox: processes, namespaces, mounts, interfaces, sockets, files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

NAMESPACES = ("user", "net", "mnt", "pid")


def processes_naming(text: str) -> dict[int, str]:
    """Every process whose command line or environment holds `text`, but for this one."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
            words = command + b"\0" + (entry / "environ").read_bytes()
        except OSError:
            continue
        if text.encode() in words and int(entry.name) != os.getpid():
            found[int(entry.name)] = command.replace(b"\0", b" ").decode(errors="replace")[:200]
    return found


def hold_namespaces(pids: list[int]) -> dict[str, int]:
    """The namespaces of these processes but for our own, as `net:[4026532000]`, each held open.

    While somebody holds it, the kernel gives its number to no other: another lab's is not taken for it.
    """
    held: dict[str, int] = {}
    ours = _namespaces("self")
    for pid in pids:
        for kind in NAMESPACES:
            try:
                fd = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY)
            except OSError:
                continue
            name = str(Path(f"/proc/self/fd/{fd}").readlink())
            if name in held or name in ours:
                os.close(fd)
            else:
                held[name] = fd
    return held


def _namespaces(pid: str) -> set[str]:
    found = set()
    for kind in NAMESPACES:
        try:
            found.add(str(Path(f"/proc/{pid}/ns/{kind}").readlink()))
        except OSError:
            continue
    return found


def namespaces_in_use(wanted: set[str]) -> set[str]:
    """Which of these namespaces some process is still in."""
    everywhere = {name for entry in Path("/proc").glob("[0-9]*") for name in _namespaces(entry.name)}
    return wanted & everywhere


@dataclass(frozen=True)
class Outside:
    """What can be seen from outside of any sandbox."""

    mounts: frozenset[str]
    interfaces: frozenset[str]
    named_netns: frozenset[str]
    shared_memory: frozenset[str]

    @classmethod
    def now(cls) -> Outside:
        mounts = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
        return cls(
            frozenset(mounts),
            _names(Path("/sys/class/net")),
            _names(Path("/run/netns")),
            frozenset(name for name in _names(Path("/dev/shm")) if name.startswith(("witness", "seed"))),
        )

    def new_since(self, before: Outside) -> set[str]:
        return set().union(
            self.mounts - before.mounts,
            self.interfaces - before.interfaces,
            self.named_netns - before.named_netns,
            self.shared_memory - before.shared_memory,
        )


def _names(folder: Path) -> frozenset[str]:
    return frozenset(entry.name for entry in folder.iterdir()) if folder.is_dir() else frozenset()


def files_below(folder: Path) -> list[str]:
    """Every file, socket and folder below `folder`, but for the folder of labs itself."""
    if not folder.exists():
        return []
    below = (str(path.relative_to(folder)) for path in folder.rglob("*"))
    return sorted(name for name in below if name != "labs")


def sockets_below(folder: Path) -> list[str]:
    """Unix sockets bound to a path below `folder`, in our network namespace."""
    lines = Path("/proc/net/unix").read_text().splitlines()[1:]
    return [line.split()[-1] for line in lines if str(folder) in line]
