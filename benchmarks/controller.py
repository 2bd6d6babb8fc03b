"""The cost of control: plays one cell and compares the CPU time of the controller with that of the guests.

    python -m benchmarks.controller flood --kernel complete-rx

All arguments go to `testbed run`. Samples /proc/PID/stat of the controller, and of all processes below
it, from `cell.begin` to `judging.end`; the clean-up is the time from there to the controller's end.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.table import show
from testbed import history, store
from testbed.clock import NS, now_ns

EVERY_S = 0.5
TICKS = os.sysconf("SC_CLK_TCK")
HEAD = ("what", "CPU", "share of one core")


@dataclass(frozen=True)
class Sample:
    """CPU seconds since the start, by part."""

    t_ns: int
    controller_s: float
    helpers_s: float
    guests_s: float


def _processes() -> Iterator[tuple[int, int, str, float]]:
    """Process, parent, name, and its CPU seconds."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            text = (entry / "stat").read_text()
        except OSError:
            continue
        name, fields = text[text.index("(") + 1 : text.rindex(")")], text.rpartition(")")[2].split()
        yield int(entry.name), int(fields[1]), name, (int(fields[11]) + int(fields[12])) / TICKS


def sample(root: int, most: dict[int, tuple[str, float]]) -> Sample:
    """CPU time of `root` and of all below it. `most` keeps the last of those that have ended."""
    known = {pid: (parent, name, cpu_s) for pid, parent, name, cpu_s in _processes()}
    for pid, (_, name, cpu_s) in known.items():
        above, seen = pid, 0
        while above in known and above != root and seen < 64:
            above, seen = known[above][0], seen + 1
        if above == root or pid in most:
            most[pid] = (name, cpu_s)
    guests = sum(cpu_s for name, cpu_s in most.values() if name.startswith("qemu-system"))
    own = most.get(root, ("", 0.0))[1]
    return Sample(now_ns(), own, sum(cpu_s for _, cpu_s in most.values()) - guests - own, guests)


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        return
    with tempfile.TemporaryDirectory() as folder:
        argv = [sys.executable, "-m", "testbed", "run", *sys.argv[1:], "--into", folder]
        samples, ended_ns = _play(argv)
        log = history.read(next(Path(folder).glob(f"*/{store.HISTORY}")))
    begin, end = log.first("cell.begin"), log.first("judging.end")
    if begin is None or end is None:
        raise SystemExit("the cell did not come to its end: see above")
    _tell(samples, begin.t_ns, end.t_ns, ended_ns)


def _play(argv: list[str]) -> tuple[list[Sample], int]:
    samples, most = [], dict[int, tuple[str, float]]()
    child = subprocess.Popen(argv)
    while child.poll() is None:
        samples.append(sample(child.pid, most))
        time.sleep(EVERY_S)
    return samples, now_ns()


def _tell(samples: list[Sample], begin_ns: int, end_ns: int, ended_ns: int) -> None:
    inside = [one for one in samples if begin_ns <= one.t_ns <= end_ns]
    first, last = inside[0], inside[-1]
    wall_s = (last.t_ns - first.t_ns) / NS
    rows = []
    for name, field in (
        ("controller", "controller_s"),
        ("its helpers (broker, libvirtd, tools)", "helpers_s"),
        ("guests (QEMU)", "guests_s"),
    ):
        used_s = getattr(last, field) - getattr(first, field)
        rows.append([name, f"{used_s:.2f} s", f"{used_s / wall_s:.1%}"])
    show(HEAD, rows)
    print(f"\n{wall_s:.1f} s of the cell watched; judging.end to the controller's end, with judging and")
    print(f"reports: {(ended_ns - end_ns) / NS:.1f} s")


if __name__ == "__main__":
    main()
