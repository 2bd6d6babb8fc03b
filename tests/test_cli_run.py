"""What `run` says and leaves, with a run stage that boots nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from testbed.cli import inputs
from testbed.cli.exits import Exit
from testbed.errors import BootFailure, TestbedFault
from testbed.images import BuiltImage
from testbed.kernels import BuiltKernel
from testbed.kernels.builder import FRAGMENT
from testbed.kernels.config import config_text, parse_fragment
from testbed.machines import sandbox
from testbed.run import cell
from tests.commands import testbed
from tests.histories import Story, write_result

DIGEST = "0" * 24
Run = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`testbed run flood` into a folder, where each cell ends as it is told to."""
    (tmp_path / "config").write_text(config_text(parse_fragment(FRAGMENT.read_text(), FRAGMENT)))
    built = BuiltKernel(DIGEST, tmp_path, "6.1", (), None, None)
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(inputs.images, "build", lambda _own=None: BuiltImage(DIGEST, tmp_path, tmp_path))
    monkeypatch.setattr(inputs.kernels, "digest", lambda spec, **_: DIGEST)
    monkeypatch.setattr(inputs.kernels, "build", lambda spec, **_: built)
    monkeypatch.setattr(sandbox, "probe", lambda: None)
    monkeypatch.setattr(inputs, "write_report", lambda _played: None)
    monkeypatch.setattr(inputs, "write_index", lambda folder, _cells: folder / "index.html")

    def played(*words: str, error: Exception | None = None) -> Any:
        def deed(_plan: Any, _inputs: Any, folder: Path, _listener: Any, **_: Any) -> None:
            if error is not None:
                raise error
            write_result(folder, Story())

        monkeypatch.setattr(cell, "run", deed)
        into = ("--into", str(tmp_path / "results"))
        return testbed("run", "flood", *into, "--accelerator", "tcg", "--quiet", *words)

    return played


def test_keep_on_a_finished_cell_says_that_no_lab_is_up_and_the_way_out(run: Run) -> None:
    first = run("--keep")
    assert first.exit_code == Exit.MET and "no lab is left up" not in first.stderr
    again = run("--keep")
    assert "no lab is left up" in again.stderr and "--into" in again.stderr
    assert again.exit_code == Exit.MET
    another = run("--keep", "--repeat", "2")
    assert another.exit_code == Exit.MET and "no lab is left up" not in another.stderr


def test_keep_on_a_cell_that_fails_says_so(run: Run) -> None:
    failed = run("--keep", error=TestbedFault("a hiccup"))
    assert failed.exit_code == Exit.FAULT
    assert "came to no end" in failed.stderr


def test_another_topology_is_played_beside_the_usual_one(run: Run, tmp_path: Path) -> None:
    for words in ((), ("--topology", "abc-nics", "--nic", "e1000e")):
        assert run(*words).exit_code == Exit.MET
    first, second = sorted(path.parent.name for path in (tmp_path / "results").glob("*/plan.json"))
    assert first.startswith("flood-short,topology=abc-nics-") and second.startswith("flood-short-")
    wish = inputs.Wish("flood", ("stock",), topology="abc-nics")
    assert inputs.campaign_name(wish) == "flood-short-abc-nics"


def test_a_kernel_without_a_set_that_the_variant_needs_is_refused_and_leaves_nothing(
    run: Run, tmp_path: Path
) -> None:
    done = run("--variant", "floor")
    assert done.exit_code == Exit.USAGE and "which has not clean-floor" in done.stderr
    assert not list((tmp_path / "results").glob("*/*"))
    assert run("--variant", "floor", "--kernel", "clean-floor").exit_code == Exit.MET


def test_a_kernel_that_does_not_boot_ends_with_1(run: Run) -> None:
    done = run(error=BootFailure("A does not get ready", where="console-A.log", hint="boot it"))
    assert done.exit_code == Exit.NOT_MET
    assert "the kernel under test does not boot: console-A.log: A does not get ready" in done.stderr
    assert "boot it" in done.stderr


def test_a_parameter_is_swept_over_its_values_with_all_repeats_of_the_first_before_the_second(
    run: Run, tmp_path: Path
) -> None:
    done = run("--variant", "mixed", "--sweep", "mapped=0.1, 0.3,0.6", "--repeat", "2")
    assert done.exit_code == Exit.MET, done.output
    found = sorted((tmp_path / "results").glob("*/plan.json"), key=lambda path: path.stat().st_mtime_ns)
    names = [path.parent.name.partition("-mixed")[0] + path.parent.name[-12:-9] for path in found]
    values = ("0.1", "0.3", "0.6")
    assert names == [f"flood-short,mapped={value}-r{number}" for number in (1, 2) for value in values]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--sweep", "mapped"), "not name=value,value"),
        (("--sweep", "rate=1kpps,"), "not name=value,value"),
        (("--sweep", "rate=1kpps", "--set", "rate=2kpps"), "'rate' is set, and can not be swept"),
        (("--sweep", "rate=1kpps", "--until-clear"), "--until-clear asks one question"),
        (("--sweep", "rtae=1kpps"), "rate"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_refused(run: Run, words: tuple[str, ...], said: str) -> None:
    done = run(*words)
    assert done.exit_code == Exit.USAGE and said in done.stderr


@pytest.mark.parametrize("playbook", ["local-daemon", "fragmentation", "write-rate"])
def test_controls_of_a_playbook_that_has_none_are_refused(playbook: str) -> None:
    told = testbed("run", playbook, "--controls", "--accelerator", "tcg", "--quiet")
    assert told.exit_code == Exit.USAGE
    assert f"'{playbook}' has no controls" in told.stderr and "--controls" in told.stderr
