"""Owns the root's tree: unpacked, merged, pruned, with our programs and every library they need."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from testbed import proc
from testbed.errors import TestbedFault
from testbed.images import programs

UNPACK_TIMEOUT_S = 60
OURS = "usr/lib/testbed"
LIBRARIES = "usr/lib/x86_64-linux-gnu"

MOUNT_POINTS = ("dev", "mnt", "overlay", "proc", "root", "run", "srv", "sys", "tmp")
"""Folders that the boot needs; also laid into a user's own tree."""

PRUNED = {
    "usr/share": "documentation, locales, manuals, completions, bug scripts",
    "usr/include": "nothing is compiled inside a guest",
    "usr/lib/systemd": "no systemd",
    "usr/lib/init": "no init scripts",
    "usr/lib/mime": "no mail",
    "usr/sbin/arpd": "the only user of Berkeley DB",
    "usr/lib/x86_64-linux-gnu/engines-3": "no OpenSSL user",
    "usr/lib/x86_64-linux-gnu/gio": "no GIO user",
    "usr/lib/x86_64-linux-gnu/krb5": "no Kerberos",
    "usr/lib/x86_64-linux-gnu/tc/q_atm.so": "no ATM",
    "usr/lib/udev": "no udev",
    "usr/lib/tmpfiles.d": "no systemd",
    "usr/lib/sysusers.d": "no systemd",
    "usr/lib/modprobe.d": "no modules in the image",
    "usr/lib/ocf": "no cluster",
    "usr/lib/lsb": "no init scripts",
    "usr/lib/x86_64-linux-gnu/gconv": "character sets other than the built-in ones",
    "usr/lib/x86_64-linux-gnu/audit": "debugging aids of the C library",
    "usr/lib/x86_64-linux-gnu/security": "PAM modules",
    "usr/lib/x86_64-linux-gnu/nbdkit": "plugins and filters of nbdkit, but for the one that serves a file",
    "usr/bin/qemu-io": "qemu-nbd and qemu-img are wanted",
    "etc": "Debian's configuration of services that we do not run; ours is written anew",
    "var": "caches and states; the boot's tmpfs has its own",
}
"""What Debian's packages bring and the image leaves out, each with its reason."""

KEPT = (
    *("etc/protocols", "etc/rpc", "etc/services", "etc/mke2fs.conf"),
    "usr/lib/x86_64-linux-gnu/nbdkit/plugins/nbdkit-file-plugin.so",
)
"""What PRUNED would take but programs read."""

CONFIGURATION = {
    "etc/passwd": (
        "root:*:0:0:root:/root:/bin/sh\n"
        "_rpc:*:100:65534::/run/rpcbind:/bin/false\n"
        "statd:*:101:65534::/var/lib/nfs:/bin/false\n"
        "nobody:*:65534:65534::/nonexistent:/bin/false\n"
    ),
    "etc/group": "root:x:0:\ndisk:x:6:\ntty:x:5:\nnogroup:x:65534:\n",
    # Without the lines for IPv6, which the guests' kernels do not have: rpcbind and mountd would complain.
    "etc/netconfig": (
        "udp tpi_clts v inet udp - -\n"
        "tcp tpi_cots_ord v inet tcp - -\n"
        "rawip tpi_raw - inet - - -\n"
        "local tpi_cots_ord - loopback - - -\n"
    ),
    "etc/nsswitch.conf": "".join(
        f"{base}: files\n" for base in ("passwd", "group", "hosts", "services", "protocols", "rpc")
    ),
    "etc/hosts": "127.0.0.1 localhost\n",
    "etc/shells": "/bin/sh\n",
    "etc/nfs.conf": "[nfsd]\nhost=0.0.0.0\n[mountd]\nthreads=1\n",
    "etc/profile": "PATH=/usr/sbin:/usr/bin:/usr/lib/testbed\nexport PATH\n",
    "etc/exports": "",
    "etc/fstab": "",
}

_NEEDED = re.compile(r"\(NEEDED\)\s+Shared library: \[(.+)\]")


