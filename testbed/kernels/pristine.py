"""Owns small trees: of a base's source only the files that patches touch, to try patches without building."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from testbed import proc
from testbed.kernels.source import Source

EXTRACT_S = 900.0


def _plain(name: str) -> str:
    """A path as a pattern that fits nothing else."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", name)


def lay_out(origin: Source, files: Iterable[str], tree: Path) -> None:
    """Puts those of `files` that the base has into `tree`, an empty folder."""
    wanted = sorted(set(files))
    if not wanted:
        return
    listing = tree.with_name(f"{tree.name}.list")
    # The top folder's name is the packer's: any one, followed by exactly this path.
    listing.write_text("".join(f"*/{_plain(name)}\n" for name in wanted))
    packer = ["-I", "xz -d -T0"] if origin.tarball.suffix == ".xz" else []
    argv = ["nice", "tar", "-x", *packer, "-f", str(origin.tarball), "-C", str(tree), "--strip-components=1"]
    argv += ["--no-same-owner", "--wildcards", "--anchored", "--no-wildcards-match-slash", "-T", str(listing)]
    # Files that a patch makes are not in the tarball, which tar calls a failure: what is missing shows later.
    done = proc.run(argv, timeout_s=EXTRACT_S, env={"LC_ALL": "C"}, check=False)
    missed = [line for line in done.stderr.splitlines() if "Not found in archive" not in line]
    if done.status not in (0, 2) or any("Exiting with failure" not in line for line in missed):
        raise proc.ProcessFailed(done)
