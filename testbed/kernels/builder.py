"""Owns building kernels: specs to digests, digests to folders of the cache."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.kernels import (
    applying,
    blame,
    config,
    estimate,
    patchset,
    prebuilt,
    record,
    source,
    voiding,
    workspace,
)
from testbed.kernels import compile as compiling
from testbed.kernels.caches import kernel_store, tree_store
from testbed.kernels.compile import Made
from testbed.kernels.naming import PATCHES
from testbed.kernels.progress import Progress, silent
from testbed.kernels.record import BuiltKernel, KernelRecord
from testbed.model import KernelSpec
from testbed.paths import cache_dir

BUILDER = "2"
"""To be raised when the builder makes something else of the same inputs."""
FRAGMENT = Path(__file__).with_name("guest.config")


@dataclass(frozen=True, slots=True)
class Order:
    """What a build is told: which kernel, of which sets and fragments, and whom to tell how far it is."""

    spec: KernelSpec
    root: Path
    fragments: tuple[Path, ...]
    progress: Progress

    @property
    def place(self) -> Path:
        return workspace.place(cache_dir(), self.root)

    def tree_inputs(self) -> dict[str, str]:
        """The words that decide what the base's built tree is."""
        origin = source.find(self.spec.base, self.progress)
        # The options alone: a better reason in a fragment must not cost everybody a build.
        texts = (config.config_text(config.parse_fragment(path.read_text(), path)) for path in self.fragments)
        return {
            "builder": BUILDER,
            "source": f"{origin.package} {origin.version}",
            "tarball": origin.sha256,
            "configuration": hashlib.sha256("".join(texts).encode()).hexdigest(),
            "toolchain": source.toolchain(),
            "place": str(self.place),
        }

    def sets(self) -> tuple[patchset.PatchSet, ...]:
        found = tuple(patchset.load(name, self.root, self.spec.base) for name in self.spec.sets)
        patchset.check_together(found, self.spec.base)
        return found

    def inputs(self, sets: Sequence[patchset.PatchSet]) -> dict[str, str]:
        """The words that decide what the kernel is."""
        patches = [f"{patch.name} {patch.sha256}" for each in sets for patch in each.patches]
        return self.tree_inputs() | {"patches": "\n".join(patches)}


def hypothesis(spec: KernelSpec, playbook: str, *, root: Path = PATCHES) -> str | None:
    """What the kernel's one patch set, or the composition that it is, expects of a playbook."""
    name = spec.sets[0] if len(spec.sets) == 1 else patchset.composition(spec.sets, root)
    return patchset.about(name, root).expect.get(playbook) if name else None


def digest(
    spec: KernelSpec,
    *,
    root: Path = PATCHES,
    fragments: Sequence[Path] = (FRAGMENT,),
    progress: Progress = silent,
) -> str:
    """The name of the kernel in the cache; builds nothing, though a base's source may have to be fetched."""
    if spec.prebuilt:
        return record.digest_of(prebuilt.find().inputs())
    order = Order(spec, root, tuple(fragments), progress)
    return record.digest_of(order.inputs(order.sets()))


def build(
    spec: KernelSpec,
    *,
    progress: Progress = silent,
    root: Path = PATCHES,
    fragments: Sequence[Path] = (FRAGMENT,),
) -> BuiltKernel:
    """The kernel of `spec`, from the cache or built.

    `progress(stage, fraction or None)` is called from another thread as well. Raises BuildError for a
    patch that does not apply, a compiler's error and a configuration that voids results,
    MissingCapability for what the host lacks.
    """
    kernels = kernel_store()

    def waiting() -> None:
        progress(f"waiting for another build of {spec.label}", None)

    if spec.prebuilt:
        package = prebuilt.find()
        name = record.digest_of(package.inputs())
        folder = kernels.obtain(name, lambda new: prebuilt.make(package, spec, name, new, progress), waiting)
        return record.read(folder)
    order = Order(spec, root, tuple(fragments), progress)
    sets = order.sets()
    inputs = order.inputs(sets)
    name = record.digest_of(inputs)

    def make(folder: Path) -> None:
        base = _base_tree(order)
        made = _make_kernel(order, inputs, sets, base, folder, kernels.root / ".log" / f"{name}.log")
        compiling.check(folder / "config", fragments)
        record.write(folder, _record(spec, name, inputs, made, folder))

    folder = kernels.obtain(name, make, waiting)
    compiling.check(folder / "config", fragments)  # by today's rules, also where it was built before them
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
    progress: Progress = silent,
    root: Path = PATCHES,
    fragments: Sequence[Path] = (FRAGMENT,),
) -> Path:
    """The built tree of a kernel's base. Not to be written to: see `workspace.clone`."""
    return _base_tree(Order(spec, root, tuple(fragments), progress))


def _base_tree(order: Order) -> Path:
    """The base's built tree, from the cache or built."""
    trees, progress, base = tree_store(), order.progress, order.spec.base
    inputs = order.tree_inputs()
    name = record.digest_of(inputs)

    def make(folder: Path) -> None:
        tree = folder / "linux"
        compiling.extract(source.find(base, progress), tree, progress)
        space = workspace.Workspace(order.place, tree=tree)
        progress("configuring", None)
        ccache = cache_dir() / "ccache"
        ccache.mkdir(exist_ok=True)
        compiling.configure(space, order.fragments, ccache)
        effort = estimate.of_tree(inputs, trees)
        stage = f"compiling base {base}{effort.words}"
        log = trees.root / ".log" / f"{name}.log"
        seconds = compiling.compile_tree(space, log, ccache, stage, effort.objects, progress)
        made = compiling.made_by(log, "", seconds)
        estimate.note(folder, estimate.Effort(objects=made.objects, seconds=seconds), inputs)
        shutil.move(log, folder / "build.log")

    def waiting() -> None:
        progress(f"waiting for another build of base {base}", None)

    return trees.obtain(name, make, waiting) / "linux"


def _make_kernel(
    order: Order,
    inputs: dict[str, str],
    sets: Sequence[patchset.PatchSet],
    base: Path,
    folder: Path,
    log: Path,
) -> Made:
    """What `folder` keeps: of the base itself, or of a patched clone of it."""
    trees, spec, progress = tree_store(), order.spec, order.progress
    with trees.locked(base.parent.name, shared=True):
        if not any(each.patches for each in sets):
            space = workspace.Workspace(order.place, tree=base)
            compiling.keep(space, None, folder)
            shutil.copyfile(base.parent / "build.log", folder / "build.log")
            return compiling.made_by(folder / "build.log", compiling.release(space, None), 0.0)
        scratch = folder.parent / "clone"
        scratch.mkdir()
        space = workspace.clone(base, scratch, order.place)
        applying.apply_sets(space, sets, progress)
        ccache = cache_dir() / "ccache"
        effort = estimate.of_sets(spec, inputs, kernel_store())
        stage = f"compiling {spec.label}{effort.words}"
        with blame.told_by(sets, space):
            compiling.reconfigure(space, ccache)
            seconds = compiling.compile_tree(space, log, ccache, stage, effort.objects, progress)
        compiling.keep(space, base, folder)
        shutil.move(log, folder / "build.log")
        return compiling.made_by(folder / "build.log", compiling.release(space, base), seconds)