def unpack(packages: Iterable[Path], tree: Path) -> None:
    """Unpacks Debian's packages into `tree`: merged /usr, pruned, configured."""
    tree.mkdir()
    for package in packages:
        proc.run(["dpkg-deb", "-x", str(package), str(tree)], timeout_s=UNPACK_TIMEOUT_S)
    _merge_usr(tree)
    _prune(tree)
    for name, text in CONFIGURATION.items():
        _write(tree / name, text)
    _link(tree / "usr/bin/sh", "dash")
    add_ours(tree)
    close_libraries(tree)
    _link_applets(tree)


def add_ours(tree: Path) -> None:
    """Lays our programs and mount points over a tree that has a busybox at usr/bin/busybox."""
    for name in MOUNT_POINTS:
        (tree / name).mkdir(exist_ok=True, parents=True)
    (tree / "var/lib/nfs").mkdir(exist_ok=True, parents=True)
    ours = tree / OURS
    ours.mkdir(parents=True, exist_ok=True)
    programs.compile_agent(ours / "agent")
    programs.compile_preloads(ours)
    for name in programs.PROGRAMS:
        _link(ours / name, "agent")
    for name in programs.SCRIPTS:
        shutil.copy(programs.SOURCES / name, ours / name)
        (ours / name).chmod(0o755)
    _link(ours / "busybox", "../../bin/busybox")


def close_libraries(tree: Path) -> None:
    """Removes the libraries that no program links to; TestbedFault if one links to a missing library."""
    libraries = {path.name: path for path in (tree / LIBRARIES).glob("*.so*")}
    files = [p for p in (tree / "usr").rglob("*") if p.is_file() and not p.is_symlink() and _is_elf(p)]
    # The dynamic linker is named by the programs' PT_INTERP, not by a NEEDED entry.
    needs = _needed([p for p in files if p.parent != tree / LIBRARIES]) | {"ld-linux-x86-64.so.2"}
    wanted: set[str] = set()
    while needs - wanted:
        new = needs - wanted
        missing = sorted(name for name in new if name not in libraries)
        if missing:
            raise TestbedFault(
                f"programs of the guest image link to libraries that no package brings: {', '.join(missing)}",
                hint="a package in packages.UNWANTED is wanted after all",
            )
        wanted |= new
        needs |= _needed([libraries[name].resolve() for name in new])
    kept = {libraries[name].resolve() for name in wanted} | {libraries[name] for name in wanted}
    for path in libraries.values():
        if path not in kept and path.resolve() not in kept:
            path.unlink()


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _needed(files: list[Path]) -> set[str]:
    if not files:
        return set()
    done = proc.run(["readelf", "-d", *map(str, files)], timeout_s=60, env={"LC_ALL": "C"}, check=False)
    return set(_NEEDED.findall(done.stdout))


def _merge_usr(tree: Path) -> None:
    """/bin, /sbin, /lib and /lib64 become links into /usr, as on an installed Debian."""
    for name in ("bin", "sbin", "lib", "lib64"):
        if (tree / name).is_dir():
            _move_into(tree / name, tree / "usr" / name)
        _link(tree / name, f"usr/{name}")


def _move_into(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for entry in source.iterdir():
        if entry.is_dir() and not entry.is_symlink() and (target / entry.name).is_dir():
            _move_into(entry, target / entry.name)
        elif (target / entry.name).is_symlink() or not (target / entry.name).exists():
            entry.rename(target / entry.name)
        else:
            entry.unlink()
    source.rmdir()


def _prune(tree: Path) -> None:
    kept = {name: (tree / name).read_bytes() for name in KEPT if (tree / name).is_file()}
    for name in PRUNED:
        if (tree / name).is_file():
            (tree / name).unlink()
        else:
            shutil.rmtree(tree / name, ignore_errors=True)
    for name, data in kept.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(data)


def _link_applets(tree: Path) -> None:
    """A link for each of busybox' applets that no Debian program of that name stands for."""
    done = proc.run([str(tree / "usr/bin/busybox"), "--list"], timeout_s=30)
    present = {path.name for path in _programs(tree)}
    for applet in done.stdout.split():
        if applet not in present:
            _link(tree / "usr/bin" / applet, "busybox")


def _programs(tree: Path) -> Iterator[Path]:
    for folder in ("usr/bin", "usr/sbin"):
        yield from (tree / folder).iterdir()


def _link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
