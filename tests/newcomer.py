"""The files of docs/extending.md, and a project that has them."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import testbed.faults
import testbed.loads
import testbed.transports

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/extending.md"
PACKAGES = (testbed.faults, testbed.loads, testbed.transports)
_FILE = re.compile(r"^In `(?P<path>[\w./]+)`:\n\n```\w+\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def files() -> dict[str, str]:
    """By path: what the page says to write there, to the letter."""
    return {found["path"]: found["text"] for found in _FILE.finditer(PAGE.read_text())}


def plugins() -> dict[str, str]:
    """Those of them that are faults, loads or transports."""
    return {path: text for path, text in files().items() if path.split("/")[1] in _PLACES}


_PLACES = tuple(package.__name__.rpartition(".")[2] for package in PACKAGES)


def copy_project(folder: Path) -> None:
    """The project as somebody has it who is about to extend it."""
    for name in ("testbed", "playbooks", "topologies"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))


@contextmanager
def dropped_in(folder: Path) -> Iterator[None]:
    """This process's testbed with the page's plugins dropped into its packages."""
    for path, text in plugins().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    for package, place in zip(PACKAGES, _PLACES, strict=True):
        package.__path__.append(str(folder / "testbed" / place))
    try:
        yield
    finally:
        for package, place in zip(PACKAGES, _PLACES, strict=True):
            package.__path__.remove(str(folder / "testbed" / place))
        for path in plugins():
            name = path.removesuffix(".py").replace("/", ".")
            sys.modules.pop(name, None)
            vars(sys.modules[name.rpartition(".")[0]]).pop(name.rpartition(".")[2], None)
