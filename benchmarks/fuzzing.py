"""Mutates real consoles, histories and snapshots for a stated time: nothing may crash the judge, nor hang it.

`python -m benchmarks.fuzzing --minutes 60`. Prints how many inputs each target took, the slowest of them, and
every failure with the seed that makes it again; ends with 1 if there was one.
"""

from __future__ import annotations

import argparse
import json
import lzma
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from pydantic import ValidationError

from testbed import consoles, history, store
from testbed.judge import judge
from testbed.snapshot import Snapshot

ROOT = Path(__file__).parent.parent
ODD = (b"\n", b"\r", b"\x1b[2J", b"-1", b"99999999999999999999", b'"', b"[" * 40)
LONGEST_S = 10.0
"""No input of a few hundred KiB may take longer."""


@dataclass
class Tally:
    """What became of a target's inputs."""

    inputs: int = 0
    slowest_s: float = 0.0
    failures: int = 0


def mutated(data: bytes, rng: random.Random) -> bytes:
    """A few cuts, copies, flips and insertions: what a torn file or a hostile guest looks like."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if not found:
            return bytes(found)
        at, length = rng.randrange(len(found)), rng.choice((1, 4, 40, 400))
        kind = rng.randrange(5)
        if kind == 0:
            found[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del found[at : at + length]
        elif kind == 2:
            found[at:at] = found[rng.randrange(len(found)) :][:length]
        elif kind == 3:
            found[at:at] = rng.randbytes(rng.choice((1, 8)))
        else:
            found[at : at + 1] = rng.choice(
                (b"\n", b"\r", b"\x1b[2J", b"-1", b"99999999999999999999", b'"', b"[" * 40)
            )
    return bytes(found)


def targets() -> dict[str, Callable[[random.Random], None]]:
    """Each takes a source of chance, makes one input of it, and must come back."""
    packed = sorted((ROOT / "tests/data/consoles").glob("*.xz"))
    printed = [lzma.decompress(path.read_bytes()) for path in packed]
    cells = [path for path in sorted((ROOT / "results/summaries/corpus").iterdir()) if path.is_dir()]
    evidence = [store.read_evidence(cell) for cell in cells]
    looked = [(cell, one) for cell, one in zip(cells, evidence, strict=True) if one.snapshots]
    written = [(cell / store.HISTORY).read_bytes() for cell in cells]

    def console(rng: random.Random) -> None:
        consoles.read(mutated(rng.choice(printed), rng))

    def log(rng: random.Random) -> None:
        number = rng.randrange(len(cells))
        with tempfile.NamedTemporaryFile() as file:
            file.write(mutated(written[number], rng))
            file.flush()
            read = history.read(Path(file.name))
        judge(replace(evidence[number], history=read))

    def graph(rng: random.Random) -> None:
        cell, one = rng.choice(looked)
        snapshots = []
        for path in sorted(cell.glob("snapshot-*.json")):
            try:
                snapshots.append(Snapshot.model_validate_json(mutated(path.read_bytes(), rng)))
            except ValidationError:
                snapshots.append(_shuffled(json.loads(path.read_bytes()), rng))
        judge(replace(one, snapshots=tuple(snapshots)))

    return {"console": console, "history": log, "graph": graph}


def _shuffled(found: dict[str, object], rng: random.Random) -> Snapshot:
    """A snapshot of the right shape with parts of it left out or given to others."""
    for key in ("tasks", "requests", "sockets", "nics", "zones", "locks"):
        items = found[key]
        assert isinstance(items, list)
        if items and rng.random() < 0.5:
            found[key] = rng.sample(items, rng.randrange(len(items) + 1))
    return Snapshot.model_validate(found)


@contextmanager
def limited() -> Iterator[None]:
    def late(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"took longer than {LONGEST_S:g} s")

    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, LONGEST_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    wish = parser.parse_args()
    known = targets()
    tallies = {name: Tally() for name in known}
    end = time.monotonic() + wish.minutes * 60
    seed = wish.seed
    while time.monotonic() < end:
        seed += 1
        for name, target in known.items():
            begun = time.process_time()
            try:
                with limited():
                    target(random.Random(f"{name} {seed}"))
            except Exception as error:
                tallies[name].failures += 1
                print(f"{name} --seed {seed - 1}: {type(error).__name__}: {str(error)[:300]}", flush=True)
            tallies[name].inputs += 1
            tallies[name].slowest_s = max(tallies[name].slowest_s, time.process_time() - begun)
    for name, tally in tallies.items():
        took = f"slowest {tally.slowest_s:.2f} s of CPU"
        print(f"{name}: {tally.inputs} inputs, {took}, {tally.failures} failures")
    return 1 if any(tally.failures for tally in tallies.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
