"""Waiting for guests that boot nothing: who is not ready, and whose failure that is."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from testbed.clock import now_ns
from testbed.errors import BootFailure, TestbedFault
from testbed.machines.console import Console
from testbed.run import boot

NAMES = ("A", "B", "C")


def until(at_s: float) -> Callable[[], bool]:
    end_ns = now_ns() + round(at_s * 1e9)
    return lambda: now_ns() >= end_ns


def await_all(
    folder: Path,
    *,
    never: Collection[str] = (),
    panics: Collection[str] = (),
    names: tuple[str, ...] = NAMES,
    under_test: str = "A",
    bound_s: float = 0.1,
    comes: Callable[[str], bool] = lambda _name: True,
) -> None:
    def ready(name: str) -> bool:
        if name in panics:
            raise TestbedFault("its kernel panicked")
        return name not in never and comes(name)

    for name in names:
        (folder / name).write_text(f"{boot.PANIC}: no init\r\n\x1b[2Jlast word of {name}\n")
    boot.await_all(names, under_test, ready, lambda name: Console(folder / name), bound_s)


def test_all_that_are_ready_are_no_error(tmp_path: Path) -> None:
    await_all(tmp_path)


@pytest.mark.parametrize(
    ("how", "why"), [("never", "took too long: boot of 'A'"), ("panics", "its kernel panicked")]
)
def test_a_subject_that_alone_does_not_boot_is_the_kernels_doing(how: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(BootFailure) as caught:
        await_all(tmp_path, **{how: "A"})  # type: ignore[arg-type]
    assert why in caught.value.message and "last word of A" in caught.value.message
    assert "\x1b" not in caught.value.message
    assert caught.value.where == str(tmp_path / "A") and "all others are" in caught.value.message


@pytest.mark.parametrize("never", ["A", "C", "AC"])
def test_of_two_that_have_the_kernel_under_test_either_may_not_boot(never: str, tmp_path: Path) -> None:
    with pytest.raises(BootFailure, match=f"guest '{never[0]}' does not get ready, and all others are"):
        await_all(tmp_path, never=never, under_test="AC")
    with pytest.raises(TestbedFault, match="guest 'B' does not get ready:"):
        await_all(tmp_path, never=f"B{never}", under_test="AC")


@pytest.mark.parametrize(("never", "named"), [("B", "B"), ("AC", "C"), ("ABC", "B")])
def test_if_another_does_not_boot_either_it_is_ours(never: str, named: str, tmp_path: Path) -> None:
    with pytest.raises(TestbedFault, match=f"guest '{named}' does not get ready") as caught:
        await_all(tmp_path, never=never)
    assert f"last word of {named}" in caught.value.message


def test_alone_it_has_nobody_to_be_compared_with(tmp_path: Path) -> None:
    with pytest.raises(boot.NotReady) as caught:
        await_all(tmp_path, never="A", names=("A",))
    assert isinstance(caught.value, TestbedFault)


def test_the_subject_has_as_long_again_as_the_others_took(tmp_path: Path) -> None:
    others, subject = until(0.4), until(0.6)
    await_all(tmp_path, bound_s=0.5, comes=lambda name: subject() if name == "A" else others())
