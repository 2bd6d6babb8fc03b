"""Spoils real consoles, histories and looks for a stated time: none may crash what reads it, nor hang it.

One hour: `python -m benchmarks.fuzzing --minutes 60`, with another `--seed` for other inputs. A failure
again: `--minutes 0` and the seed that is printed with it. The judge goes on after a detector that failed, and
says `unknown`: that is a failure here, as are an exception and too long a time. Prints each kind of failure
once, and for each target how many inputs it took, how many of them came as far as what is looked for (reports
in the console, a judging window in the history, edges in the graphs of two looks), and the slowest; ends with
1 if there was a failure.
"""

from __future__ import annotations

import argparse
import lzma
import random
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

from pydantic import ValidationError

from benchmarks.mutating import mutated, mutated_history, mutated_look
from testbed import consoles, history, store
from testbed.judge import Verdict, judge
from testbed.snapshot import Snapshot
from testbed.waitfor import next_retransmission_ns, single_cycle, wait_for_graph

ROOT = Path(__file__).parent.parent
CORPUS = ROOT / "results/summaries/corpus"
LONGEST_S = 10.0
"""Of CPU: no input of a few hundred KiB may take more."""

Target = Callable[[random.Random], bool]
"""Makes one input of chance, and must come back: with whether it came as far as what is looked for."""


class Unknown(Exception):
    """A detector failed, and the judge went on."""


class TooLate(BaseException):
    """No Exception: the judge would take it for a failure of the detector in which it comes."""


@dataclass
class Tally:
    """What became of a target's inputs. `kinds` are its failures, but for the numbers in them."""

    inputs: int = 0
    reached: int = 0
    slowest_s: float = 0.0
    failures: int = 0
    kinds: set[str] = field(default_factory=set)


def judged(evidence: store.Evidence) -> Verdict:
    """The verdict; raises Unknown where a detector failed."""
    verdict = judge(evidence)
    failed = [finding.statement for finding in verdict.findings if finding.says == "unknown"]
    if failed:
        raise Unknown(failed[0])
    verdict.model_dump_json()
    return verdict


def console_target(printed: Sequence[bytes]) -> Target:
    def console(rng: random.Random) -> bool:
        return bool(consoles.read(mutated(rng.choice(printed), rng)).reports)

    return console


def history_target(cells: Sequence[Path]) -> Target:
    evidence = [store.read_evidence(cell) for cell in cells]
    written = [(cell / store.HISTORY).read_bytes() for cell in cells]
    lines = [data.splitlines(keepends=True) for data in written]

    def log(rng: random.Random) -> bool:
        number = rng.randrange(len(cells))
        torn = rng.random() < 0.5
        with tempfile.NamedTemporaryFile() as file:
            file.write(mutated(written[number], rng) if torn else mutated_history(lines[number], rng))
            file.flush()
            read = history.read(Path(file.name))
        return judged(replace(evidence[number], history=read)).observed_s is not None

    return log


def graph_target(cells: Sequence[Path]) -> Target:
    looked = [one for one in map(store.read_evidence, cells) if len(one.snapshots) > 1]

    def graph(rng: random.Random) -> bool:
        one = rng.choice(looked)
        looks = rng.sample(one.snapshots, rng.choice((2, 2, 2, len(one.snapshots))))
        spoiled = spoil(sorted(looks, key=lambda look: look.taken_ns), rng)
        edges = 0
        for look in spoiled:
            alone = wait_for_graph(look)
            single_cycle(alone)
            next_retransmission_ns(look, frozenset(one.judging.devices))
            edges += bool(alone.edges)
        found = judged(replace(one, snapshots=spoiled, damaged_snapshots=len(looks) - len(spoiled)))
        return found.examination is not None and edges > 1

    return graph


def spoil(looks: Sequence[Snapshot], rng: random.Random) -> tuple[Snapshot, ...]:
    """Half of the times alike, so that what is wrong is wrong in all; one in ten as torn files."""
    torn, alike, seed = rng.random() < 0.1, rng.random() < 0.5, rng.random()
    found = []
    for look in looks:
        chance = random.Random(seed) if alike else rng
        try:
            found.append(
                Snapshot.model_validate_json(mutated(look.model_dump_json().encode(), chance))
                if torn
                else mutated_look(look, chance)
            )
        except ValidationError:
            continue
    return tuple(sorted(found, key=lambda look: look.taken_ns))


def targets() -> dict[str, Target]:
    """All, on the recorded consoles and the corpus of cells."""
    packed = sorted((ROOT / "tests/data/consoles").glob("*.xz"))
    cells = [path for path in sorted(CORPUS.iterdir()) if path.is_dir()]
    return {
        "console": console_target([lzma.decompress(path.read_bytes()) for path in packed]),
        "history": history_target(cells),
        "graph": graph_target(cells),
    }


@contextmanager
def limited(limit_s: float) -> Iterator[None]:
    """Raises TooLate in what takes more of the processor's time, whatever else the host does."""

    def late(_number: int, _frame: FrameType | None) -> None:
        raise TooLate(f"took more than {limit_s:g} s of CPU")

    signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def play(name: str, target: Target, seed: int, tally: Tally, limit_s: float = LONGEST_S) -> str:
    """Plays one input into the tally; what is to be said of it: of a failure of a new kind, else nothing."""
    begun, failure = time.process_time(), ""
    try:
        with limited(limit_s):
            tally.reached += target(random.Random(f"{name} {seed}"))
    except (Exception, TooLate) as error:
        failure = f"{type(error).__name__}: {str(error)[:300]}"
    tally.inputs += 1
    tally.slowest_s = max(tally.slowest_s, time.process_time() - begun)
    kind = re.sub(r"\d+", "N", failure)
    if not failure:
        return ""
    tally.failures += 1
    new = kind not in tally.kinds
    tally.kinds.add(kind)
    return f"{name} --seed {seed}: {failure}" if new else ""


def run(known: Mapping[str, Target], minutes: float, seed: int) -> dict[str, Tally]:
    """At least one input for each target."""
    tallies = {name: Tally() for name in known}
    end = time.monotonic() + minutes * 60
    while True:
        for name, target in known.items():
            if said := play(name, target, seed, tallies[name]):
                print(said, flush=True)
        seed += 1
        if time.monotonic() >= end:
            return tallies


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    wish = parser.parse_args()
    tallies = run(targets(), wish.minutes, wish.seed)
    for name, tally in tallies.items():
        took = f"slowest {tally.slowest_s:.2f} s of CPU"
        print(f"{name}: {tally.inputs} inputs, {tally.reached} reached, {took}, {tally.failures} failures")
    return 1 if any(tally.failures for tally in tallies.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
