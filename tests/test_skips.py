"""What skips: with its remedy on a user's machine, as a failure in CI; what an ordinary user leaves out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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
