"""The canary's answer: what lasts is kept, what may have been the host's moment is asked again."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed.errors import MissingCapability
from testbed.machines import accelerator

pytestmark = pytest.mark.programs

BOOTS = "echo 'VFS: Unable to mount root fs on unknown-block(0,0)'"
ABORTS = "echo 'qemu-system-x86_64: error: failed to set MSR 0x10a' >&2; exit 134"
DIES = "exit 1"
HANGS = "exec sleep 30"
HANGS_AFTER_A_WARNING = "echo 'qemu-system-x86_64: warning: no TSC' >&2; exec sleep 30"

Asked = Callable[[str], str]


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What is chosen where /dev/kvm opens, by what QEMU does there; its program stays the same file."""
    program = tmp_path / "bin/qemu-system-x86_64"
    deed = tmp_path / "deed"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho run >>{tmp_path}/runs\n. "{deed}"\n')
    program.chmod(0o755)
    (tmp_path / "kvm").touch(0o600)
    monkeypatch.setattr(accelerator, "DEVICE", tmp_path / "kvm")
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(accelerator, "CANARY_TIMEOUT_S", 0.5)

    def choose(what: str) -> str:
        deed.write_text(what + "\n")
        chosen = accelerator.choose("auto", tmp_path / "bzImage")
        return f"{chosen.kind}: {chosen.why}"

    return choose


def runs(folder: Path) -> int:
    return len((folder / "runs").read_text().splitlines())


def test_a_guest_that_boots_is_asked_once(asked: Asked, tmp_path: Path) -> None:
    assert asked(BOOTS).startswith("kvm: ")
    assert asked(DIES).startswith("kvm: ")
    assert runs(tmp_path) == 1


def test_what_qemu_complains_of_is_kept_in_its_words(asked: Asked, tmp_path: Path) -> None:
    for deed in (ABORTS, BOOTS):
        assert asked(deed) == "tcg: KVM is not usable: qemu-system-x86_64: error: failed to set MSR 0x10a"
    assert runs(tmp_path) == 1
    with pytest.raises(MissingCapability, match="MSR 0x10a"):
        accelerator.choose("kvm", tmp_path / "bzImage")


@pytest.mark.parametrize("moment", [HANGS, HANGS_AFTER_A_WARNING, DIES])
def test_one_that_was_only_too_slow_is_asked_again(moment: str, asked: Asked, tmp_path: Path) -> None:
    assert asked(moment).startswith("tcg: KVM is not usable: the canary guest")
    assert asked(BOOTS).startswith("kvm: ")
    assert runs(tmp_path) == 2


def test_the_remedy_is_that_of_the_cause(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def remedy() -> str:
        chosen = accelerator.choose("auto", tmp_path / "bzImage")
        assert chosen.kind == "tcg"
        return chosen.remedy

    asked(ABORTS)
    assert "QEMU can not use it" in remedy() and "group" not in remedy()
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    assert "usermod -aG kvm" in remedy()
    (tmp_path / "kvm").unlink()
    assert "modprobe kvm_intel" in remedy() and "usermod" not in remedy()
