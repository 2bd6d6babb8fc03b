"""What the examination of a host says: each lack with its remedy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed import apt, doctor, proc
from testbed.cli import host
from testbed.cli.exits import Exit
from testbed.doctor import Check, Probe, Probes
from testbed.errors import MissingCapability, TestbedFault
from testbed.proc import Completed
from tests.commands import testbed

WANTED = doctor.wanted_packages(doctor.PACKAGES.read_text())


def fine() -> str:
    return "works"


@pytest.fixture(autouse=True)
def a_fine_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that has all packages and namespaces, apt's lists and ccache."""
    (tmp_path / "archive_main_Packages").touch()
    (tmp_path / "gcc").touch()
    monkeypatch.setattr(apt, "LISTS", tmp_path)
    monkeypatch.setattr(doctor, "CCACHE", tmp_path / "gcc")
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    _programs(monkeypatch, lambda argv: "".join(f"{name} installed\n" for name in WANTED))


def _programs(monkeypatch: pytest.MonkeyPatch, says: Callable[[tuple[str, ...]], str]) -> None:
    def run(argv: list[str], **_: object) -> Completed:
        return Completed(tuple(argv), 0, says(tuple(argv)), "")

    monkeypatch.setattr(proc, "run", run)


def examined(**probes: Probe) -> dict[str, Check]:
    all_fine = Probes(**{"sandbox": fine, "delay": fine, "overlay": fine, "accelerator": fine, **probes})
    return {check.name: check for check in doctor.examine(all_fine)}


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


def test_the_remedy_of_kvm_is_that_of_its_cause() -> None:
    def closed() -> str:
        raise TestbedFault("this user may not open /dev/kvm", hint="usermod -aG kvm USER")

    remedy = examined(accelerator=closed)["KVM"].remedy
    assert remedy.startswith("usermod -aG kvm USER; ") and "TCG" in remedy


def test_a_fine_host_lacks_nothing() -> None:
    found = examined()
    assert {"delay", "overlayfs", "ccache", "apt's package lists"} <= found.keys()
    lacking = {check.name for check in found.values() if not check.ok}
    assert lacking <= {"/dev/net/tun", "memory", "disk", "cores"}  # those are this host's own


@pytest.mark.parametrize(
    ("name", "probe", "remedy"),
    [("delay", "delay", "sch_netem"), ("overlayfs", "overlay", "modprobe overlay")],
)
def test_without_netem_or_overlayfs_it_works_with_less(name: str, probe: str, remedy: str) -> None:
    def none() -> str:
        raise TestbedFault("not in this kernel")

    found = examined(**{probe: none})[name]
    assert not found.ok and not found.needed and remedy in found.remedy


def test_without_ccache_a_build_takes_longer(tmp_path: Path) -> None:
    (tmp_path / "gcc").unlink()
    found = examined()["ccache"]
    assert not found.ok and not found.needed and "make setup" in found.remedy


def test_without_package_lists_there_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "archive_main_Packages").unlink()
    found = examined()["apt's package lists"]
    assert not found.ok and found.needed and "apt-get update" in found.remedy


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
