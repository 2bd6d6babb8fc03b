"""Owns the way from a user's words to plans and back to files: names, builds, reports."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from testbed import images, kernels, paths, store
from testbed import plan as planning
from testbed.campaign import claims
from testbed.campaign.expectation import Cell
from testbed.campaign.play import Builder, Played, cells_of
from testbed.cli.exits import err
from testbed.configuration import Answer, Topology
from testbed.errors import UsageError, nearest
from testbed.images import BuiltImage
from testbed.kernels import BuiltKernel, patchset
from testbed.load import CLAIMS, PLAYBOOKS, TOPOLOGIES, find_file, load_toml, read_toml
from testbed.load.toml import shown
from testbed.machines import accelerator, sandbox
from testbed.model import KernelSpec, Plan, PlannedKernel
from testbed.reports import html, junit, ktap
from testbed.run.cell import Inputs
from testbed.transports import transport_class

RESULTS = paths.PROJECT / "results"

Told = Callable[[str, float | None], None]
AcceleratorName = Literal["auto", "kvm", "tcg"]


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asked `run` or `plan` for."""

    playbook: str
    kernels: tuple[str, ...]
    form: str = "short"
    nic: str | None = None
    transport: str | None = None
    settings: tuple[str, ...] = ()
    accelerator: str = "auto"
    image: Path | None = None
    topology: str | None = None


def swept(wish: Wish, sweep: str | None) -> tuple[Wish, ...]:
    """A wish for each value of the parameter that is swept, or the wish itself. Raises UsageError."""
    if sweep is None:
        return (wish,)
    name, _, values = sweep.partition("=")
    each = tuple(dict.fromkeys(value.strip() for value in values.split(",")))
    if not name or not all(each):
        raise UsageError(
            f"'{sweep}' is not name=value,value", hint="as in --sweep mapped=0,0.1,0.3", where="--sweep"
        )
    if name in _settings(wish.settings):
        raise UsageError(
            f"'{name}' is set, and can not be swept", hint="leave out --set, or --sweep", where="--sweep"
        )
    return tuple(replace(wish, settings=(*wish.settings, f"{name}={value}")) for value in each)


# --- plans


def plans(wish: Wish, *, variants: Sequence[str], repeat: int = 1) -> list[Plan]:
    """Every cell of a wish: repeats outermost, so that a campaign cut short has some of each kernel.

    Controls (the variants after the first) run once for each kernel, after the question itself.
    """
    main, *controls = variants
    order = [(main, kernel, number) for number in range(1, repeat + 1) for kernel in wish.kernels]
    order += [(variant, kernel, 1) for variant in controls for kernel in wish.kernels]
    return _plans(wish, order)


def answered_plans(wish: Wish, answers: Mapping[str, Answer], repeat: int) -> list[Plan]:
    """Every variant with a known answer on its kernel; repeats outermost, as with `plans`."""
    numbers = range(1, repeat + 1)
    return _plans(wish, [(name, answer.kernel, n) for n in numbers for name, answer in answers.items()])


def numbered_plans(wish: Wish, variant: str, numbers: Sequence[int]) -> list[Plan]:
    """These repeats of each kernel of a wish, and no others."""
    return _plans(wish, [(variant, kernel, number) for number in numbers for kernel in wish.kernels])


def _plans(wish: Wish, order: Sequence[tuple[str, str, int]]) -> list[Plan]:
    """One plan for each (variant, kernel, repeat)."""
    file = planning.read_playbook(find_file(wish.playbook, PLAYBOOKS))
    topology = planning.topology_of(file, wish.topology)
    image = build_image(wish.image, quiet=True)
    specs = {kernel: resolve(kernel, quiet=False) for _, kernel, _ in order}
    planned = {kernel: _planned(spec) for kernel, spec in specs.items()}
    first: dict[tuple[str, str], Plan] = {}
    for variant, kernel in dict.fromkeys((variant, kernel) for variant, kernel, _ in order):
        choices = planning.Choices(
            form=wish.form,
            variant=variant,
            nic=wish.nic,
            transport=wish.transport,
            topology=wish.topology,
            settings=_settings(wish.settings),
            accelerator=_accelerator(wish.accelerator),
            hypothesis=kernels.hypothesis(specs[kernel], file.name),
        )
        first[variant, kernel] = planning.plan(topology, file, planned[kernel], image.digest, choices)
    return [planning.repeated(first[variant, kernel], number) for variant, kernel, number in order]


