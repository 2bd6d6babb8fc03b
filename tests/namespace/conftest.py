"""Labs for the namespace tests: three taps on one bridge, no guest."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testbed import proc
from testbed.machines.sandbox import Sandbox

HERE = Path(__file__).parent
Wish = tuple[str, str, str, int, int, int]
Send = Callable[..., list[int]]


def entering(sandbox: Sandbox) -> list[str]:
    """What to put before a command that is to run in the sandbox's namespaces."""
    children = Path(f"/proc/{sandbox.pid}/task/{sandbox.pid}/children").read_text().split()
    return ["nsenter", "-t", children[0], "-U", "-n", "-m", "-p", "--preserve-credentials"]


def inside(sandbox: Sandbox, *argv: str) -> str:
    """Runs a command in the sandbox's namespaces."""
    return proc.run([*entering(sandbox), *argv], timeout_s=30).stdout


def send(sandbox: Sandbox, *wishes: Wish) -> list[int]:
    """Sends frames between taps, as guests would; how many of each wish arrived."""
    return list(json.loads(inside(sandbox, sys.executable, str(HERE / "frames.py"), json.dumps(wishes))))


@pytest.fixture
def make_lab() -> Iterator[Callable[[], Sandbox]]:
    made: list[Sandbox] = []

    def make() -> Sandbox:
        sandbox = Sandbox(shm_bytes=64 << 20, what="a test").__enter__()
        made.append(sandbox)
        sandbox.broker.make_link("br-data")
        for machine in "ABC":
            sandbox.broker.make_tap(f"data{machine}", "br-data")
        sandbox.broker.make_tap("probe", "br-data")
        return sandbox

    yield make
    for sandbox in made:
        sandbox.close()


@pytest.fixture
def lab(make_lab: Callable[[], Sandbox]) -> Sandbox:
    return make_lab()
