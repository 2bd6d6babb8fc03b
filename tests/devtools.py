"""A headless Chromium on the DevTools protocol over a pipe: enough to open a page and listen to it."""

from __future__ import annotations

import json
import os
import select
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from testbed.clock import Deadline

OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--remote-debugging-pipe",
)


class Browser:
    """Messages end with a zero byte; answers carry the number of their question, events none."""

    def __init__(self, to_fd: int, from_fd: int) -> None:
        self._to, self._from = to_fd, from_fd
        self._buffer = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def ask(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        self._number += 1
        question = {"id": self._number, "method": method, "params": params}
        os.write(
            self._to, json.dumps(question | ({"sessionId": session} if session else {})).encode() + b"\0"
        )
        deadline = Deadline.after(30, f"Chromium's answer to {method}")
        while True:
            message = self._message(deadline)
            if message.get("id") == self._number:
                assert "error" not in message, message
                found: dict[str, Any] = message["result"]
                return found
            self.events.append(message)

    def wait_for(self, method: str) -> None:
        deadline = Deadline.after(30, f"Chromium's {method}")
        while not any(event.get("method") == method for event in self.events):
            self.events.append(self._message(deadline))

    def _message(self, deadline: Deadline) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            deadline.check()
            if select.select([self._from], [], [], deadline.left_s)[0]:
                read = os.read(self._from, 1 << 16)
                assert read, "Chromium ended"
                self._buffer += read
        message, _, self._buffer = self._buffer.partition(b"\0")
        parsed: dict[str, Any] = json.loads(message)
        return parsed


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()

    def place() -> None:  # Chromium reads commands from 3 and writes answers to 4
        high = os.dup(theirs_out), os.dup(theirs_in)
        os.dup2(high[1], 3)
        os.dup2(high[0], 4)

    child = subprocess.Popen(
        ["chromium", *OPTIONS, f"--user-data-dir={profile}", "about:blank"],
        preexec_fn=place,
        close_fds=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Browser(ours_out, ours_in)
    finally:
        child.kill()
        child.wait()
        os.close(ours_in)
        os.close(ours_out)


def open_page(chromium: Browser, url: str, width: int) -> str:
    """Opens `url` in a window of its own, listening from the first byte, and returns its session."""
    target = chromium.ask("Target.createTarget", url="about:blank")["targetId"]
    session: str = chromium.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    for domain in ("Page", "Network", "Log", "Runtime"):
        chromium.ask(f"{domain}.enable", session)
    chromium.ask(
        "Emulation.setDeviceMetricsOverride",
        session,
        width=width,
        height=900,
        deviceScaleFactor=1,
        mobile=width < 600,
    )
    chromium.events.clear()
    chromium.ask("Page.navigate", session, url=url)
    chromium.wait_for("Page.loadEventFired")
    return session


def evaluate(chromium: Browser, session: str, expression: str) -> Any:
    return chromium.ask("Runtime.evaluate", session, expression=expression, returnByValue=True)["result"].get(
        "value"
    )
