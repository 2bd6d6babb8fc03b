"""Owns single patches: which files one touches, and what `patch` says when it does not apply."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from testbed import proc
from testbed.errors import BuildError, UsageError, at

MAX_PATCH_BYTES = 1 << 20
_HEADER = re.compile(r"(?:---|\+\+\+|rename from|rename to|copy from|copy to) ([^\t\n]+)")
_GIT = re.compile(r"diff --git (\S+) (\S+)")
_FILE = re.compile(r"(?:patching|checking) (?:file|symbolic link) (.+?)(?: \(.*\))?$")
_HUNK = re.compile(r"Hunk #(\d+) (?:FAILED|ignored) at (\d+)")
_APPLIED = re.compile(r"^Reversed \(or previously applied\) patch detected")
_MISSING = re.compile(r"can't find file to patch|No file to patch")


def _check_path(name: str, *, strip: bool, where: str) -> str | None:
    """The path inside the tree; None for /dev/null. Refuses what would leave it."""
    name = name.strip().strip('"')
    if name == "/dev/null":
        return None
    parts = PurePosixPath(name).parts
    inside = parts[1:] if strip else parts
    if name.startswith("/") or ".." in parts or not inside or "\\" in name:
        raise UsageError(
            f"'{name}' leaves the kernel tree",
            hint="paths in a patch are relative, as `a/net/core/sock.c` (patch -p1)",
            where=where,
        )
    return "/".join(inside)


def targets(text: str, path: Path) -> tuple[str, ...]:
    """The files that a patch touches, in order. Refuses paths that leave the tree, and symlinks."""
    found: dict[str, None] = {}
    hunk_lines = 0
    for number, line in enumerate(text.splitlines(), 1):
        if hunk_lines > 0:
            hunk_lines -= {"\\": 0, "-": 1, "+": 1}.get(line[:1], 2)
            continue
        if shape := re.match(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@", line):
            hunk_lines = sum(int(count or 1) for count in shape.groups())
        elif line.startswith(("new file mode 12", "new mode 12")):
            raise UsageError("makes a symbolic link", hint="leave links alone", where=at(path, number))
        elif header := _HEADER.match(line):
            if name := _check_path(header.group(1), strip=line[0] in "-+", where=at(path, number)):
                found[name] = None
        elif git := _GIT.match(line):
            for name in git.groups():
                _check_path(name, strip=True, where=at(path, number))
    if not found:
        raise UsageError("touches no file", hint="a patch is a unified diff for patch -p1", where=str(path))
    return tuple(found)


def explain(output: str, path: Path) -> BuildError:
    """The error for what `patch` printed: names the patch, the file and the hunk."""
    file = ""
    for line in output.splitlines():
        if found := _FILE.match(line):
            file = found.group(1).strip("'")
        if _APPLIED.search(line):
            return BuildError(
                f"does not apply: {file} has its first hunk already",
                hint="another set of this kernel, or the base, brings the same change",
                where=str(path),
            )
        if found := _HUNK.search(line):
            return BuildError(
                f"does not apply: hunk #{found.group(1)} of {file} (at line {found.group(2)})",
                hint="refresh it against this base and the sets before it in the order given",
                where=str(path),
            )
        if _MISSING.search(line):
            return BuildError(
                "does not apply: the tree has no such file as it names",
                hint=f"patch says: {output.strip()[-300:]}",
                where=str(path),
            )
    return BuildError(f"does not apply: {output.strip()[-500:]}", where=str(path))


def patch_argv(path: Path, tree: Path) -> tuple[str, ...]:
    """The command that applies one patch; no fuzz, since a hunk in a wrong place would void results."""
    return (
        "patch", "-p1", "--batch", "--forward", "--fuzz=0", "--no-backup-if-mismatch",
        "--reject-file=-", f"--directory={tree}", f"--input={path}",
    )  # fmt: skip


def judge(done: proc.Completed, path: Path) -> None:
    """Reads what `patch` left: nothing if the patch applied, else BuildError with file and hunk."""
    if done.status == 0:
        return
    text = (done.stdout + done.stderr).strip()
    if "malformed patch" in text or "garbage" in text:
        raise BuildError(f"is not a patch: {text[-300:]}", where=str(path))
    raise explain(text, path)


def apply(path: Path, tree: Path) -> None:
    """Applies a patch to a tree in place. Raises BuildError with file and hunk if it does not fit."""
    judge(proc.run(patch_argv(path, tree), timeout_s=60, env={"LC_ALL": "C"}, check=False), path)
