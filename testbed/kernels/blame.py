"""Owns laying a compiler's error to the patch that brought it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence

from testbed.kernels import patchfile
from testbed.kernels.compile import CompileError
from testbed.kernels.patchset import Patch, PatchSet
from testbed.kernels.workspace import Workspace


@contextlib.contextmanager
def told_by(sets: Sequence[PatchSet], space: Workspace) -> Iterator[None]:
    """Inside, a compiler's error names the patch that brought the line it is about."""
    try:
        yield
    except CompileError as error:
        raise _with_patch(error, sets, space) from error


def _with_patch(error: CompileError, sets: Sequence[PatchSet], space: Workspace) -> CompileError:
    file, line = error.file, error.line
    source = space.built(file) if file else None
    text = ""
    if source is not None and source.is_file():
        lines = source.read_text(errors="replace").splitlines()
        text = lines[line - 1] if 0 < line <= len(lines) else ""
    guilty, why = blame(sets, file, text, error.message)
    if guilty is None:
        return error
    return CompileError(error.message, file, line, hint=error.hint, where=f"{guilty.path} ({why})")


def blame(sets: Sequence[PatchSet], file: str, line: str, message: str) -> tuple[Patch | None, str]:
    """The patch that an error is to be laid to, and what speaks for it; the later one comes first."""
    patches = [patch for each in reversed(sets) for patch in reversed(each.patches)]
    mine = [patch for patch in patches if file in patch.touches]
    for patch in mine:
        if line.strip() and any(line == added for added in _added(patch, file)):
            return patch, "it adds the line"
    symbols = [word for word in re.findall(r"['`]([A-Za-z_]\w+)", message) if len(word) > 2]
    for patch in patches:
        changed = patch.text()
        for symbol in symbols:
            if re.search(rf"^[+-].*\b{symbol}\b", changed, re.MULTILINE):
                return patch, f"it changes a line with '{symbol}'"
    return (mine[0], "it is the last that touches the file") if mine else (None, "")


def _added(patch: Patch, file: str) -> list[str]:
    content = patchfile.read(patch.text(), patch.path)
    return [line for hunk in content.hunks if hunk.target == file for line in hunk.adds]
