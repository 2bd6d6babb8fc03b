"""Owns module order: which files of a package's modules must be loaded, and in what order."""

from __future__ import annotations

import re
from pathlib import Path

from testbed.errors import TestbedFault, nearest

_INFO = re.compile(rb"\0?(depends|softdep)=([^\0]*)\0")


def _plain(name: str) -> str:
    return name.replace("-", "_")


def _needs(content: bytes) -> list[str]:
    """What a module's own .modinfo says must be there before it (softdep: its `pre:` part)."""
    needs: list[str] = []
    for kind, value in _INFO.findall(content):
        text = value.decode(errors="replace")
        if kind == b"softdep":
            before = re.search(r"pre:\s*([^:]*?)(?:\s*post:|$)", text)
            needs += before.group(1).split() if before else []
        else:
            needs += [name for name in text.split(",") if name]
    return [_plain(name) for name in needs]


def _soft(content: bytes, name: str) -> bool:
    return any(kind == b"softdep" and name.encode() in _plain(value.decode(errors="replace")).encode()
               for kind, value in _INFO.findall(content))  # fmt: skip


def load_order(folder: Path, wanted: tuple[str, ...]) -> tuple[Path, ...]:
    """Files of `folder` (lib/modules/RELEASE) so that each comes after all it needs.

    Names that are built in are left out. Raises TestbedFault for one that is nowhere, but for a soft
    dependency, which may be missing.
    """
    files = {_plain(path.name.split(".ko")[0]): path for path in sorted(folder.rglob("*.ko*"))}
    builtin_list = folder / "modules.builtin"
    lines = builtin_list.read_text().splitlines() if builtin_list.is_file() else []
    builtin = {_plain(Path(line).name.split(".ko")[0]) for line in lines}
    order: dict[str, Path] = {}

    def visit(name: str, soft: bool, trail: tuple[str, ...]) -> None:
        if name in order or name in builtin or name in trail:
            return
        if name not in files:
            if soft:
                return
            raise TestbedFault(f"the kernel package has no module '{name}'", hint=nearest(name, files))
        content = files[name].read_bytes()
        for need in _needs(content):
            visit(need, _soft(content, need), (*trail, name))
        order[name] = files[name]

    for name in wanted:
        visit(_plain(name), False, ())
    return tuple(order.values())
