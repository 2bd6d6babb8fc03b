"""Owns module order: which files of a package's modules must be loaded, and in what order."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import TestbedFault, nearest

ALWAYS = "*"
"""The kind that every machine has to do with."""

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


@dataclass(frozen=True, slots=True)
class Module:
    """A module's file, and the kinds of things that need it, directly or not."""

    path: Path
    kinds: frozenset[str]


def load_order(folder: Path, wanted: Mapping[str, tuple[str, ...]]) -> tuple[Module, ...]:
    """Modules of `folder` (lib/modules/RELEASE) so that each comes after all it needs.

    `wanted` are names by kind. Names that are built in are left out. Raises TestbedFault for one that is
    nowhere, but for a soft dependency, which may be missing.
    """
    files = {_plain(path.name.split(".ko")[0]): path for path in sorted(folder.rglob("*.ko*"))}
    builtin_list = folder / "modules.builtin"
    lines = builtin_list.read_text().splitlines() if builtin_list.is_file() else []
    builtin = {_plain(Path(line).name.split(".ko")[0]) for line in lines}
    order: dict[str, set[str]] = {}

    def visit(name: str, kind: str, soft: bool, trail: tuple[str, ...]) -> None:
        if kind in order.get(name, ()) or name in builtin or name in trail:
            return
        if name not in files:
            if soft:
                return
            raise TestbedFault(f"the kernel package has no module '{name}'", hint=nearest(name, files))
        content = files[name].read_bytes()
        for need in _needs(content):
            visit(need, kind, _soft(content, need), (*trail, name))
        order.setdefault(name, set()).add(kind)

    for kind, names in wanted.items():
        for name in names:
            visit(_plain(name), kind, False, ())
    return tuple(Module(files[name], frozenset(kinds)) for name, kinds in order.items())
