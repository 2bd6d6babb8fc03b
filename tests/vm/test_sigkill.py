"""SIGKILL of the controller at random moments: nothing of the lab is left, and the next run works."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from testbed import history, images, kernels, proc, store
from testbed.clock import NS, Deadline, now_ns, poll
from tests.vm.leftovers import (
    Outside,
    files_below,
    hold_namespaces,
    namespaces_in_use,
    processes_naming,
    sockets_below,
)

pytestmark = pytest.mark.vm

KERNEL = "complete-rx"
GONE_S = 20.0
READY_S = 120.0
WHOLE_S = 420.0


@dataclass
class Controller:
    """`testbed run` in a session of its own, with a runtime directory that nobody else uses."""

    runtime: Path
    results: Path
    pid: int = 0
    into: Path = Path()
    held: dict[str, int] = field(default_factory=dict)
    before: Outside = field(default_factory=Outside.now)

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "TESTBED_RUNTIME": str(self.runtime)}

    def start(self, into: str) -> None:
        """Into a folder of this name: one that holds a cut short cell, or a new one."""
        self.into = self.results / into
        self.into.mkdir(exist_ok=True)
        said = os.POSIX_SPAWN_OPEN, 1, str(self.into / "said"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600
        argv = [sys.executable, "-m", "testbed", "run", "flood", "-k", KERNEL, "--quiet"]
        self.pid = os.posix_spawn(
            sys.executable,
            [*argv, "--into", str(self.into)],
            self.environment,
            file_actions=[said, (os.POSIX_SPAWN_DUP2, 1, 2)],
            setsid=True,
        )

    def live(self, seconds: float) -> bool:
        """Whether it ran for so long (else it has played its cell); its lab's namespaces are held."""
        end_ns = now_ns() + round(seconds * NS)
        while now_ns() < end_ns:
            if os.waitpid(self.pid, os.WNOHANG)[0]:
                assert list(self.into.glob(f"*/{store.VERDICT}")), (self.into / "said").read_text()
                return False
            time.sleep(min(0.5, max(0.0, (end_ns - now_ns()) / NS)))
        self.release()
        self.held = hold_namespaces(list(processes_naming(str(self.runtime))))
        return True

    def release(self) -> None:
        while self.held:
            os.close(self.held.popitem()[1])

    def end(self, number: signal.Signals) -> int:
        os.kill(self.pid, number)
        return self.wait(60)

    def wait(self, seconds: float) -> int:
        status = 0

        def ended() -> bool:
            nonlocal status
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            return pid != 0

        poll(ended, Deadline.after(seconds, "end of the controller"))
        return os.waitstatus_to_exitcode(status)

    def gone_after_s(self) -> float:
        """Waits until no process of the lab is left; how long that took.

        A process that has ended keeps its user namespace until somebody has reaped it.
        """
        begin_ns = now_ns()
        poll(
            lambda: not processes_naming(str(self.runtime)) and not namespaces_in_use(set(self.held)),
            Deadline.after(GONE_S, "end of the lab"),
        )
        return (now_ns() - begin_ns) / NS

    def collect(self) -> str:
        argv = [sys.executable, "-m", "testbed", "gc", "--cache-gib", "1000"]
        return proc.run(argv, timeout_s=60, env=self.environment).stdout

    def assert_nothing_left(self) -> None:
        assert processes_naming(str(self.runtime)) == {}
        assert namespaces_in_use(set(self.held)) == set()
        assert Outside.now().new_since(self.before) == set()
        assert sockets_below(self.runtime) == []
        assert files_below(self.runtime) == []

    def lab_ready(self) -> bool:
        return any(
            history.read(path).first("lab.ready") is not None
            for path in self.into.glob(f"*/{store.HISTORY}")
            if ".unfinished-" not in str(path)
        )


@pytest.fixture
def controller(tmp_path: Path, short_folder: Path) -> Iterator[Controller]:
    images.build()
    kernels.build(kernels.resolve(KERNEL))
    kernels.build(kernels.resolve("stock"))
    made = Controller(short_folder, tmp_path)
    try:
        yield made
    finally:
        made.release()
        for pid in processes_naming(str(short_folder)):
            os.kill(pid, signal.SIGKILL)


def kill_at(controller: Controller, moments: list[float]) -> None:
    for number, moment in enumerate(moments):
        controller.start(str(number))
        if not controller.live(moment):
            print(f"{moment:5.1f} s: it had ended before")
            continue
        controller.end(signal.SIGKILL)
        took_s = controller.gone_after_s()
        left = files_below(controller.runtime)
        held = len(controller.held)
        print(
            f"{moment:5.1f} s, {held} namespaces: gone after {took_s:.2f} s, {len(left)} files for gc",
            flush=True,
        )
        controller.collect()
        controller.assert_nothing_left()


def moments_of(count: int, seed: int) -> list[float]:
    """Most of them while the lab is made and set up, a quarter later."""
    chance = random.Random(seed)
    return [
        chance.uniform(0.2, 12) if chance.random() < 0.75 else chance.uniform(12, 60) for _ in range(count)
    ]


def test_a_killed_or_interrupted_controller_leaves_nothing(controller: Controller) -> None:
    """The part for CI: three moments, then a run that gets its lab and is told to stop."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    kill_at(controller, [chance.uniform(0.2, 4), chance.uniform(4, 8), chance.uniform(8, 20)])
    controller.start("0")
    poll(controller.lab_ready, Deadline.after(READY_S, "a lab after those that were killed"), every_s=0.5)
    assert controller.live(0.5)
    assert controller.end(signal.SIGTERM) == 130
    controller.gone_after_s()
    controller.assert_nothing_left()


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_twenty_random_moments(controller: Controller) -> None:
    seed = int(os.environ.get("TESTBED_SEED", random.randrange(1 << 32)))
    print(f"seed {seed}")
    kill_at(controller, moments_of(int(os.environ.get("TESTBED_MOMENTS", "20")), seed))
    controller.start("0")
    code = controller.wait(WHOLE_S)
    print(f"the next run exits with {code}")
    assert list(controller.into.glob(f"*/{store.VERDICT}")), (controller.into / "said").read_text()
    controller.assert_nothing_left()
