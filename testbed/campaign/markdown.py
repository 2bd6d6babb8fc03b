"""Owns what pages in Markdown have in common: links to files, and text that is shown as it is."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote


def to(path: Path, folder: Path) -> str:
    """A link from a file in `folder`."""
    return quote(Path(os.path.relpath(path, folder)).as_posix(), safe="/+@=,")


def safe(text: str) -> str:
    """Text that Markdown shows as it is, in a table too."""
    for sign in "\\`*_|<[":
        text = text.replace(sign, f"\\{sign}")
    return text
