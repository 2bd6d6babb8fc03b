"""The guest's agent on this host: its programs over one page, which is an ordinary file."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from testbed.witnesses.page import State, WitnessPage, layout

LIMIT_S = 5.0
PAGE_BYTES = 4096


class Guest:
    """Starts the agent's programs over one page; the Python side of it is the reader under test."""

    def __init__(self, agent: Path, file: Path, page: WitnessPage) -> None:
        self.agent, self.file, self.page = agent, file, page
        self.started: list[subprocess.Popen[bytes]] = []

    def argv(self, program: str, slot: int, *options: str) -> list[str]:
        return [str(self.agent), program, "--page", str(self.file), "--slot", str(slot), *options]

    def start(self, program: str, slot: int, *options: str) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(self.argv(program, slot, *options))
        self.started.append(child)
        if program != "heartbeat":
            self.until(lambda: self.page.state(slot) in (State.READY, State.RUNNING), f"{program} is ready")
        return child

    def until(self, holds: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + LIMIT_S
        while not holds():
            assert time.monotonic() < end, f"not within {LIMIT_S:g} s: {what}"
            time.sleep(0.005)

    def end(self) -> None:
        for child in self.started:
            child.kill()
            child.wait()


@contextmanager
def programs_on(agent: Path, folder: Path) -> Iterator[Guest]:
    """Whatever was started is ended."""
    file = folder / "page"
    file.write_bytes(bytes(layout().page_bytes))
    with file.open("r+b") as opened, WitnessPage(opened.fileno()) as page:
        guest = Guest(agent, file, page)
        try:
            yield guest
        finally:
            guest.end()
