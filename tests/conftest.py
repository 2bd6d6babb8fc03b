"""What a marked test needs of its host: missing, it is skipped with the remedy; in CI it fails."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed import proc
from testbed.errors import TestbedError

ROOT = Path(__file__).parent.parent


def _programs(*names: str) -> str | None:
    missing = [
        name for name in names if shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None
    ]
    return f"no {', '.join(missing)} on this host: run 'make setup'" if missing else None


def _namespaces() -> str | None:
    lacking = _programs("unshare", "libvirtd", "qemu-system-x86_64")
    if lacking:
        return lacking
    try:
        proc.run(["unshare", "-U", "-r", "-n", "-m", "-p", "-f", "true"], timeout_s=10)
    except TestbedError as error:
        return f"no user namespaces ({error}): set user.max_user_namespaces, or run as root"
    return None


def _kernel_source() -> str | None:
    if not list(Path("/usr/src").glob("linux-source-6.1.tar.*")):
        return "no kernel source: run 'make setup' (package linux-source-6.1)"
    return None


NEEDS: dict[str, Callable[[], str | None]] = {
    "namespace": _namespaces,
    "vm": lambda: _namespaces() or _kernel_source(),
    "browser": lambda: _programs("chromium"),
}


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, lacks in NEEDS.items():
        if item.get_closest_marker(marker) is None:
            continue
        remedy = lacks()
        if remedy and os.environ.get("CI"):
            pytest.fail(f"CI must run this: {remedy}", pytrace=False)
        if remedy:
            pytest.skip(remedy)
