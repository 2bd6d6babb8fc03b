"""Owns the inside of a workspace: mounts the tree at its fixed path and runs one command there.

Run as `python -P inside.py JSON -- ARGV...` as PID 1 of fresh user, mount and PID
namespaces; everything in them ends when the lifeline (a pipe's read end) reaches its end.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

from testbed import proc
from testbed.errors import TestbedError

CANNOT_MOUNT = 90


def _mount(*arguments: str) -> None:
    proc.run(["mount", *arguments], timeout_s=60)


def _mount_tree(order: dict[str, str]) -> Path:
    """Mounts the tree at `order["at"]`/linux; lower, upper and work may lie anywhere but below it."""
    at = Path(order["at"])
    _mount("-t", "tmpfs", "-o", "size=1m,mode=0755", "testbed", str(at))
    tree = at / "linux"
    tree.mkdir()
    if "lower" in order:
        layers = ",".join(f"{layer}dir={order[layer]}" for layer in ("lower", "upper", "work"))
        _mount("-t", "overlay", "-o", f"{layers},userxattr", "testbed", str(tree))
    else:
        _mount("--bind", order["tree"], str(tree))
    return tree


def _watch(lifeline: int) -> None:
    while os.read(lifeline, 1):
        pass
    os._exit(1)


def main() -> None:
    """Exits with the command's status, or with CANNOT_MOUNT."""
    order: dict[str, str] = json.loads(sys.argv[1])
    argv = sys.argv[sys.argv.index("--") + 1 :]
    threading.Thread(target=_watch, args=(int(order["lifeline"]),), daemon=True).start()
    try:
        tree = _mount_tree(order)
    except (TestbedError, OSError) as error:
        sys.stderr.write(f"cannot mount the tree: {error}\n")
        sys.exit(CANNOT_MOUNT)
    child = os.posix_spawnp("env", ["env", "-C", str(tree), *argv], os.environ)
    while True:
        pid, status = os.wait()
        if pid == child:
            sys.exit(os.waitstatus_to_exitcode(status) & 0xFF)


if __name__ == "__main__":
    main()
