"""What the examination of a host says: each lack with its remedy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed import doctor, proc
from testbed.cli import host
from testbed.cli.exits import Exit
from testbed.doctor import Check
from testbed.errors import MissingCapability, TestbedFault
from testbed.proc import Completed
from tests.commands import testbed

WANTED = doctor.wanted_packages(doctor.PACKAGES.read_text())


def fine() -> str:
    return "works"


@pytest.fixture(autouse=True)
def a_fine_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that has all packages and namespaces."""
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    _programs(monkeypatch, lambda argv: "".join(f"{name} installed\n" for name in WANTED))


def _programs(monkeypatch: pytest.MonkeyPatch, says: Callable[[tuple[str, ...]], str]) -> None:
    def run(argv: list[str], **_: object) -> Completed:
        return Completed(tuple(argv), 0, says(tuple(argv)), "")

    monkeypatch.setattr(proc, "run", run)


def examined(sandbox: Callable[[], str] = fine, accelerator: Callable[[], str] = fine) -> dict[str, Check]:
    return {check.name: check for check in doctor.examine(sandbox, accelerator)}


def test_packages_are_the_lines_without_comments() -> None:
    assert doctor.wanted_packages("# why\nqemu-system-x86  # guests\n\nnftables\n") == [
        "qemu-system-x86",
        "nftables",
    ]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    there = WANTED[1:]
    _programs(monkeypatch, lambda argv: "".join(f"{name} installed\n" for name in there))
    found = examined()["Debian packages"]
    assert not found.ok and WANTED[0] in found.detail and "make setup" in found.remedy


def test_no_user_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    def says(argv: tuple[str, ...]) -> str:
        if argv[0] == "unshare":
            raise TestbedFault("unshare: unshare failed: Operation not permitted")
        return ""

    _programs(monkeypatch, says)
    found = examined()["user namespaces"]
    assert not found.ok and found.needed
    assert "Operation not permitted" in found.detail and "max_user_namespaces" in found.remedy


def test_a_probe_says_its_own_remedy() -> None:
    def refused() -> str:
        raise MissingCapability("no libvirtd", hint="install it")

    found = examined(sandbox=refused)["sandbox"]
    assert not found.ok and found.remedy == "install it"


def test_kvm_is_not_needed() -> None:
    def none() -> str:
        raise TestbedFault("the canary did not boot")

    found = examined(accelerator=none)["KVM"]
    assert not found.ok and not found.needed and "TCG" in found.remedy


@pytest.mark.parametrize(("works", "code"), [(True, Exit.MET), (False, Exit.FAULT)])
def test_the_command_ends_with_4_if_something_needed_lacks(
    works: bool, code: Exit, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = [
        Check("KVM", False, "no /dev/kvm", "enable it", needed=False),
        Check("sandbox", works, "as told", "" if works else "set user.max_user_namespaces"),
    ]
    monkeypatch.setattr(host.examination, "examine", lambda *_: iter(checks))
    shown = testbed("doctor")
    assert shown.exit_code == code
    assert "enable it" in shown.stdout and ("max_user_namespaces" in shown.stdout) is not works
    told = testbed("doctor", "--json")
    assert told.exit_code == code
    assert [check["ok"] for check in json.loads(told.stdout)] == [False, works]
