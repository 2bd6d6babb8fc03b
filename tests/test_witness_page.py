"""The witness page: its layout, parsed from the guest's header, and the reader over an ordinary file."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.errors import TestbedFault, UsageError
from testbed.witnesses import page
from testbed.witnesses.page import Control, State, WitnessPage
from testbed.witnesses.slots import SlotWitness


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "page"
    path.write_bytes(bytes(page.layout().page_bytes))
    return path


@pytest.fixture
def witness(file: Path) -> Iterator[WitnessPage]:
    with file.open("r+b") as opened, WitnessPage(opened.fileno()) as mapped:
        yield mapped


def poke(file: Path, slot: int, word: int, value: int) -> None:
    with file.open("r+b") as opened:
        opened.seek(slot * 512 + word * 8)
        opened.write(struct.pack("<Q", value))


def test_the_layout_has_every_kind_with_the_common_fields() -> None:
    layout = page.layout()
    assert layout.page_bytes == 1 << 20
    samplers = {"machine", "blocksampler", "vmsampler"}
    loads = {"anonymous", "service", "flood", "job", "deed", "reader", "client", "storm", "blocks", "writer"}
    assert set(layout.fields) == samplers | loads
    for fields in layout.fields.values():
        assert fields["state"].word == 2 and fields["control"].word == 3 and fields["beat_ns"].unit == "ns"
        words = [field.word for field in fields.values()]
        assert len(set(words)) == len(words)
        assert max(words) < layout.slot_words


def test_a_field_knows_its_unit_and_meaning() -> None:
    field = page.layout().fields_of("blocksampler")["free_pages"]
    assert (field.word, field.unit) == (9, "pages")
    assert "free" in field.meaning


def test_a_wrong_kind_names_the_right_ones() -> None:
    with pytest.raises(UsageError) as caught:
        page.layout().fields_of("blocksampler2")
    assert "did you mean 'blocksampler'?" in caught.value.hint


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("STATE_READY = 2", "STATE_READY = 9", "disagree"),
        ("MACHINE_BEATS = 8,			/* count: heartbeats */", "MACHINE_BEATS = 8,", "has not the form"),
        ("MACHINE_REALTIME_NS = 9", "MACHINE_REALTIME_NS = 8", "one number"),
        ("	MACHINE_BEATS =", "	BEATS =", "does not begin with its kind"),
        ("enum job_field", "enum work_field", "job_field"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(old: str, new: str, complaint: str) -> None:
    text = page.HEADER.read_text()
    assert old in text
    with pytest.raises(TestbedFault, match=complaint):
        page.parse_layout(text.replace(old, new))


def test_reads_what_the_guest_stored(file: Path, witness: WitnessPage) -> None:
    poke(file, 3, 0, 4)
    poke(file, 3, 2, 3)
    poke(file, 3, 8, 2**64 - 1)
    assert witness.state(3) is State.RUNNING
    assert witness.read(3, "anonymous")["work_units"] == 2**64 - 1
    assert witness.state(4) is State.ABSENT


def test_control_writes_its_word_and_nothing_else(file: Path, witness: WitnessPage) -> None:
    witness.control(2, Control.SWEEP)
    words = struct.unpack("<131072Q", file.read_bytes())
    assert words[2 * 64 + 3] == 2
    assert sum(words) == 2


def test_clear_empties_one_slot(file: Path, witness: WitnessPage) -> None:
    for slot in (1, 2, 3):
        poke(file, slot, 63, 7)
    witness.clear(2)
    content = file.read_bytes()
    assert [content[slot * 512 + 504] for slot in (1, 2, 3)] == [7, 0, 7]


def test_nonsense_from_the_guest_is_a_fault_of_the_testbed(file: Path, witness: WitnessPage) -> None:
    poke(file, 1, 2, 77)
    poke(file, 1, 0, 77)
    with pytest.raises(TestbedFault, match="state 77"):
        witness.state(1)


def test_slots_outside_the_page_and_short_files_are_refused(tmp_path: Path, witness: WitnessPage) -> None:
    with pytest.raises(UsageError, match="slots 0 to 2047"):
        witness.read(2048, "machine")
    short = tmp_path / "short"
    short.write_bytes(b"\0" * 4096)
    with short.open("r+b") as opened, pytest.raises(TestbedFault, match="4096 bytes"):
        WitnessPage(opened.fileno())


def test_a_state_that_is_none_is_told_as_it_is(file: Path, witness: WitnessPage) -> None:
    """A guest that scribbles over its page ends no cell: it is the judge who makes something of it."""
    poke(file, 3, 2, 77)
    read = SlotWitness("A", witness, {"anonymous": (3, "anonymous"), "other": (4, "anonymous")}).read()
    assert list(read) == ["A/anonymous"]
    assert read["A/anonymous"]["state"] == 77


@pytest.mark.parametrize(("name", "slot"), page.OWN_SLOTS.items())
def test_the_header_tells_the_same_slots(name: str, slot: int) -> None:
    assert re.search(rf"KIND_{name.upper()} = .*; slot {slot} \*/", page.HEADER.read_text())
