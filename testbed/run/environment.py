"""Owns what is recorded of the surroundings of a cell: host, tools, kernels, image, guests' start."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from pathlib import Path
from typing import Any

from testbed import proc, store
from testbed.clock import NS, now_ns, wall_clock
from testbed.errors import TestbedError
from testbed.images import BuiltImage
from testbed.kernels import BuiltKernel
from testbed.model import Plan
from testbed.paths import PROJECT
from testbed.run.lab import Lab


def describe(plan: Plan, kernels: dict[str, BuiltKernel], image: BuiltImage, lab: Lab) -> dict[str, Any]:
    """For `environment.json`: enough to tell two runs apart, and to do one again."""
    return {
        "command": shlex.join(["testbed", *sys.argv[1:]]),
        "commit": _commit(),
        "wall_clock": wall_clock(),
        "host": {
            "kernel": platform.release(),
            "cores": len(os.sched_getaffinity(0)),
            "load": list(os.getloadavg()),
            "python": platform.python_version(),
        },
        "hypervisor": lab.hypervisor.version,
        "accelerator": {"kind": lab.accelerator.kind, "why": lab.accelerator.why},
        "kernels": {key: _kernel(kernel) for key, kernel in kernels.items()},
        "image": json.loads((image.folder / "manifest.json").read_text()),
    }


def write_times(folder: Path, begun_ns: int) -> None:
    """How long the cell took in all, boot and clean-up included."""
    path = folder / store.ENVIRONMENT
    if path.exists():
        recorded = json.loads(path.read_text())
        recorded["cell_s"] = round((now_ns() - begun_ns) / NS, 2)
        store.write_json(path, recorded)


def _kernel(kernel: BuiltKernel) -> dict[str, Any]:
    return {
        "digest": kernel.digest,
        "release": kernel.release,
        "cmdline": kernel.cmdline,
        "confounders": list(kernel.confounders),
    }


def _commit() -> str:
    """The project's own commit, with a mark if the tree was changed; '' outside a checkout."""
    try:
        shown = proc.run(
            ["git", "-C", str(PROJECT), "describe", "--always", "--dirty"], timeout_s=10, check=False
        )
    except TestbedError:
        return ""
    return shown.stdout.strip() if shown.status == 0 else ""
