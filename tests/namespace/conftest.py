"""Labs for the namespace tests: three taps on one bridge, no guest."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from testbed import proc
from testbed.machines.sandbox import Sandbox
from tests.namespace.frames import mac

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


def times(sandbox: Sandbox, source: str, destination: str, count: int, pause_s: float) -> list[float]:
    """How many seconds each of so many frames was on its way; those that did not arrive are left out."""
    argv = [source, destination, str(count), str(pause_s)]
    python = ["env", f"PYTHONPATH={HERE.parents[1]}", sys.executable]
    return list(json.loads(inside(sandbox, *python, "-m", "tests.namespace.times", *argv)))


def send_large(sandbox: Sandbox, source: str, destination: str, payload_bytes: int) -> list[bytes]:
    """Sends one TCP segment as virtio-net leaves it to the host; what arrived of it, frame by frame."""
    python = ["env", f"PYTHONPATH={HERE.parents[1]}", sys.executable]
    argv = [source, destination, str(payload_bytes)]
    told = json.loads(inside(sandbox, *python, "-m", "tests.namespace.large", *argv))
    return [bytes.fromhex(frame) for frame in told]


@dataclass(frozen=True)
class Sent:
    """A packet that a fake guest sent, what came to its addressee, and what came back to it."""

    packet: bytes
    arrived: tuple[bytes, ...]
    answers: tuple[bytes, ...]


def send_raw(sandbox: Sandbox, *wishes: tuple[str, str, bytes, int]) -> list[Sent]:
    """Sends frames between taps as they are, so many of each, and tells all that arrived."""
    words = json.dumps(
        [(source, destination, frame.hex(), count) for source, destination, frame, count in wishes]
    )
    python = ["env", f"PYTHONPATH={HERE.parents[1]}", sys.executable]
    told = json.loads(inside(sandbox, *python, "-m", "tests.namespace.packets", words))
    return [
        Sent(wish[2], *(tuple(bytes.fromhex(frame) for frame in side) for side in sides))
        for wish, sides in zip(wishes, told, strict=True)
    ]


@pytest.fixture
def make_lab() -> Iterator[Callable[[], Sandbox]]:
    made: list[Sandbox] = []

    def make() -> Sandbox:
        sandbox = Sandbox(shm_bytes=64 << 20, what="a test").__enter__()
        made.append(sandbox)
        sandbox.broker.make_link("br-data")
        for machine in "ABC":
            tap = f"data{machine}"
            sandbox.broker.make_tap(tap, "br-data", mac=mac(tap).hex(":"))
        sandbox.broker.make_tap("probe", "br-data")
        return sandbox

    yield make
    for sandbox in made:
        sandbox.close()


@pytest.fixture
def lab(make_lab: Callable[[], Sandbox]) -> Sandbox:
    return make_lab()
