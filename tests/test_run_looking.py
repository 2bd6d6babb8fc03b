"""When the guest is looked into: not at once, again after the retransmission, and never at its mercy."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import history, store
from testbed.errors import TestbedFault
from testbed.run import looking
from testbed.run.looking import Looker
from testbed.snapshot import Snapshot
from tests.test_waitfor import RULES, look


class Guest:
    """Writes a file for a dump, or refuses to."""

    def __init__(self) -> None:
        self.dumped: list[str] = []
        self.refuses = False

    def dump(self, path: Path) -> None:
        if self.refuses:
            raise TestbedFault("the monitor is gone")
        path.write_bytes(b"\x7fELF")
        self.dumped.append(path.name)


@pytest.fixture
def looker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Looker]:
    monkeypatch.setattr(looking, "FIRST_S", 0.0)
    monkeypatch.setattr(looking, "MARGIN_S", 0.0)
    monkeypatch.setattr(looking, "AGAIN_S", 0.0)
    writer = history.Writer(tmp_path / store.HISTORY)
    yield Looker(Guest(), tmp_path / "vmlinux", tmp_path, RULES, writer)
    writer.close()


def reads(monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    """Every dump is read as the small wedge, whose retransmission is due at once."""

    def read(dump: Path, vmlinux: Path, *, number: int, taken_ns: int, paused_ms: int) -> Snapshot:
        return look(number, taken_ns, **changes)

    monkeypatch.setattr(looking.introspection, "look", read)


def until(looker: Looker, looks: int) -> None:
    """Steps until so many looks were read."""
    for _ in range(2000):
        looker.step()
        if len(looker.snapshots) >= looks and looker._examining is None:
            return
        threading.Event().wait(0.001)
    raise AssertionError(f"only {len(looker.snapshots)} looks")


def test_looks_are_saved_and_examined_in_pairs(looker: Looker, monkeypatch: pytest.MonkeyPatch) -> None:
    reads(monkeypatch, sockets=())
    looker.begin()
    until(looker, 2)
    assert looker.last is not None and looker.last.proves == "open"
    assert not looker.proved
    looker.close(keep=True)
    names = {path.name for path in looker.folder.iterdir()}
    kept = {f"dump-{number:02d}.elf.gz" for number in (looker.last.first, looker.last.second)}
    assert {"snapshot-01.json", "snapshot-02.json"} <= names
    assert {name for name in names if name.startswith("dump")} == kept
    seen = history.read(looker.folder / store.HISTORY)
    assert [event.what for event in seen.events][:2] == ["look", "look"]
    assert seen.first("examined") is not None


def test_a_proof_that_is_refuted_is_forgotten_and_looks_go_on(
    looker: Looker, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads(monkeypatch, sockets=())
    looker.begin()
    until(looker, 2)
    assert looker.last is not None
    looker.last = looker.last.model_copy(update={"proves": "deadlocked"})
    assert looker.step() and looker.proved
    looker.refute()
    assert not looker.proved and not looker.step()
    until(looker, 2)
    assert [each.number for each in looker.snapshots] == [3, 4]


def test_dumps_of_a_cell_that_recovered_are_dropped_its_looks_kept(
    looker: Looker, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads(monkeypatch)
    looker.begin()
    until(looker, 1)
    looker.close(keep=False)
    names = {path.name for path in looker.folder.iterdir()}
    assert "snapshot-01.json" in names and not any(name.startswith("dump") for name in names)


def test_the_second_look_waits_for_the_retransmission(
    looker: Looker, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads(monkeypatch)  # its socket sends again in 10 s
    looker.begin()
    until(looker, 1)
    for _ in range(50):
        looker.step()
    assert isinstance(looker.guest, Guest) and looker.guest.dumped == ["dump-01.elf"]


def test_a_dump_that_fails_is_told_and_ends_the_looking(looker: Looker) -> None:
    assert isinstance(looker.guest, Guest)
    looker.guest.refuses = True
    looker.begin()
    for _ in range(5):
        assert looker.step() is False
    looker.close(keep=True)
    failed = history.read(looker.folder / store.HISTORY).first("look.failed")
    assert failed is not None and "monitor is gone" in failed.fields["message"]


def test_a_dump_that_can_not_be_read_is_told_too(looker: Looker, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object, **__: object) -> Snapshot:
        raise TestbedFault("not a dump")

    monkeypatch.setattr(looking.introspection, "look", read)
    looker.begin()
    for _ in range(200):
        looker.step()
        threading.Event().wait(0.001)
    assert looker.snapshots == []
    assert history.read(looker.folder / store.HISTORY).first("look.failed") is not None


def test_a_kernel_without_debug_information_is_left_alone(looker: Looker) -> None:
    looker.vmlinux = None
    looker.begin()
    assert looker.step() is False
    assert isinstance(looker.guest, Guest) and looker.guest.dumped == []


def test_the_last_look_is_kept_and_concludes_nothing(looker: Looker, monkeypatch: pytest.MonkeyPatch) -> None:
    reads(monkeypatch)
    looker.begin()
    until(looker, 1)
    looker.look_back()
    looker.close(keep=False)
    names = sorted(path.name for path in looker.folder.iterdir() if path.name != store.HISTORY)
    assert names == [f"snapshot-{number:02d}.json" for number in range(1, len(names) + 1)]
    assert len(names) >= 2
    assert history.read(looker.folder / store.HISTORY).first("examined") is None or len(looker.snapshots) > 1


def test_a_last_look_that_fails_is_told_and_no_more(looker: Looker) -> None:
    guest = looker.guest
    assert isinstance(guest, Guest)
    guest.refuses = True
    looker.look_back()
    looker.look_back()
    looker.close(keep=False)
    failed = [e for e in history.read(looker.folder / store.HISTORY).events if e.what == "look.failed"]
    assert len(failed) == 1
