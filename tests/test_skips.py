"""What CI asks of the tests: a skip names its remedy, there it is a failure, and all keeps to a budget."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.conftest import BUDGET_S, over_budget

pytest_plugins = ("pytester",)

CONFTEST = Path(__file__).parent / "conftest.py"
TESTS = """
import pytest

def test_in_the_middle():
    pytest.skip("no /dev/full: mount devtmpfs")

@pytest.mark.skipif(True, reason="no mke2fs: run 'make setup'")
def test_by_its_mark(): ...

@pytest.fixture
def compiler():
    pytest.skip("no gcc: run 'make setup'")

def test_by_its_fixture(compiler): ...

@pytest.mark.xfail(reason="known")
def test_that_is_known_to_fail():
    assert False

@pytest.mark.becomes_ordinary
def test_for_root(): ...
"""
REMEDIES = ("no /dev/full: mount devtmpfs", "no mke2fs: run 'make setup'", "no gcc: run 'make setup'")


@pytest.fixture
def run(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest(CONFTEST.read_text())
    pytester.makepyfile(TESTS)
    return pytester


def played(run: pytest.Pytester) -> tuple[dict[str, int], str]:
    done = run.runpytest_inprocess("--disable-plugin-autoload", "-rsfE", "-W", "ignore")
    return done.parseoutcomes(), done.stdout.str()


def test_a_skip_names_its_remedy(run: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 0)
    outcomes, said = played(run)
    assert outcomes == {"skipped": 3, "xfailed": 1, "passed": 1}
    assert all(remedy in said for remedy in REMEDIES)


def test_in_ci_every_skip_is_a_failure(run: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    monkeypatch.setattr(os, "getuid", lambda: 0)
    outcomes, said = played(run)
    assert outcomes == {"failed": 1, "errors": 2, "xfailed": 1, "passed": 1}
    assert all(remedy in said for remedy in REMEDIES)
    assert said.count("CI must run ") >= 3


def test_an_ordinary_users_run_leaves_out_what_becomes_one(
    run: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    outcomes, _ = played(run)
    assert outcomes == {"failed": 1, "errors": 2, "xfailed": 1, "deselected": 1}


# --- the budget


@pytest.mark.parametrize(("took_s", "over"), [(0.0, False), (BUDGET_S, False), (BUDGET_S + 1, True)])
def test_the_budget_is_three_quarters_of_an_hour(took_s: float, over: bool) -> None:
    assert BUDGET_S == 2700
    assert bool(over_budget(took_s)) is over
    assert not over or "CI has 45 min, and this took 45.0" in over_budget(took_s)


@pytest.mark.parametrize(
    ("ci", "ago_s", "code"),
    [
        ("true", BUDGET_S + 60, pytest.ExitCode.TESTS_FAILED),
        ("true", 60, pytest.ExitCode.OK),
        ("", BUDGET_S + 60, pytest.ExitCode.OK),
    ],
)
def test_ci_fails_beyond_its_budget_though_all_passed(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, ci: str, ago_s: float, code: pytest.ExitCode
) -> None:
    pytester.makeconftest(CONFTEST.read_text())
    pytester.makepyfile("def test_that_passes(): ...")
    monkeypatch.setenv("CI", ci)
    monkeypatch.setenv("TESTBED_CI_BEGUN", str(time.time() - ago_s))
    done = pytester.runpytest_inprocess("--disable-plugin-autoload", "-W", "ignore")
    assert done.parseoutcomes() == {"passed": 1}
    assert done.ret == code
    assert ("CI has 45 min" in done.stdout.str()) is (code != pytest.ExitCode.OK)


def test_ci_says_when_it_began() -> None:
    assert (
        "TESTBED_CI_BEGUN=$(date +%s) exec make test" in (CONFTEST.parent.parent / ".ci" / "run").read_text()
    )
