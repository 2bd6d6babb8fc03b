"""`testbed patches`: what each command says, with which code it ends, and that --json stands alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import Result

from testbed.kernels import patchset
from testbed.kernels.checking import new_warnings
from tests.commands import testbed
from tests.test_kernels_import import SECOND, _base
from tests.test_kernels_sets import DIFF, GOOD, make_set

COMMANDS = ("list", "show", "check", "import", "new", "compose", "write")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two sets that get into each other's way, and a base of a few files."""
    monkeypatch.setenv("COLUMNS", "100")
    _base(tmp_path, monkeypatch)
    make_set(tmp_path / "sets", "first", GOOD.replace('["6.1"]', '["6.1", "6.12"]'))
    make_set(tmp_path / "sets", "second", patches={"b.patch": SECOND})
    return tmp_path / "sets"


def patches(root: Path, *words: str) -> Result:
    return testbed("patches", *words, "--into", str(root))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str) -> None:
    said = testbed("patches", command, "--help")
    assert said.exit_code == 0 and "Example: testbed patches" in said.output


def test_list_and_show(root: Path) -> None:
    said = patches(root, "list")
    assert said.exit_code == 0 and "first" in said.stdout and "6.1, 6.12" in said.stdout
    assert [one["name"] for one in json.loads(patches(root, "list", "--json").stdout)] == ["first", "second"]
    said = patches(root, "show", "first")
    assert "Somebody, 2007-08-15: Re: an idea" in said.stdout and "net/file.c" in said.stdout
    shown = json.loads(patches(root, "show", "first", "--json").stdout)
    assert shown["patches"][0]["touches"] == ["net/file.c"] and len(shown["patches"][0]["sha256"]) == 64
    said = patches(root, "show", "frist")
    assert said.exit_code == 2 and "did you mean 'first'?" in said.stderr


def test_new_and_import(root: Path, tmp_path: Path) -> None:
    said = patches(root, "new", "mine", "--base", "7.3")
    assert said.exit_code == 0 and patchset.load("mine", root).about.bases == ("7.3",)
    assert patches(root, "new", "mine").exit_code == 2
    made = json.loads(patches(root, "import", "copy", str(root / "first"), "--json").stdout)
    assert made["name"] == "copy" and made["bases"] == ["6.1"] and len(made["patches"]) == 1
    said = patches(root, "import", "other", str(tmp_path / "nowhere"))
    assert said.exit_code == 2 and "thread:FILE" in said.stderr


def test_compose_explains_and_ends_with_1(root: Path) -> None:
    said = patches(root, "compose", "first+second")
    assert said.exit_code == 1
    words = " ".join(said.stdout.split())
    assert "hunk #1 of net/file.c" in words and "first/0001.patch changed that place" in words
    found = json.loads(patches(root, "compose", "first+second@6.1", "--json").stdout)
    assert found["conflicts"][0]["because_of"] == "first/0001.patch" and found["base"] == "6.1"
    assert patches(root, "compose", "first+second-second").exit_code == 0
    assert patches(root, "compose", "first-first").exit_code == 2
    assert patches(root, "compose", "first+third").exit_code == 2


def test_compose_tells_what_the_sets_themselves_forbid(root: Path) -> None:
    """Also where all hunks go in."""
    toml = GOOD.replace("[[idea]]", 'conflicts = ["first"]\n[[idea]]')
    make_set(root, "third", toml, {"a.patch": "--- /dev/null\n+++ b/net/new.c\n@@ -0,0 +1 @@\n+x\n"})
    for words, says in (
        ("first+third", "'third' conflicts with 'first'"),
        ("third@6.12", "'third' is not made for base 6.12"),
        ("third+third", "patch set 'third' is named twice"),
    ):
        said = patches(root, "compose", words)
        assert said.exit_code == 1 and says in said.stdout and "all patches go in" not in said.stdout
        (found,) = json.loads(patches(root, "compose", words, "--json").stdout)["conflicts"]
        assert found["says"] == says and found["patch"] == ""


def test_check_until_applies(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = patches(root, "check", "--until", "applies")
    assert said.exit_code == 0 and said.stdout.count("1 patch, no fuzz") == 3
    rows = json.loads(patches(root, "check", "first", "-b", "6.12", "--until", "applies", "--json").stdout)
    assert rows == [
        {"set": "first", "base": "6.12", "checks": {"applies": {"ok": True, "says": "1 patch, no fuzz"}}}
    ]
    (root / "first/0001.patch").write_text(DIFF.replace("-two", "-zwei"))
    said = patches(root, "check", "first", "--until", "applies")
    assert said.exit_code == 1 and "first/0001.patch: hunk #1 of net/file.c" in " ".join(said.stdout.split())
    assert patches(root, "check", "first", "--until", "boot").exit_code == 2
    assert patches(root, "check", "first", "-b", "7.3", "--until", "applies").exit_code == 2


def test_what_a_check_found_is_kept_and_written(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("testbed.cli.patches.CHECKS", tmp_path / "results" / "checks")
    (tmp_path / "results").mkdir(exist_ok=True)
    words = ("write", "--page", str(tmp_path / "page.md"), "--results", str(tmp_path / "results"))
    assert patches(root, *words).exit_code == 0
    assert "| `first` | 6.1 | not checked | not checked |" in (tmp_path / "page.md").read_text()
    assert patches(root, "check", "first", "--until", "applies", "--keep").exit_code == 0
    patches(root, *words)
    page = (tmp_path / "page.md").read_text()
    assert "| `first` | 6.12 | 1 patch, no fuzz | not checked |" in page
    assert "| `second` | 6.1 | not checked |" in page
    (root / "first/0001.patch").write_text(DIFF.replace("-two", "-zwei"))
    patches(root, *words)
    assert (
        "| `first` | 6.1 | its patches changed since they were checked |"
        in (tmp_path / "page.md").read_text()
    )
    assert patches(root, "check", "first", "--until", "applies", "--keep").exit_code == 1
    patches(root, *words)
    assert "| `first` | 6.1 | **no**: first/0001.patch: hunk #1 of" in (tmp_path / "page.md").read_text()


def test_a_warning_is_new_wherever_the_lines_went() -> None:
    bases = ["net/a.c:10:3: warning: x", "net/a.c:20:3: warning: x"]
    ours = ["net/a.c:14:3: warning: x", "net/a.c:24:3: warning: x"]
    assert new_warnings(ours, bases) == []
    assert new_warnings([*ours, "net/a.c:30:3: warning: x"], bases) == ["net/a.c:30:3: warning: x"]
    assert new_warnings(["net/b.c:1: warning: y"], bases) == ["net/b.c:1: warning: y"]
