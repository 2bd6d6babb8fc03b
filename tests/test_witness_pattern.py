"""The load's pages in a guest's memory: those of the real agent, in a file in place of that memory."""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from testbed.errors import TestbedFault
from testbed.faults import FaultTarget
from testbed.faults.bitflip import Bitflip
from testbed.images.programs import SOURCES
from testbed.units import PAGE_BYTES
from testbed.witnesses import pattern
from testbed.witnesses.page import Control
from testbed.witnesses.pattern import FLIP, VICTIM_WORD, LoadPage, flip, load_pages
from tests.test_images_agent import Guest, guest, load_area

__all__ = ["guest"]

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc: run 'make setup'")

PAGES = 40
AT = 3 << 20
"""Where in the memory they lie; a hole is before them, and other things after."""
ALL_BYTES = 16 << 20


@pytest.fixture
def memory(guest: Guest, tmp_path: Path) -> Iterator[int]:
    """A guest's memory with a load's pages in it, as the load wrote them, and pages that are none of it."""
    child = guest.start("anonymous", 3, "--bytes", str(PAGES * PAGE_BYTES), "--pause-us", "60000000")
    guest.page.control(3, Control.RUN)
    guest.until(lambda: guest.page.read(3, "anonymous")["work_units"] == 1, "the first unit")
    file = tmp_path / "pc.ram"
    with Path(f"/proc/{child.pid}/mem").open("rb", buffering=0) as theirs, file.open("wb") as ours:
        theirs.seek(load_area(child.pid, PAGES))
        ours.truncate(ALL_BYTES)
        ours.seek(AT)
        ours.write(theirs.read(PAGES * PAGE_BYTES))
        ours.write(os.urandom(5 * PAGE_BYTES))
        ours.write(b"\xff" * PAGE_BYTES + bytes(PAGE_BYTES))
    fd = os.open(file, os.O_RDWR)
    yield fd
    os.close(fd)


class Lab:
    """What the fault needs of a lab: one machine, and its memory."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.asked: list[tuple[str, bool]] = []

    def guest_memory(self, domain: str, *, writable: bool = False) -> int:
        self.asked.append((domain, writable))
        return os.dup(self._fd)

    @property
    def target(self) -> FaultTarget:
        return cast(FaultTarget, FaultTarget(self, {"C": None}, {}))  # type: ignore[arg-type, dict-item]


def test_every_page_of_the_load_is_found_and_nothing_else(memory: int) -> None:
    found = list(load_pages(memory))
    assert [page.offset for page in found] == [AT + number * PAGE_BYTES for number in range(PAGES)]
    assert not any(page.flipped for page in found)
    assert os.stat(memory).st_blocks * 512 < ALL_BYTES // 8, "the holes must stay holes"


def test_a_page_with_any_other_change_is_no_page_of_the_load(memory: int) -> None:
    for number, word in enumerate((2, 3, VICTIM_WORD, 511)):
        os.pwrite(memory, b"x", AT + number * PAGE_BYTES + word * 8)
    os.pwrite(memory, struct.pack("<Q", 0), AT + 4 * PAGE_BYTES + 8)
    assert len(list(load_pages(memory))) == PAGES - 5


def test_a_flip_is_one_bit_to_and_fro(memory: int) -> None:
    before = os.pread(memory, PAGE_BYTES, AT)
    flip(memory, LoadPage(AT, flipped=False))
    after = os.pread(memory, PAGE_BYTES, AT)
    assert int.from_bytes(before, "little") ^ int.from_bytes(after, "little") == FLIP << (VICTIM_WORD * 64)
    assert [page.flipped for page in load_pages(memory)] == [True] + [False] * (PAGES - 1)
    flip(memory, LoadPage(AT, flipped=True))
    assert os.pread(memory, PAGE_BYTES, AT) == before


def test_the_pattern_is_the_one_of_the_load() -> None:
    source = (SOURCES / "proof.c").read_text()
    assert f"#define PATTERN_STEP {pattern.PATTERN_STEP:#x}ull" in source
    assert f"#define FIRST_PATTERN_WORD {pattern.FIRST_PATTERN_WORD}\n" in source


def test_the_lying_server_is_read_back_and_told_the_truth_again(memory: int) -> None:
    whole = os.pread(memory, PAGES * PAGE_BYTES, AT)
    lab = Lab(memory)
    fault = Bitflip(machine="C", pages=7)
    assert not fault.in_force(lab.target)
    fault.apply(lab.target)
    assert fault.in_force(lab.target)
    assert sum(page.flipped for page in load_pages(memory)) == 7
    fault.revert(lab.target)
    assert not fault.in_force(lab.target)
    assert os.pread(memory, PAGES * PAGE_BYTES, AT) == whole
    assert set(lab.asked) == {("C", True)}


def test_a_machine_that_holds_no_pages_can_not_lie(memory: int) -> None:
    with pytest.raises(TestbedFault, match="only 40 pages of a load lie in the memory of 'C', 41 are"):
        Bitflip(machine="C", pages=41).apply(Lab(memory).target)
    assert not any(page.flipped for page in load_pages(memory))
