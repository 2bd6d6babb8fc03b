"""`testbed patches`: what each command says, with which code it ends, and that --json stands alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import Result

from testbed.cli import inputs
from testbed.errors import BuildError, MissingCapability, UsageError
from testbed.kernels import checking, patchset, record, source
from testbed.kernels.checking import new_warnings
from testbed.model import KernelSpec
from testbed.run import trial
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


def test_a_folder_of_sets_may_be_named_from_where_one_is(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What reads mails and applies patches works elsewhere."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "theirs.mbox").write_text(
        f"From x Thu Jan  1 00:00:00 1970\nFrom: A <a@b>\nSubject: x\n\nWhy.\n---\n{DIFF}"
    )
    said = testbed("patches", "import", "third", "theirs.mbox", "--into", "sets")
    assert said.exit_code == 0 and (root / "third/series").is_file(), said.output


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


def test_show_has_the_patches_for_a_base(root: Path) -> None:
    (root / "first/series-6.12").write_text("6.12.patch\n")
    (root / "first/6.12.patch").write_text(DIFF)
    assert "6.12.patch" not in patches(root, "show", "first").stdout
    assert "6.12.patch" in patches(root, "show", "first@6.12").stdout
    said = patches(root, "show", "first@7.3")
    assert said.exit_code == 2 and "'first' is not made for base 7.3" in said.stderr


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


def test_a_base_that_nobody_knows_is_said_and_can_be_given(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, stub = source.named, source.find

    def find(base: str, progress: object) -> source.Source:
        if base in ("6.6", "6.1.192"):
            raise UsageError(f"no suite has {base}", hint="give one")
        return stub(base, progress)  # type: ignore[arg-type]

    monkeypatch.setattr(source, "find", find)
    make_set(root, "third", GOOD.replace('["6.1"]', '["6.6", "6.1.192"]'))
    said = patches(root, "check", "third", "--until", "applies")
    assert said.exit_code == 3
    assert said.stdout.count("this base can not be had: no suite has") == 2 and "(give one)" in said.stdout
    rows = json.loads(patches(root, "check", "--until", "applies", "--json").stdout)
    assert [(row["set"], row["base"], row["checks"]["applies"]["ok"]) for row in rows] == [
        ("first", "6.1", True), ("first", "6.12", True), ("second", "6.1", True),
        ("third", "6.6", None), ("third", "6.1.192", None),
    ]  # fmt: skip
    given = "6.6.9~0123456789ab"
    monkeypatch.setattr(source, "named", lambda base, told: given if base == "/linux" else real(base, told))
    said = patches(root, "check", "-b", "/linux", "--until", "applies", "--json")
    assert said.exit_code == 0
    assert [(row["set"], row["base"], [*row["checks"]]) for row in json.loads(said.stdout)] == [
        ("first", given, []), ("second", given, []), ("third", given, ["applies"])
    ]  # fmt: skip
    assert patches(root, "check", "-b", "/linux", "--until", "applies").stdout.count("not made for it") == 2


def test_a_set_without_patches_is_not_sound(root: Path) -> None:
    patches(root, "new", "empty")
    said = patches(root, "check", "empty", "--until", "applies")
    assert said.exit_code == 1 and "'empty' has no patches" in said.stdout


@pytest.fixture
def stages(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Exception]:
    """Checks to their end, with all that builds and boots stubbed: what fails when, the tests say.

    `SET` fails to build, `SET watched` with LOCKDEP; `base` and `base watched` are their bases.
    """
    fails: dict[str, Exception] = {}
    built = record.BuiltKernel("d", tmp_path / "built", "6.1", (), None, None)
    about = record.KernelRecord(
        spec=KernelSpec(base="6.1"),
        digest="d",
        inputs={},
        compiler="",
        release="",
        confounders=(),
        modules=False,
    )
    built.folder.mkdir()
    record.write(built.folder, about)
    (built.folder / "build.log").write_text("  CC      net/other.o\n")

    def build(spec: KernelSpec, *, fragments: object = None, **_: object) -> record.BuiltKernel:
        watched = " watched" if fragments is checking.FRAGMENTS else ""
        error = fails.get("+".join(spec.sets or ("base",)) + watched)
        if error is not None:
            raise error
        return built

    monkeypatch.setattr(checking.builder, "build", build)
    monkeypatch.setattr(
        checking.builder,
        "base_tree",
        lambda spec, **more: build(spec.model_copy(update={"sets": ()}), **more),
    )
    monkeypatch.setattr(inputs, "idle_plan_of", lambda *_: None)
    monkeypatch.setattr(inputs, "build_image", lambda **_: None)
    monkeypatch.setattr(trial, "alone", lambda plan: plan)
    monkeypatch.setattr(trial, "boot", lambda *_: trial.Trial((), True, {}))
    monkeypatch.setattr("testbed.cli.patches.CHECKS", tmp_path / "results")
    for name in ("first", "second"):
        make = (root / name / "set.toml").read_text()
        (root / name / "set.toml").write_text(make.replace('"6.1", "6.12"', '"6.1"'))
    return fails


def found(root: Path, *words: str) -> tuple[int, dict[str, dict[str, bool | None]]]:
    """How a check of all sets ended, and what it found by set and step."""
    said = patches(root, "check", "--json", *words)
    rows = json.loads(said.stdout) if said.stdout else []
    return said.exit_code, {
        row["set"]: {step: one["ok"] for step, one in row["checks"].items()} for row in rows
    }


@pytest.mark.parametrize(
    ("stage", "first"),
    [
        ("first", {"applies": True, "builds": False}),
        ("first watched", {"applies": True, "builds": True, "boots": False}),
    ],
)
def test_a_set_that_does_not_build_ends_no_other(
    root: Path, tmp_path: Path, stages: dict[str, Exception], stage: str, first: dict[str, bool | None]
) -> None:
    stages[stage] = BuildError("the kernel does not compile: net/file.c:2: no")
    code, rows = found(root, "--keep")
    sound = {"applies": True, "builds": True, "boots": True, "counters": False}  # it names no counters
    assert code == 1 and rows == {"first": first, "second": sound}
    kept = json.loads((tmp_path / "results/first@6.1.json").read_text())
    assert {one["step"]: one["ok"] for one in kept["checks"]} == first


def test_a_base_that_does_not_build_says_nothing_of_a_set(root: Path, stages: dict[str, Exception]) -> None:
    stages["base watched"] = BuildError("no")
    code, rows = found(root, "--until", "boots")
    assert code == 3 and rows["first"] == {"applies": True, "builds": True, "boots": None}
    assert rows["second"] == rows["first"]
    stages["base"] = BuildError("no")
    code, rows = found(root)
    assert code == 3 and rows["first"] == {"applies": True, "builds": None}


def test_a_fault_of_the_host_ends_all_after_what_was_found_was_kept(
    root: Path, tmp_path: Path, stages: dict[str, Exception]
) -> None:
    stages["second"] = MissingCapability("no compiler")
    code, rows = found(root, "--keep", "--until", "boots")
    assert code == 4
    assert rows == {"first": {"applies": True, "builds": True, "boots": True}, "second": {"applies": True}}
    assert {path.name for path in (tmp_path / "results").iterdir()} == {"first@6.1.json", "second@6.1.json"}


def test_a_touched_file_that_gives_no_object_is_named(root: Path, stages: dict[str, Exception]) -> None:
    said = patches(root, "check", "first", "--until", "builds")
    assert said.exit_code == 0 and "; 1 touched file gives no object here: net/file.c" in said.stdout
    (root / "first/0001.patch").write_text(DIFF.replace("file.c", "other.c"))
    assert "gives no object" not in patches(root, "check", "first", "--until", "builds").stdout


def test_what_a_check_found_is_kept_and_written(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("testbed.cli.patches.CHECKS", tmp_path / "results" / "checks")
    (tmp_path / "results").mkdir(exist_ok=True)
    words = ("write", "--page", str(tmp_path / "page.md"), "--results", str(tmp_path / "results"))
    said = patches(root, "write", "--page", str(tmp_path / "none/page.md"))
    assert said.exit_code == 2 and "there is no such folder" in said.stderr
    assert patches(root, *words).exit_code == 0
    assert "| `first` | 6.1 | not checked | not checked |" in (tmp_path / "page.md").read_text()
    assert patches(root, "check", "first", "--until", "applies", "--keep").exit_code == 0
    patches(root, *words)
    page = (tmp_path / "page.md").read_text()
    assert "| `first` | 6.12 (6.1.1) | 1 patch, no fuzz | not checked |" in page
    assert "| `second` | 6.1 | not checked |" in page
    (root / "first/0001.patch").write_text(DIFF.replace("-two", "-zwei"))
    patches(root, *words)
    assert (
        "| `first` | 6.1 (6.1.1) | its patches changed since they were checked |"
        in (tmp_path / "page.md").read_text()
    )
    assert patches(root, "check", "first", "--until", "applies", "--keep").exit_code == 1
    patches(root, *words)
    assert (
        "| `first` | 6.1 (6.1.1) | **no**: first/0001.patch: hunk #1 of" in (tmp_path / "page.md").read_text()
    )


def test_a_warning_is_new_wherever_the_lines_went() -> None:
    bases = ["net/a.c:10:3: warning: x", "net/a.c:20:3: warning: x"]
    ours = ["net/a.c:14:3: warning: x", "net/a.c:24:3: warning: x"]
    assert new_warnings(ours, bases) == []
    assert new_warnings([*ours, "net/a.c:30:3: warning: x"], bases) == ["net/a.c:30:3: warning: x"]
    assert new_warnings(["net/b.c:1: warning: y"], bases) == ["net/b.c:1: warning: y"]
