"""How fast is a patched kernel, against `make` in a tree that is built and patched already?

    python -m benchmarks.building [SET [SET]]       (tcp-strict no-reclaim-throttle)

The base must be built before, and the kernel `debian`. ccache is told to look nothing up, so that both sides
compile. A build by the testbed has all in it: cloning the tree, applying the patches, settling the
configuration, compiling, keeping. `make` has a copy of the built tree, patched before its time begins. Twice,
in opposite orders. Then two sets one after the other, and both at once; and what is unchanged, by a process
of its own. Ends with 1 if a bound is not kept.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.table import show
from testbed import kernels, proc
from testbed.kernels import applying, builder, caches, compile, patchset, source, workspace
from testbed.kernels.naming import PATCHES
from testbed.kernels.progress import silent
from testbed.model import KernelSpec
from testbed.paths import cache_dir

BOUND = 1.3
AT_ONCE_BOUND = 1.05
"""Against one after the other; what is more than this is more than two builds differ by themselves."""
UNCHANGED_BOUND_S = 1.0
ROUNDS = 2


def _seconds(deed: Callable[[], Any]) -> float:
    began = time.monotonic()
    deed()
    return time.monotonic() - began


def _forget(spec: KernelSpec) -> None:
    caches.kernel_store().drop(kernels.digest(spec))


def _copy(spec: KernelSpec, scratch: Path) -> workspace.Workspace:
    """A copy of the base's built tree with the set's patches applied, at the place where it was built."""
    tree = scratch / "linux"
    shutil.rmtree(tree, ignore_errors=True)
    proc.run(["cp", "-a", str(builder.base_tree(spec)), str(tree)], timeout_s=1800)
    space = workspace.Workspace(workspace.place(cache_dir(), scratch), tree=tree)
    applying.apply_sets(space, [patchset.load(name, PATCHES, spec.base) for name in spec.sets], silent)
    return space


def _make(space: workspace.Workspace) -> None:
    argv = compile.make_argv(space, cache_dir() / "ccache", "bzImage")
    space.run(argv, timeout_s=3600)


def _against_make(spec: KernelSpec) -> tuple[list[float], list[float]]:
    ours, plain = [], []
    with tempfile.TemporaryDirectory(prefix="testbed-benchmark-", dir=cache_dir()) as scratch:
        for number in range(ROUNDS):
            for which in ("ours", "make") if number % 2 == 0 else ("make", "ours"):
                if which == "ours":
                    _forget(spec)
                    ours.append(_seconds(lambda: kernels.build(spec)))
                else:
                    space = _copy(spec, Path(scratch))
                    plain.append(_seconds(lambda space=space: _make(space)))  # type: ignore[misc]
    return ours, plain


def _both(specs: list[KernelSpec], workers: int) -> float:
    for spec in specs:
        _forget(spec)
    with ThreadPoolExecutor(workers) as pool:
        return _seconds(lambda: list(pool.map(kernels.build, specs)))


def _unchanged(name: str) -> float:
    """The median of three processes: each begins with nothing."""
    argv = [sys.executable, "-m", "testbed", "build", name]
    return statistics.median(_seconds(lambda: proc.run(argv, timeout_s=60)) for _ in range(3))


def main() -> None:
    names = [*sys.argv[1:], "tcp-strict", "no-reclaim-throttle"][:2]
    specs = [kernels.resolve(name) for name in names]
    plain_environment = compile._environment

    def compiling(space: workspace.Workspace, ccache: Path) -> list[str]:
        return [*plain_environment(space, ccache), "CCACHE_RECACHE=1"]

    compile._environment = compiling
    print(f"bases: {source.find(specs[0].base).version}; {source.cpus()} processors; {source.toolchain()}")
    ours, plain = _against_make(specs[0])
    ratio = statistics.median(ours) / statistics.median(plain)
    one_by_one, at_once = _both(specs, 1), _both(specs, 2)
    unchanged, debian = _unchanged(names[0]), _unchanged("debian")
    rows = [
        (f"{names[0]}, built by the testbed", ", ".join(f"{value:.1f} s" for value in ours)),
        (f"{names[0]}, make in a patched tree", ", ".join(f"{value:.1f} s" for value in plain)),
        ("ratio of the medians", f"{ratio:.2f} (bound {BOUND})"),
        (f"{' then '.join(names)}", f"{one_by_one:.1f} s"),
        (f"{' and '.join(names)} at once", f"{at_once:.1f} s (bound {AT_ONCE_BOUND * one_by_one:.1f})"),
        (f"{names[0]}, unchanged", f"{unchanged:.2f} s (bound {UNCHANGED_BOUND_S:g})"),
        ("debian, unchanged", f"{debian:.2f} s (bound {UNCHANGED_BOUND_S:g})"),
    ]
    show(("what", "took"), rows)
    slow = (ratio > BOUND, at_once > AT_ONCE_BOUND * one_by_one, max(unchanged, debian) > UNCHANGED_BOUND_S)
    sys.exit(any(slow))


if __name__ == "__main__":
    main()
