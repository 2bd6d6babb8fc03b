"""Owns building kernels: names to specs, specs to digests, digests to folders of the cache."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from testbed.errors import UsageError, nearest
from testbed.kernels import compile as compiling
from testbed.kernels import config, patchset, prebuilt, record, source, store, voiding, workspace
from testbed.kernels.compile import Made, Progress
from testbed.kernels.record import BuiltKernel, KernelRecord
from testbed.model import KernelSpec
from testbed.paths import cache_dir

BUILDER = "1"
"""To be raised when the builder makes something else of the same inputs."""
DEFAULT_BASE = "6.1"
FRAGMENT = Path(__file__).with_name("guest.config")
PATCHES = workspace.PACKAGE_ROOT / "kernel-patches"
DEFAULT_CACHE_BYTES = 12 << 30
GUESSED_OBJECTS = 20


def _silent(_: str, __: float | None) -> None:
    """No progress wanted."""


def kernel_store() -> store.Store:
    return store.Store(cache_dir() / "kernels")


def tree_store() -> store.Store:
    return store.Store(cache_dir() / "trees")


def names(root: Path = PATCHES) -> tuple[str, ...]:
    """All that may stand before the `@` of a kernel's name."""
    return ("debian", "stock", *patchset.known(root))


def resolve(name: str, root: Path = PATCHES) -> KernelSpec:
    """`SET[+SET...][@BASE]`, `stock`, or `debian`. Raises UsageError with the nearest right name."""
    wanted, _, base = name.partition("@")
    base = base or DEFAULT_BASE
    parts = tuple(wanted.split("+"))
    for part in parts:
        if part not in names(root):
            raise UsageError(f"no kernel '{part}'", hint=nearest(part, names(root)), where=name)
    if "debian" in parts:
        if name != "debian":
            raise UsageError(
                "a prebuilt kernel takes no patches and no base", hint="write 'debian'", where=name
            )
        return KernelSpec(base="debian", prebuilt=True)
    sets = tuple(part for part in parts if part != "stock")
    patchset.check_together([patchset.load(each, root) for each in sets], base)
    return KernelSpec(base=base, sets=sets)


def _tree_inputs(origin: source.Source, fragments: Sequence[Path], place: Path) -> dict[str, str]:
    # The options alone: a better reason in a fragment must not cost everybody a build.
    options = "".join(config.config_text(config.parse_fragment(path.read_text(), path)) for path in fragments)
    return {
        "builder": BUILDER,
        "source": f"{origin.package} {origin.version}",
        "tarball": origin.sha256,
        "configuration": hashlib.sha256(options.encode()).hexdigest(),
        "toolchain": source.toolchain(),
        "place": str(place),
    }


def _place(root: Path) -> Path:
    return workspace.place(cache_dir(), root)


def _inputs(
    spec: KernelSpec, root: Path, fragments: Sequence[Path]
) -> tuple[dict[str, str], tuple[patchset.PatchSet, ...]]:
    """The words that decide what is built, and the sets read on the way."""
    sets = tuple(patchset.load(name, root) for name in spec.sets)
    patchset.check_together(sets, spec.base)
    inputs = _tree_inputs(source.find(spec.base), fragments, _place(root))
    patches = [f"{patch.path.name} {patch.sha256}" for each in sets for patch in each.patches]
    return inputs | {"patches": "\n".join(patches)}, sets


def hypothesis(spec: KernelSpec, playbook: str, *, root: Path = PATCHES) -> str | None:
    """What the kernel's one patch set expects of a playbook; nothing is said of several together."""
    if len(spec.sets) != 1:
        return None
    return patchset.load(spec.sets[0], root).about.expect.get(playbook)


def digest(spec: KernelSpec, *, root: Path = PATCHES, fragments: Sequence[Path] = (FRAGMENT,)) -> str:
    """The name of the kernel in the cache; builds nothing."""
    if spec.prebuilt:
        return record.digest_of(prebuilt.find().inputs())
    return record.digest_of(_inputs(spec, root, fragments)[0])


def cached(digest: str) -> BuiltKernel | None:
    """The kernel of that digest if it is in the cache: nothing is built."""
    folder = kernel_store().folder(digest)
    return record.read(folder) if (folder / "kernel.json").is_file() else None


def build(
    spec: KernelSpec,
    *,
    progress: Progress = _silent,
    allow_voiding: bool = False,
    root: Path = PATCHES,
    fragments: Sequence[Path] = (FRAGMENT,),
) -> BuiltKernel:
    """The kernel of `spec`, from the cache or built.

    `progress(stage, fraction or None)` is called from another thread as well. Raises BuildError for a
    patch that does not apply, a compiler's error and a configuration that voids results (unless
    `allow_voiding`), MissingCapability for what the host lacks.
    """
    kernels = kernel_store()

    def waiting() -> None:
        progress(f"waiting for another build of {spec.label}", None)

    if spec.prebuilt:
        package = prebuilt.find()
        name = record.digest_of(package.inputs())
        folder = kernels.obtain(name, lambda new: prebuilt.make(package, spec, name, new, progress), waiting)
        return record.read(folder)
    inputs, sets = _inputs(spec, root, fragments)
    name = record.digest_of(inputs)
    tree_inputs = {key: text for key, text in inputs.items() if key != "patches"}

    def make(folder: Path) -> None:
        base = _base_tree(spec, tree_inputs, root, fragments, progress, allow_voiding=allow_voiding)
        made = _make_kernel(spec, sets, base, folder, kernels.root / ".log" / f"{name}.log", progress, root)
        compiling.check(folder / "config", fragments, allow_voiding=allow_voiding)
        record.write(folder, _record(spec, name, inputs, made, folder))

    folder = kernels.obtain(name, make, waiting)
    # One that was built against the rules on purpose is refused to those who did not ask for it.
    compiling.check(folder / "config", fragments, allow_voiding=allow_voiding)
    return record.read(folder)


