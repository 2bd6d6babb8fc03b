"""Owns the corpus as files: compressed consoles, and one line for each of what was done and must be found."""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from testbed.errors import TestbedFault

FOLDER = Path(__file__).parent.parent / "data" / "consoles"
EXPECTED = "expected.jsonl"
MOST_BYTES = 64 << 10
"""Of one compressed console."""

Entry = dict[str, Any]


def entries(folder: Path = FOLDER) -> list[Entry]:
    """What is expected of each console, by name."""
    path = folder / EXPECTED
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def console(entry: Entry, folder: Path = FOLDER) -> bytes:
    return lzma.decompress((folder / f"{entry['console']}.log.xz").read_bytes())


def consoles(folder: Path = FOLDER) -> Iterator[tuple[Entry, bytes]]:
    for entry in entries(folder):
        yield entry, console(entry, folder)


def add(entry: Entry, data: bytes, folder: Path = FOLDER) -> None:
    """Adds a console, or puts it in the place of the one that had its name."""
    folder.mkdir(parents=True, exist_ok=True)
    packed = lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)
    if len(packed) > MOST_BYTES:
        raise TestbedFault(
            f"{entry['console']}: {len(packed)} bytes are more than {MOST_BYTES}",
            hint="watch it for less long, or print less noise",
        )
    (folder / f"{entry['console']}.log.xz").write_bytes(packed)
    kept = {one["console"]: one for one in entries(folder)} | {entry["console"]: entry}
    text = "".join(json.dumps(kept[name], ensure_ascii=False) + "\n" for name in sorted(kept))
    (folder / EXPECTED).write_text(text)
