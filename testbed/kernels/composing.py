"""Owns compositions: `A+B-C` as a list of sets, and where sets get into each other's way, hunk by hunk."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import BuildError, UsageError, nearest
from testbed.kernels import applying, patchfile, patchset, pristine, source
from testbed.kernels.patchset import Patch, PatchSet
from testbed.kernels.progress import Progress, silent

MAX_TERMS = 64
MAX_CONFLICTS = 50


@dataclass(frozen=True, slots=True)
class Conflict:
    """A hunk that does not go in, what it finds instead, and which patch before it changed the place.

    Without a patch it is one that a set.toml states.
    """

    patch: str
    file: str
    hunk: int
    where: str
    says: str
    because_of: str


@dataclass(frozen=True, slots=True)
class Composition:
    """Sets in order, files that several touch, what did not go in, and what therefore was not tried."""

    sets: tuple[PatchSet, ...]
    shared: dict[str, tuple[str, ...]]
    conflicts: tuple[Conflict, ...]
    untried: int


def parse(text: str, known: Sequence[str]) -> list[tuple[bool, str]]:
    """`A+B-C` as (taken?, name). A name may itself have a `-`: of known names the longest is meant."""
    terms: list[tuple[bool, str]] = []
    taken, rest = True, text
    while True:
        fits = [name for name in known if rest == name or rest.startswith((f"{name}+", f"{name}-"))]
        if not fits:
            wrong = rest.partition("+")[0]
            raise UsageError(f"no kernel '{wrong}'", hint=nearest(wrong, known), where=text)
        name = max(fits, key=len)
        terms.append((taken, name))
        if len(terms) > MAX_TERMS:
            raise UsageError(f"more than {MAX_TERMS} sets", where=text[:200])
        if rest == name:
            return terms
        taken, rest = rest[len(name)] == "+", rest[len(name) + 1 :]


def expand(terms: Sequence[tuple[bool, str]], root: Path, where: str) -> tuple[str, ...]:
    """The sets' names in order: a composition stands for the sets that it names, and `-C` takes C out."""
    names: list[str] = []
    for taken, name in terms:
        members = _members(name, root)
        for member in members:
            if taken:
                names.append(member)
            elif member in names:
                names.remove(member)
            else:
                raise UsageError(f"'{member}' can not be taken out: it is not in", where=where)
    return tuple(names)


def _members(name: str, root: Path) -> tuple[str, ...]:
    if name == "stock":
        return ()
    return patchset.about(name, root).sets or (name,)


def compose(sets: Sequence[PatchSet], base: str, progress: Progress = silent) -> Composition:
    """Applies sets one after the other to the files of a base that they touch; tells what does not go in.

    What their set.toml files say against it comes first.
    """
    stated = [Conflict("", "", 0, said.where, said.message, "") for said in patchset.objections(sets, base)]
    sets = list({each.name: each for each in sets}.values())
    touched: dict[str, list[str]] = {}
    for each in sets:
        for name in dict.fromkeys(name for patch in each.patches for name in patch.touches):
            touched.setdefault(name, []).append(each.name)
    shared = {name: tuple(those) for name, those in sorted(touched.items()) if len(those) > 1}
    with tempfile.TemporaryDirectory(prefix="testbed-compose-") as scratch:
        tree = Path(scratch) / "tree"
        tree.mkdir()
        progress(f"laying out {len(touched)} files of {base}", None)
        pristine.lay_out(source.find(base, progress), touched, tree)
        conflicts, untried = _apply(sets, tree, progress)
    return Composition(tuple(sets), shared, (*stated, *conflicts), untried)


def _apply(sets: Sequence[PatchSet], tree: Path, progress: Progress) -> tuple[list[Conflict], int]:
    order = [(each.name, patch) for each in sets for patch in each.patches]
    before: list[tuple[str, Patch]] = []
    for name, patch in order:
        progress(f"applying {name}", len(before) / len(order))
        try:
            applying.apply(patch.text(), patch.path, tree)
        except BuildError as error:
            return _conflicts(name, patch, tree, before, error), len(order) - len(before) - 1
        before.append((name, patch))
    return [], 0


def _conflicts(
    name: str, patch: Patch, tree: Path, before: Sequence[tuple[str, Patch]], error: BuildError
) -> list[Conflict]:
    """Every hunk of the patch that does not find its lines; the error itself if that tells no hunk."""
    content = patchfile.read(patch.text(), patch.path)
    found = []
    for hunk in content.hunks:
        says = applying.difference(hunk, tree)
        if says is None:
            continue
        where = f"{patch.name}:{hunk.patch_line}"
        guilty = _who_changed(hunk, before)
        found.append(Conflict(f"{name}/{patch.name}", hunk.target, hunk.number, where, says, guilty))
    if found:
        return found[:MAX_CONFLICTS]
    return [Conflict(f"{name}/{patch.name}", "", 0, patch.name, error.message, "")]


def words(conflict: Conflict) -> str:
    """A conflict in one sentence."""
    if not conflict.patch:
        return conflict.says
    if not conflict.hunk:
        return f"{conflict.patch}: {conflict.says}"
    because = f"; {conflict.because_of} changed that place" if conflict.because_of else ""
    place = (
        f"hunk #{conflict.hunk} of {conflict.file} (line {conflict.where.rpartition(':')[2]} of the patch)"
    )
    return f"{conflict.patch}: {place}: {conflict.says}{because}"


def _who_changed(hunk: patchfile.Hunk, before: Sequence[tuple[str, Patch]]) -> str:
    """The last patch before that took a line which the hunk expects, or put one between; "" if none."""
    expects = {line.strip() for line in hunk.expects if line.strip()}
    for name, patch in reversed(before):
        if hunk.target not in patch.touches:
            continue
        for other in patchfile.read(patch.text(), patch.path).hunks:
            removed = {line[1:].strip() for line in other.body if line.startswith("-")} - {""}
            around = {line.strip() for line in other.expects} - {""}
            if other.target == hunk.target and (
                removed & expects or (other.adds and len(around & expects) > 1)
            ):
                return f"{name}/{patch.name}"
    return ""
