"""Reading TOML: lines of keys, bounded files, and errors with file, line, key and the nearest right name."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from testbed.errors import UsageError, nearest
from testbed.load import (
    CLAIMS,
    PLAYBOOKS,
    TOPOLOGIES,
    Bytes,
    Configuration,
    Count,
    Memory,
    Pps,
    Seconds,
    Share,
    find_file,
    load_toml,
    measure,
    read_toml,
)
from testbed.load.positions import positions
from testbed.load.quantities import parse_flag
from testbed.load.toml import MAX_TOML_BYTES
from testbed.model import Value


class Inner(Value):
    size: Bytes = 4096
    names: tuple[str, ...] = ()


class Outer(Configuration):
    wait: Seconds = 1.0
    rate: Pps = 100
    memory: Memory = 4096
    count: Count = Field(default=1, ge=1)
    disks: tuple[Inner, ...] = ()
    by_name: dict[str, Inner] = Field(default_factory=dict)


def written(folder: Path, text: str) -> Path:
    path = folder / "test.toml"
    path.write_text(text)
    return path


def refused(folder: Path, text: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        load_toml(written(folder, text), Outer)
    return caught.value


# --- positions


def paths_of(tree: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    parts = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in parts:
        yield (*path, key)
        yield from paths_of(value, (*path, key))


@pytest.mark.parametrize(
    "path", [*PLAYBOOKS.glob("*.toml"), *TOPOLOGIES.glob("*.toml"), CLAIMS], ids=lambda p: p.name
)
def test_every_key_of_our_files_has_a_line(path: Path) -> None:
    text = path.read_text()
    lines, found = text.splitlines(), positions(text)
    for key in paths_of(tomllib.loads(text)):
        name = next(part for part in reversed(key) if isinstance(part, str))
        assert key in found
        assert isinstance(key[-1], int) or name in lines[found[key] - 1]


NASTY = '''\
# [not.a.table]
a = 1 # b = 2
"quoted key" = "# no comment [x]"
text = """
c = 3
[d]
""\\"
"""
raw = \'\'\'
e = 'x' \'\'\'
list = [
  1, # one
  { f = [2, 3], g.h = "}" },
  [ "]" ],
]

[i.j]
k.l = 2000-01-01T00:00:00Z
[[m]]
n = 1
[[m]]
n = 2
[m.o]
p = 3
[[m.q]]
r = '#'
'''


def test_lines_are_found_past_comments_strings_and_inline_tables() -> None:
    found = positions(NASTY)
    assert set(paths_of(tomllib.loads(NASTY))) == set(found)
    assert found[("a",)] == 2
    assert found[("raw",)] == 9
    assert found[("list", 1, "g", "h")] == 13
    assert found[("i", "j", "k", "l")] == 18
    assert found[("m", 1, "n")] == 22
    assert found[("m", 1, "q", 0, "r")] == 26


CHARACTERS = st.characters(exclude_categories=("Cs",))


NAMES = st.text("abcxyz", min_size=1, max_size=4)


@given(st.dictionaries(NAMES, st.text(CHARACTERS, max_size=20), max_size=5))
def test_strings_never_hide_the_keys_that_follow(values: dict[str, str]) -> None:
    def quoted(value: str) -> str:
        return "".join(c if c.isalnum() and c.isascii() else f"\\U{ord(c):08x}" for c in value)

    clean = {key: value for key, value in values.items() if value.isprintable()}
    text = "".join(f'{key} = "{quoted(value)}" # ]}}"\n' for key, value in clean.items())
    assert {key: line for (key,), line in positions(text).items()} == {
        key: number for number, key in enumerate(clean, 1)
    }


# --- errors


def test_an_unknown_key_names_its_line_and_the_nearest_right_one(tmp_path: Path) -> None:
    error = refused(tmp_path, 'wait = "1s"\n\n[[disks]]\nsize = "1MiB"\n[[disks]]\nsiez = "1MiB"\n')
    assert error.where.endswith("test.toml:6: disks[1].siez")
    assert error.message.startswith("unknown key")
    assert "did you mean 'size'?" in error.hint


def test_an_unknown_key_in_a_named_table_has_the_hints_of_that_table(tmp_path: Path) -> None:
    error = refused(tmp_path, '[by_name.swap]\nnamse = ["x"]\n')
    assert error.where.endswith("test.toml:2: by_name.swap.namse")
    assert "did you mean 'names'? known: names, size" in error.hint


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("wait = 40", "40 has no unit"),
        ('wait = "40"', "is not a duration with a unit"),
        ('wait = "-3s"', "'-3s' is not a duration"),
        ('wait = "40 MiB"', "units: ms, s, min, h"),
        ('rate = "5/s"', "is not a packet rate"),
        ('memory = "1.3"', 'as in "1.3x"'),
        ("count = true", "should be a valid integer"),
        ('count = "2"', "should be a valid integer"),
        ("count = 0", "greater than or equal to 1"),
    ],
)
def test_a_quantity_needs_its_unit(tmp_path: Path, text: str, says: str) -> None:
    error = refused(tmp_path, f"# first line\n{text}\n")
    assert says in error.message
    assert f"test.toml:2: {text.split(' ')[0]}" in error.where


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a = 1\na = 2\n", 2, "is not TOML"),
        ("a = [1,\n", 2, "is not TOML"),
        ("a = " + "[" * 5000, None, "nested too deeply"),
    ],
)
def test_what_is_not_toml_says_where(tmp_path: Path, text: str, line: int | None, says: str) -> None:
    error = refused(tmp_path, text)
    assert says in error.message
    assert line is None or f"test.toml:{line}" in error.where


def test_bytes_that_are_no_text_say_where(tmp_path: Path) -> None:
    path = tmp_path / "test.toml"
    path.write_bytes(b'a = 1\nb = "\xff"\n')
    with pytest.raises(UsageError, match="is not UTF-8") as caught:
        read_toml(path)
    assert "test.toml:2" in caught.value.where


def test_only_bounded_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.toml")
    for name, says in (("fifo.toml", "not a file"), ("missing.toml", "No such file"), (".", "not a file")):
        with pytest.raises(UsageError, match=says):
            read_toml(tmp_path / name)
    with pytest.raises(UsageError, match="larger than"):
        read_toml(written(tmp_path, "#" * (MAX_TOML_BYTES + 1)))


# --- names


def test_names_do_not_lead_out_of_their_folder(tmp_path: Path) -> None:
    folder = tmp_path / "topologies"
    folder.mkdir()
    (folder / "abc.toml").write_text("")
    (tmp_path / "outside.toml").write_text("")
    (folder / "link.toml").symlink_to(tmp_path / "outside.toml")
    assert find_file("abc", folder, only_names=True) == folder / "abc.toml"
    for name in ("../outside", "/etc/passwd", "", "abc.toml", "abc\0"):
        with pytest.raises(UsageError, match="no topology"):
            find_file(name, folder, only_names=True)
    with pytest.raises(UsageError, match="leads out"):
        find_file("link", folder, only_names=True)
    with pytest.raises(UsageError) as caught:
        find_file("acb", folder)
    assert "did you mean 'abc'?" in caught.value.hint


# --- quantities


@pytest.mark.parametrize(("given", "flag"), [(True, True), (False, False), ("yes", True), ("no", False)])
def test_a_flag_may_be_told_by_a_parameter(given: object, flag: bool) -> None:
    assert parse_flag(given) is flag


@pytest.mark.parametrize("given", ["true", "", 1, None, "Yes"])
def test_what_is_no_flag_says_so(given: object) -> None:
    with pytest.raises(ValueError, match='neither true nor false, nor "yes" or "no"'):
        parse_flag(given)


def test_quantities_are_written_as_they_are_read() -> None:
    text = {"wait": "0.25s", "rate": "20kpps", "memory": "1.35x", "disks": [{"size": "96MiB"}]}
    value = Outer.model_validate(text)
    assert (value.wait, value.rate, value.memory) == (0.25, 20_000, Share(times=1.35))
    dumped = value.model_dump(mode="json")
    assert dumped["disks"][0]["size"] == "96MiB"
    assert Outer.model_validate(dumped) == value


@given(st.integers(0, 1 << 50), st.floats(0, 1e7), st.floats(0.001, 100))
def test_every_quantity_survives_the_way_to_text_and_back(size: int, wait: float, times: float) -> None:
    value = Outer.model_construct(
        wait=wait, memory=Share(times=times), disks=(Inner.model_construct(size=size),)
    )
    again = Outer.model_validate(value.model_dump(mode="json"))
    assert (again.wait, again.memory, again.disks[0].size) == (wait, Share(times=times), size)


@pytest.mark.parametrize(
    ("value", "dimension", "amount"),
    [
        ("16s", "a duration", 16),
        ("2min", "a duration", 120),
        ("8MiB", "a size", 8 << 20),
        ("1.35x", "a multiple", 1.35),
        ("20kpps", "a packet rate", 20_000),
        ("1Mbit/s", "a bit rate", 1e6),
        (7, "a number", 7),
        ("random", "a word", 0),
        (True, "a word", 0),
    ],
)
def test_a_parameter_is_measured(value: object, dimension: str, amount: float) -> None:
    assert measure(value) == (dimension, amount)


def test_of_thousands_of_names_the_nearest_is_told_and_not_all() -> None:
    hint = nearest("ublk_drv", [f"module_{number}" for number in range(4000)] + ["ublk_drw"])
    assert hint == "did you mean 'ublk_drw'? known: 4001 names"