def _record(spec: KernelSpec, name: str, inputs: dict[str, str], made: Made, folder: Path) -> KernelRecord:
    text = (folder / "config").read_text()
    return KernelRecord(
        spec=spec,
        digest=name,
        inputs=inputs,
        compiler=source.toolchain(),
        release=made.release,
        confounders=voiding.confounders(config.parse_config(text)),
        modules=False,
        warnings=made.warnings,
        objects=made.objects,
        seconds=made.seconds,
    )


def base_tree(
    spec: KernelSpec,
    *,
    progress: Progress = _silent,
    root: Path = PATCHES,
    fragments: Sequence[Path] = (FRAGMENT,),
    allow_voiding: bool = False,
) -> Path:
    """The built tree of a kernel's base. Not to be written to: see `workspace.clone`."""
    inputs, _ = _inputs(spec, root, fragments)
    tree_inputs = {key: text for key, text in inputs.items() if key != "patches"}
    return _base_tree(spec, tree_inputs, root, fragments, progress, allow_voiding=allow_voiding)


def _base_tree(
    spec: KernelSpec,
    inputs: dict[str, str],
    root: Path,
    fragments: Sequence[Path],
    progress: Progress,
    *,
    allow_voiding: bool,
) -> Path:
    """The base's built tree, from the cache or built."""
    trees = tree_store()
    name = record.digest_of(inputs)

    def make(folder: Path) -> None:
        tree = folder / "linux"
        compiling.extract(source.find(spec.base), tree, progress)
        space = workspace.Workspace(_place(root), tree=tree)
        progress("configuring", None)
        ccache = cache_dir() / "ccache"
        ccache.mkdir(exist_ok=True)
        compiling.configure(space, fragments, ccache, allow_voiding=allow_voiding)
        stage = f"compiling base {spec.base}"
        log = trees.root / ".log" / f"{name}.log"
        compiling.compile_tree(space, log, ccache, stage, compiling.FULL_BUILD_OBJECTS, progress)
        shutil.move(log, folder / "build.log")

    def waiting() -> None:
        progress(f"waiting for another build of base {spec.base}", None)

    return trees.obtain(name, make, waiting) / "linux"


def _make_kernel(
    spec: KernelSpec,
    sets: Sequence[patchset.PatchSet],
    base: Path,
    folder: Path,
    log: Path,
    progress: Progress,
    root: Path,
) -> Made:
    """What `folder` keeps: of the base itself, or of a patched clone of it."""
    trees = tree_store()
    with trees.locked(base.parent.name, shared=True):
        if not any(each.patches for each in sets):
            space = workspace.Workspace(_place(root), tree=base)
            compiling.keep(space, None, folder)
            shutil.copyfile(base.parent / "build.log", folder / "build.log")
            return compiling.made_by(folder / "build.log", compiling.release(space, None), 0.0)
        scratch = folder.parent / "clone"
        scratch.mkdir()
        space = workspace.clone(base, scratch, _place(root))
        compiling.apply_sets(space, sets, progress)
        ccache = cache_dir() / "ccache"
        compiling.reconfigure(space, ccache)
        stage = f"compiling {spec.label}"
        seconds = compiling.compile_tree(space, log, ccache, stage, _expected_objects(), progress)
        compiling.keep(space, base, folder)
        shutil.move(log, folder / "build.log")
        return compiling.made_by(folder / "build.log", compiling.release(space, base), seconds)


def _expected_objects() -> int:
    """How much the last patched kernel had to compile: the best guess for the next one."""
    for _, folder in reversed(kernel_store().entries()):
        with contextlib.suppress(OSError, ValueError):
            known = KernelRecord.model_validate_json((folder / "kernel.json").read_text())
            if known.spec.sets:
                return known.objects
    return GUESSED_OBJECTS


def gc(max_bytes: int = DEFAULT_CACHE_BYTES) -> tuple[Path, ...]:
    """Drops the least recently used kernels and trees until both fit; returns what it dropped.

    Entries that somebody builds or holds (`held`) stay. ccache bounds itself.
    """
    stores = (kernel_store(), tree_store())
    for each in stores:
        each.sweep()
    entries = sorted(
        (used, path, each, store.size_bytes(path)) for each in stores for used, path in each.entries()
    )
    total = sum(size for *_, size in entries)
    dropped = []
    for _, path, each, size in entries:
        if total <= max_bytes:
            break
        if each.drop(path.name):
            total -= size
            dropped.append(path)
    return tuple(dropped)


@contextlib.contextmanager
def held(kernel: BuiltKernel) -> Iterator[None]:
    """Keeps `gc` away from a kernel while it is in use."""
    with kernel_store().locked(kernel.digest, shared=True):
        kernel_store().touch(kernel.digest)
        yield