def control_variants(wish: Wish) -> tuple[str, ...]:
    """The playbook's controls. Raises UsageError if it has none."""
    file = planning.read_playbook(find_file(wish.playbook, PLAYBOOKS))
    if not file.controls:
        raise UsageError(
            f"'{file.name}' has no controls",
            hint="leave out --controls; what its table says is not backed by any",
            where="--controls",
        )
    return file.controls


def idle_plan(
    topology: str, kernel: str, nic: str | None, accelerator: str, image: Path | None = None
) -> Plan:
    """A lab to play with."""
    loaded = load_toml(find_file(topology, TOPOLOGIES), Topology)
    digest = build_image(image, quiet=True).digest
    chosen = _accelerator(accelerator)
    return planning.idle(loaded, _planned(resolve(kernel, quiet=False)), digest, nic=nic, accelerator=chosen)


def idle_plan_of(topology: str, spec: KernelSpec, kernel: str, accelerator: str) -> Plan:
    """A lab whose machines all have the kernel of that digest, which was built otherwise than by its name."""
    loaded = load_toml(find_file(topology, TOPOLOGIES), Topology)
    planned = PlannedKernel(spec=spec, digest=kernel)
    image = build_image(quiet=True).digest
    return planning.idle(
        loaded, planning.Kernels(planned, planned), image, accelerator=_accelerator(accelerator)
    )


def campaign_name(wish: Wish) -> str:
    """The folder under results/ where cells of this wish are kept: `flood-short`, `flood-short-nfs3`."""
    chosen = (wish.topology or "", wish.transport or "", wish.nic or "")
    parts = (Path(wish.playbook).stem, wish.form, *chosen)
    return "-".join(part for part in parts if part)


def _planned(spec: KernelSpec) -> planning.Kernels:
    support = planning.support_spec(spec)
    with progress(f"base of {spec.label}", quiet=False) as told:
        return planning.Kernels(
            PlannedKernel(spec=spec, digest=kernels.digest(spec, progress=told)),
            PlannedKernel(spec=support, digest=kernels.digest(support, progress=told)),
        )


def _settings(words: Sequence[str]) -> dict[str, str]:
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise UsageError(f"'{word}' is not name=value", hint="as in --set outage=50s", where="--set")
        found[name] = value
    return found


def _accelerator(name: str) -> AcceleratorName:
    known = ("auto", "kvm", "tcg")
    if name not in known:
        raise UsageError(f"no accelerator '{name}'", hint=nearest(name, known), where="--accelerator")
    return cast(AcceleratorName, name)


