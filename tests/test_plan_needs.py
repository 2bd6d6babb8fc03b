"""Patch sets that a playbook or a variant needs: a kernel without them is refused before it is built."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_plan import DEBIAN, STOCK, kernels, planned

from testbed import plan as stage
from testbed.configuration import Playbook
from testbed.errors import UsageError
from testbed.kernels import resolve
from testbed.load import PLAYBOOKS
from testbed.model import KernelSpec
from testbed.plan import Choices

FLOOD = (PLAYBOOKS / "flood.toml").read_text()
OF_SETS = (
    "/sys/kernel/debug/clean-floor/",
    "/sys/kernel/debug/reserve-burner/",
    "/sys/kernel/debug/known-answer/",
)


def refused(name: str, spec: KernelSpec, variant: str = "") -> UsageError:
    with pytest.raises(UsageError) as caught:
        planned(name, spec, variant=variant)
    return caught.value


@pytest.mark.parametrize(
    ("name", "variant", "sets"),
    [
        ("flood", "floor", "clean-floor"),
        ("mke2fs-crossed", "ten", "bio-throttle"),
        ("mke2fs-crossed", "memalloc", "memalloc-daemon"),
        ("mke2fs-crossed", "stacked", "bio-throttle+memalloc-daemon+less-throttle"),
        ("local-daemon", "measures", "memalloc-daemon+less-throttle"),
        ("write-rate", "bounded", "bio-throttle"),
        ("selftest", "livelock", "known-answer"),
    ],
)
@pytest.mark.parametrize("spec", [STOCK, DEBIAN], ids=["stock", "debian"])
def test_a_variant_is_refused_on_a_kernel_without_the_sets_that_it_needs(
    name: str, variant: str, sets: str, spec: KernelSpec
) -> None:
    error = refused(name, spec, variant)
    assert error.message == (
        f"variant '{variant}' can not be played on '{spec.label}', which has not {sets.replace('+', ', ')}"
    )
    assert f"--kernel {sets}, or leave the variant out" in error.hint
    assert error.where.endswith(f": variants.{variant}.needs") and f"{name}.toml:" in error.where
    assert planned(name, resolve(sets), variant=variant).labels.variant == variant


def test_what_is_missing_is_told_and_no_more() -> None:
    error = refused("local-daemon", resolve("dagwood-less-throttle"), "measures")
    assert error.message.endswith("which has not less-throttle") and "with it, as" in error.hint


def test_a_playbook_itself_needs_sets_and_a_variant_may_say_that_it_needs_none() -> None:
    error = refused("reserve-burn", STOCK)
    assert error.message == "'reserve-burn' can not be played on 'stock', which has not reserve-burner"
    assert error.where.endswith(": needs") and "variant" not in error.hint
    assert "which has not reserve-burner" in refused("reserve-burn", STOCK, "mapped").message
    assert planned("reserve-burn", STOCK, variant="no-burn").labels.control


def test_a_composition_has_the_sets_that_it_stands_for() -> None:
    assert planned("mke2fs-crossed", resolve("dagwood"), variant="stacked").labels.kernel


def test_a_base_that_somebody_gave_may_have_anything() -> None:
    given = KernelSpec(base="6.1.99~0123456789ab")
    assert planned("flood", given, variant="floor").labels.variant == "floor"
    newer = KernelSpec(base="7.3")
    assert "which has not clean-floor" in refused("flood", newer, "floor").message


def test_a_set_that_there_is_not_is_refused_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "test.toml"
    path.write_text(FLOOD.replace('needs = ["clean-floor"]', 'needs = ["clean-flor"]'))
    with pytest.raises(UsageError) as caught:
        stage.read_playbook(path)
    assert caught.value.message == "no patch set 'clean-flor'"
    assert caught.value.hint.startswith("did you mean 'clean-floor'?")
    assert caught.value.where.endswith(": variants.floor.needs")


def test_the_needs_of_a_variant_come_in_place_of_the_playbooks(tmp_path: Path) -> None:
    path = tmp_path / "test.toml"
    path.write_text(FLOOD.replace('topology = "abc"', 'topology = "abc"\nneeds = ["dagwood"]'))
    file = stage.read_playbook(path)
    dagwood = ("bio-throttle", "memalloc-daemon", "less-throttle", "recursive-reclaim")
    assert stage.sets_needed(file, "") == stage.sets_needed(file, "storm") == dagwood
    assert stage.sets_needed(file, "floor") == ("clean-floor",)
    assert isinstance(file.playbook("short", "floor"), Playbook)


def test_what_is_needed_does_not_count_for_what_was_played(tmp_path: Path) -> None:
    """Cells of before a playbook said it are of the same playbook."""
    path = tmp_path / "flood.toml"
    path.write_text(FLOOD.replace('needs = ["clean-floor"]\n', ""))

    def hashed(path: Path) -> str:
        file = stage.read_playbook(path)
        made = stage.plan(
            stage.topology_of(file), file, kernels(resolve("clean-floor")), "c", Choices(variant="floor")
        )
        return made.inputs["playbook"]

    assert hashed(path) == hashed(PLAYBOOKS / "flood.toml")


@pytest.mark.parametrize("path", sorted(PLAYBOOKS.glob("*.toml")), ids=lambda path: path.stem)
def test_what_a_playbook_asks_of_a_sets_files_and_prctls_it_says_that_it_needs(path: Path) -> None:
    file = stage.read_playbook(path)
    for variant in ("", *file.opening.variants):
        needed = stage.sets_needed(file, variant)
        made = planned(path.stem, KernelSpec(base="6.1", sets=needed), variant=variant)
        assert made.transport is not None
        files = [str(load.options.get("file")) for load in made.loads]
        used = {name.split("/")[4] for name in files if name.startswith(OF_SETS)}
        used |= {"bio-throttle"} if any(name.endswith("/bio_throttle") for name in files) else set()
        used |= {"memalloc-daemon"} if made.transport.options.get("memalloc") else set()
        used |= {"less-throttle"} if made.transport.options.get("less_throttle") else set()
        assert used == set(needed), variant
