"""How long three guests take to be ready, from an existing image: agent up, SSH answering.

python -m benchmarks.ready --times 5
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks.table import show, spread
from testbed.cli import inputs
from testbed.model import Plan
from testbed.run.cell import Inputs
from testbed.run.lab import Lab


def measure(plan: Plan, built: Inputs) -> tuple[float, float]:
    """Seconds until the lab is ready, and until nothing of it is left."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        with Lab(plan, built.kernels, built.image, Path(folder)) as lab:
            ready = time.monotonic()
            if len(lab.guests) != len(plan.machines):
                raise SystemExit("a machine has no SSH session")
        return ready - begun, time.monotonic() - ready


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--topology", default="abc")
    parser.add_argument("--kernel", default="stock")
    parser.add_argument("--times", type=int, default=5)
    wish = parser.parse_args()
    plan = inputs.idle_plan(wish.topology, wish.kernel, None, "auto")
    built = inputs.builder(quiet=True)(plan)
    pairs = [measure(plan, built) for _ in range(wish.times)]
    machines = f"{len(plan.machines)} machines, {wish.kernel}"
    rows = [
        [f"ready: {machines}", spread([ready for ready, _ in pairs], "s")],
        [f"torn down: {machines}", spread([down for _, down in pairs], "s")],
    ]
    show(["what", "time"], rows)


if __name__ == "__main__":
    main()