def check_all(files: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Checks the named files, or all of the project; yields what each was found to hold."""
    named = [Path(name) for name in files] or [
        *sorted(TOPOLOGIES.glob("*.toml")),
        *sorted(PLAYBOOKS.glob("*.toml")),
        *sorted(paths.PROJECT.glob("kernel-patches/*/set.toml")),
        CLAIMS,
    ]
    for path in named:
        yield str(shown(path)), _check(path)


def _check(path: Path) -> str:
    if path.name == "set.toml":
        name, root = path.parent.name, path.parent.parent
        found = patchset.load(name, root)
        for kind in found.about.counterfactual:
            transport_class(kind, where=read_toml(path).where("counterfactual", kind))
        counts = [f"{base} ({len(patchset.load(name, root, base).patches)})" for base in found.about.bases]
        return f"patch set, for {', '.join(counts)}"
    path = find_file(str(path), PLAYBOOKS)
    source = read_toml(path)
    if "claims" in source.tree:
        found_claims = claims.read(path)
        return f"{len(found_claims)} claims, {sum(bool(one.arms) for one in found_claims)} of them with arms"
    if planning.is_topology(source):
        planning.check_topology(load_toml(path, Topology))
        return "topology"
    file = planning.read_playbook(path)
    count = planning.check_playbook(file, planning.topology_of(file))
    return f"playbook, {count} forms and variants"


def schema(kind: str) -> dict[str, Any]:
    return planning.schema(kind)


# --- builds


def build_image(own: Path | None = None, *, quiet: bool) -> BuiltImage:
    """The guest image, ours or one made of a user's own folder or file."""
    with progress("guest image", quiet=quiet):
        return images.build(own)


def resolve(name: str, *, quiet: bool) -> KernelSpec:
    """A kernel's name as a spec; a base that is given by path is taken into the cache."""
    with progress(f"base of {name.partition('@')[0]}", quiet=quiet) as told:
        return kernels.resolve(name, progress=told)


def build_kernel(spec: KernelSpec, *, quiet: bool) -> BuiltKernel:
    """From the cache, or built with a progress bar."""
    with progress(f"kernel {spec.label}", quiet=quiet) as told:
        return kernels.build(spec, progress=told)


def builder(own_image: Path | None = None, *, quiet: bool) -> Builder:
    """The build stage for `campaign.play`."""

    def build(plan: Plan) -> Inputs:
        # All asked here, so that what can not be played, or not here, leaves no half result behind.
        sandbox.probe()
        made = {key: build_kernel(kernel.spec, quiet=quiet) for key, kernel in plan.kernels.items()}
        planning.check_options(plan, {key: kernel.configured for key, kernel in made.items()})
        accelerator.choose(plan.accelerator, next(iter(made.values())).boots)
        return Inputs(made, build_image(own_image, quiet=quiet))

    return build


@contextmanager
def progress(what: str, *, quiet: bool) -> Iterator[Told]:
    """A bar on a terminal, a line a stage elsewhere; nothing for what takes no time."""
    if quiet or not err.is_terminal:
        stage = ""

        def say(text: str, _fraction: float | None) -> None:
            nonlocal stage
            if not quiet and text != stage:
                stage = text
                err.print(f"{what}: {text}")

        yield say
        return
    columns = (
        TextColumn(f"{what}: {{task.description}}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("looking", total=None)
        yield lambda text, fraction: bar.update(
            task, description=text, total=None if fraction is None else 1.0, completed=fraction or 0.0
        )


def any_kernel() -> Path | None:
    """Some kernel of the cache, as the accelerator's canary."""
    return next(paths.cache_dir().glob("kernels/*/bzImage"), None)


# --- results


def made(folder: Path, option: str = "--into") -> Path:
    """The folder of a user's that results go to, made if missing. Raises UsageError where that can not be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _no_place(folder, option, error.strerror or str(error)) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _no_place(folder, option, "nothing can be written into it")
    return folder


def _no_place(folder: Path, option: str, why: str) -> UsageError:
    return UsageError(
        f"'{folder}' can not hold results: {why}",
        hint="name a folder, or where one can be made",
        where=option,
    )


def cell_folders(folder: Path) -> list[Path]:
    """The result folders at or below `folder`. Raises UsageError if there is none."""
    if (folder / store.PLAN).exists():
        return [folder]
    found = store.result_folders(folder, having=store.PLAN)
    if not found:
        raise UsageError("holds no result", where=str(folder), hint=f"look below {RESULTS}")
    return found


def write_report(played: Played) -> None:
    html.write_cell(played.folder)


def write_index(folder: Path, cells: Sequence[Cell]) -> Path:
    """The campaign's page, and its tables for machines."""
    store.write_atomically(folder / "junit.xml", junit.render(cells))
    store.write_atomically(folder / "results.ktap", ktap.render(cells).encode())
    return html.write_index(folder, cells)


def write_reports(folder: Path) -> list[Path]:
    """Reports of one cell, or of a campaign and its cells, anew."""
    judged = [one for one in cell_folders(folder) if (one / store.VERDICT).exists()]
    written = [html.write_cell(one) for one in judged]
    if not (folder / store.PLAN).exists():
        written.append(write_index(folder, cells_of(folder)))
    return written
