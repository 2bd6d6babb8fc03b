"""Owns applying patches to a tree, and saying in words which hunk did not go in and why.

`python -P -m testbed.kernels.applying SHA256:FILE...` applies them to the current folder in that order, and
prints a line of JSON for each: so that a series costs one workspace, not one for each patch.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from testbed import proc
from testbed.errors import BuildError, TestbedError, TestbedFault, at
from testbed.kernels import patchfile
from testbed.kernels.patchset import PatchSet, read_as_hashed
from testbed.kernels.progress import Progress
from testbed.kernels.workspace import Workspace

APPLY_S = 60.0
MAX_FUZZ = 3
_FILE = re.compile(r"(?:patching|checking) (?:file|symbolic link) (.+?)(?: \(.*\))?$")
_HUNK = re.compile(r"Hunk #(\d+) (?:FAILED|ignored) at (\d+)")
_APPLIED = re.compile(r"^Reversed \(or previously applied\) patch detected")
_MISSING = re.compile(r"can't find file to patch|No file to patch")
_MALFORMED = re.compile(r"malformed patch at line (\d+)|Only garbage was found")


def _patch(content: patchfile.Content, tree: Path, *words: str, fuzz: int = 0) -> proc.Completed:
    """Applies what was read of a patch; no fuzz, since a hunk in a wrong place would void results."""
    argv = (
        "patch", "-p1", "--batch", "--forward", f"--fuzz={fuzz}", "--no-backup-if-mismatch",
        "--reject-file=-", *words,
    )  # fmt: skip
    diff = content.diff.encode(errors="surrogateescape")
    return proc.run(argv, timeout_s=APPLY_S, env={"LC_ALL": "C"}, check=False, cwd=tree, stdin=diff)


def apply(text: str, path: Path, tree: Path) -> None:
    """Applies a patch to a tree in place: all of it, or nothing and BuildError with `path` and hunk."""
    content = patchfile.read(text, path)
    for words in (("--dry-run",), ()):
        done = _patch(content, tree, *words)
        if done.status != 0:
            raise _explained(done, content, path, tree)


def _explained(done: proc.Completed, content: patchfile.Content, path: Path, tree: Path) -> BuildError:
    """The error for what `patch` printed: names the patch, the file and the hunk."""
    text = (done.stdout + done.stderr).strip()
    if found := _MALFORMED.search(text):
        number = int(found.group(1)) if found.group(1) else None
        return BuildError(f"is not a patch: {text[-300:]}", where=at(path, number))
    file = ""
    for line in text.splitlines():
        if head := _FILE.match(line):
            file = head.group(1).strip("'")
        if _APPLIED.search(line):
            return BuildError(
                f"does not apply: {file} has its first hunk already",
                hint="another set of this kernel, or the base, brings the same change",
                where=str(path),
            )
        if hunk := _HUNK.search(line):
            return _failed_hunk(content, path, tree, file, int(hunk.group(1)), int(hunk.group(2)))
        if _MISSING.search(line):
            return BuildError(
                "does not apply: the tree has no such file as it names",
                hint=f"is it for another base? patch says: {text[-300:]}",
                where=str(path),
            )
    return BuildError(f"does not apply: {text[-500:]}", where=str(path))


def _failed_hunk(
    content: patchfile.Content, path: Path, tree: Path, file: str, number: int, line: int
) -> BuildError:
    hunk = next((one for one in content.hunks if (one.target, one.number) == (file, number)), None)
    fuzz = _fuzz(content, tree)
    if fuzz:
        why = f"; it would go in with fuzz {fuzz}, which means with other lines around it than it names"
    else:
        why = f": {difference(hunk, tree) or 'its lines are there more than once'}" if hunk else ""
    return BuildError(
        f"does not apply: hunk #{number} of {file} (at line {line}){why}",
        hint="refresh it against this base and the sets before it in the order given",
        where=at(path, hunk.patch_line if hunk else None),
    )


def _fuzz(content: patchfile.Content, tree: Path) -> int:
    """With how much fuzz the whole patch would go in; 0 if with none that `patch` knows."""
    for fuzz in range(1, MAX_FUZZ + 1):
        if _patch(content, tree, "--dry-run", fuzz=fuzz).status == 0:
            return fuzz
    return 0


def difference(hunk: patchfile.Hunk, tree: Path) -> str | None:
    """In words, the first line that a hunk expects and the tree does not have; None if all are there."""
    wanted = hunk.expects
    try:
        lines = (tree / hunk.target).read_bytes().decode(errors="surrogateescape").split("\n")
    except OSError:
        return f"the tree has no {hunk.target}" if wanted else None
    start = _best_place(wanted, lines, hunk.old_line - 1)
    here = [lines[at] if 0 <= at < len(lines) else None for at in range(start, start + len(wanted))]
    differ = [offset for offset, line in enumerate(wanted) if here[offset] != line]
    if not differ:
        return None
    # A line that says something tells more than an empty one.
    offset = next((offset for offset in differ if wanted[offset].strip()), differ[0])
    there = here[offset]
    found = "the file ends" if there is None else f"there is {there.strip()[:120]!r}"
    return f"it expects {wanted[offset].strip()[:120]!r} at line {start + offset + 1}, where {found}"


def _best_place(wanted: Sequence[str], lines: Sequence[str], near: int) -> int:
    """Where most of the wanted lines are, one below the other; of equals the nearest to `near`."""

    def like(start: int) -> tuple[int, int]:
        same = sum(
            0 <= start + offset < len(lines) and lines[start + offset] == line
            for offset, line in enumerate(wanted)
        )
        return same, -abs(start - near)

    return max(range(-2, max(len(lines), 1)), key=like)


def apply_sets(space: Workspace, sets: Sequence[PatchSet], progress: Progress) -> None:
    """Applies all patches in order, inside the workspace."""
    patches = [f"{patch.sha256}:{patch.path}" for each in sets for patch in each.patches]
    if not patches:
        return
    names = ", ".join(f"{each.name} ({len(each.patches)})" for each in sets)
    progress(f"applying {names}", None)
    argv = [sys.executable, "-P", "-m", "testbed.kernels.applying", *patches]
    done = space.run(argv, timeout_s=APPLY_S + 5.0 * len(patches), check=False)
    for line in done.stdout.splitlines():
        said = json.loads(line)
        if "error" in said:
            raise BuildError(said["error"], hint=said["hint"], where=said["where"])
    if done.status != 0:
        raise TestbedFault(f"applying patches failed: {done.stderr.strip()[-500:]}")


def main(words: Sequence[str]) -> int:
    for word in words:
        sha256, _, name = word.partition(":")
        try:
            apply(read_as_hashed(Path(name), sha256), Path(name), Path())
        except TestbedError as error:
            print_line({"error": error.message, "hint": error.hint, "where": error.where})
            return 1
        print_line({"applied": name})
    return 0


def print_line(value: dict[str, str]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
