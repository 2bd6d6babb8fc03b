"""What a lab watches, without one: whose free memory is read, how often, and who is asked where it is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from testbed.images import BuiltImage
from testbed.introspection.ram import KERNEL_MAP
from testbed.kernels import BuiltKernel
from testbed.proc import Completed
from testbed.run.lab import DISPLAYED_EVERY_TICKS, Lab
from testbed.witnesses.memory import FREE_PAGES_SYMBOL, FreePages
from tests.histories import judging, plan_of


@dataclass
class Host:
    """Broker and guests: each machine's RAM is a file whose word at 4096 is its number."""

    folder: Path
    asked: list[str] = field(default_factory=list)
    name: str = ""

    def guest_memory(self, machine: str) -> int:
        file = self.folder / machine
        file.write_bytes(bytes(4096) + ord(machine).to_bytes(8, "little"))
        return os.open(file, os.O_RDONLY)

    def run(self, argv: Sequence[str], **_: object) -> Completed:
        self.asked.append(self.name)
        return Completed(tuple(argv), 0, SYMBOLS, "")


SYMBOLS = f"{KERNEL_MAP:x} D other\n{KERNEL_MAP + 4096:x} D {FREE_PAGES_SYMBOL}\n"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A and C, on kernels of which only C's has a System.map."""
    kernels = {}
    for key in ("subject", "other"):
        (tmp_path / key).mkdir()
        kernels[key] = BuiltKernel(key, tmp_path / key, "6.1", (), None, None)
    (tmp_path / "other/System.map").write_text(SYMBOLS)
    made = Lab(plan_of(judging()), kernels, BuiltImage("ab", tmp_path, tmp_path), tmp_path)
    made.broker = cast(Any, Host(tmp_path))
    made.guests = {name: cast(Any, Host(tmp_path, made.broker.asked, name)) for name in "AC"}  # type: ignore[attr-defined]
    with ExitStack() as made._stack:
        yield made


def free_pages(lab: Lab) -> dict[str, FreePages]:
    return {one.machine: one for one in lab._free_pages() if isinstance(one, FreePages)}


def test_every_machines_free_memory_is_read_and_the_subjects_on_every_beat(lab: Lab) -> None:
    found = free_pages(lab)
    read = {name: one.read()[f"{name}/memory"]["free_pages"] for name, one in found.items()}
    assert read == {"A": ord("A"), "C": ord("C")}
    assert {name: one.every_ticks for name, one in found.items()} == {"A": 1, "C": DISPLAYED_EVERY_TICKS}


def test_a_guest_is_asked_only_where_its_kernel_has_no_list_of_symbols(lab: Lab) -> None:
    free_pages(lab)
    assert lab.broker.asked == ["A"]  # type: ignore[attr-defined]


def test_machines_of_one_kernel_are_asked_once(lab: Lab, tmp_path: Path) -> None:
    lab.kernels["other"] = lab.kernels["subject"]
    assert {one.address for one in free_pages(lab).values()} == {KERNEL_MAP + 4096}
    assert lab.broker.asked == ["A"]  # type: ignore[attr-defined]
