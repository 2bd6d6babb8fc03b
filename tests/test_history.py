"""The history: what is written is what is read, and damage is counted, never fatal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from histories import Story, write_result

from testbed import history, store
from testbed.errors import TestbedFault, UsageError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.jsonl"


def test_what_was_written_is_read(path: Path) -> None:
    writer = history.Writer(path)
    t_ns = writer.event("fault.applied", name="cut", flows=["a"])
    writer.sample("A/x", {"n": 1, "m": 5})
    writer.sample("A/x", {"n": 2, "m": 5})
    writer.close()
    read = history.read(path)
    assert [(e.what, e.name, e.fields["flows"], e.t_ns) for e in read.events] == [
        ("fault.applied", "cut", ["a"], t_ns)
    ]
    assert [value for _, value in read.series("A/x.n")] == [1, 2]
    assert [value for _, value in read.series("A/x.m")] == [5]
    assert read.damaged_lines == 0


def test_only_changes_are_written(path: Path) -> None:
    writer = history.Writer(path)
    for _ in range(5):
        writer.sample("A/x", {"n": 1})
    writer.close()
    writer.close()
    assert len(path.read_bytes().splitlines()) == 1


def test_an_event_is_on_disk_before_the_call_returns(path: Path) -> None:
    writer = history.Writer(path)
    writer.event("steady")
    assert [e.what for e in history.read(path).events] == ["steady"]
    writer.close()


def test_a_history_has_one_writer(path: Path) -> None:
    history.Writer(path).close()
    with pytest.raises(FileExistsError):
        history.Writer(path)


def test_a_disk_that_refuses_is_a_fault_of_the_testbed() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full on this host: mount devtmpfs")
    writer = history.Writer.__new__(history.Writer)
    writer._path, writer._file, writer._last = full, full.open("wb"), {}
    with pytest.raises(TestbedFault, match="cannot write the history"):
        writer.event("steady")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"3",
        b"\xff\xfe",
        b'{"t":1}',
        b'{"t":-1,"kind":"event","what":"x"}',
        b'{"t":true,"kind":"event","what":"x"}',
        b'{"t":1.5,"kind":"event","what":"x"}',
        b'{"t":1,"kind":"event","what":3}',
        b'{"t":1,"kind":"sample","of":"a","v":[1]}',
        b'{"t":1,"kind":"sample","of":"a","v":{"x":"1"}}',
        b'{"t":1,"kind":"sample","of":"a","v":{"x":true}}',
        b'{"t":1,"kind":"other"}',
        b'{"t":' + b"9" * 5000 + b',"kind":"event","what":"x"}',
        b'{"t":1' + b"0" * 400 + b',"kind":"event","what":"x"}',
        b'{"t":1,"kind":"sample","of":"a","v":{"x":1' + b"0" * 400 + b"}}",
        b"[" * 50_000,
        b"x" * (1 << 17),
    ],
)
def test_a_damaged_line_is_counted_and_the_rest_is_read(path: Path, line: bytes) -> None:
    good = b'{"t":%d,"kind":"sample","of":"a","v":{"x":%d}}\n'
    path.write_bytes(good % (1, 1) + line + b"\n" + good % (2, 2))
    read = history.read(path)
    assert read.series("a.x") == ((1, 1), (2, 2))
    assert read.damaged_lines >= 1


def test_time_that_runs_backwards_is_damage(path: Path) -> None:
    path.write_text('{"t":5,"kind":"event","what":"a"}\n{"t":4,"kind":"event","what":"b"}\n')
    read = history.read(path)
    assert ([e.what for e in read.events], read.damaged_lines, read.last_ns) == (["a"], 1, 5)


def test_the_value_in_force() -> None:
    read = history.History((), {"a.x": ((10, 1), (20, 2))})
    assert [read.value_at("a.x", t) for t in (9, 10, 19, 20, 99)] == [None, 1, 1, 2, 2]
    assert read.value_at("a.y", 10) is None


def test_first_of_a_name() -> None:
    events = (
        history.Event(1, "fault.applied", {"name": "a"}),
        history.Event(2, "fault.applied", {"name": "b"}),
    )
    read = history.History(events)
    found = read.first("fault.applied", "b")
    assert found is not None
    assert found.t_ns == 2
    assert read.first("fault.reverted") is None


def test_the_evidence_leaves_labels_behind(tmp_path: Path) -> None:
    folder = write_result(tmp_path / "r", Story(consoles={"A": b"hello", "C": b""}), kernel="very-secret-set")
    evidence = store.read_evidence(folder)
    assert evidence.consoles == {"A": b"hello", "C": b""}
    assert "very-secret-set" not in repr(evidence)
    assert evidence.history == Story().but(consoles={"A": b"hello", "C": b""}).evidence().history


def test_a_folder_that_is_no_result_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="result folder"):
        store.read_evidence(tmp_path)
    (tmp_path / store.PLAN).write_text("{")
    with pytest.raises(UsageError, match="not JSON"):
        store.read_evidence(tmp_path)
    (tmp_path / store.PLAN).write_text(json.dumps({}))
    with pytest.raises(UsageError, match="not a plan"):
        store.read_evidence(tmp_path)
