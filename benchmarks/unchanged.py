"""What it costs to ask for kernels and an image that are there already.

python -m benchmarks.unchanged stock vanilla-2007 complete-rx debian
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from benchmarks.table import show, spread
from testbed import images, kernels

TIMES = 5


def seconds(deed: Callable[[], object]) -> list[float]:
    """Wall time of each of TIMES calls; the first also pays for what a process reads once."""
    taken = []
    for _ in range(TIMES):
        begun = time.perf_counter()
        deed()
        taken.append(time.perf_counter() - begun)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("kernels", nargs="*", default=["stock"])
    rows = []
    deeds: list[tuple[str, Callable[[], object]]] = [
        (f"kernel {name}", lambda name=name: kernels.build(kernels.resolve(name)))  # type: ignore[misc]
        for name in parser.parse_args().kernels
    ]
    for name, deed in (*deeds, ("guest image", images.build)):
        first, *rest = seconds(deed)
        rows.append([name, f"{first * 1e3:.0f} ms", spread([each * 1e3 for each in rest], "ms", 1)])
    show(["what", "first in a process", "after that"], rows)


if __name__ == "__main__":
    main()
