"""Owns the lying server: pages that it holds for its client are changed by a bit behind its back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from pydantic import Field

from testbed.errors import TestbedFault
from testbed.faults import FaultTarget, OnMachine
from testbed.load import Count
from testbed.witnesses.pattern import flip, load_pages


class Bitflip(OnMachine):
    """`machine = "C"`: one bit in each of `pages` pages of an anonymous load that lie in its memory.

    The host changes the memory; the server reads its own pages and sends them as they are. Some are
    copies that nobody asks for any more, so more than one are changed. Healing turns the bits back
    that are still wrong; what was sent meanwhile was sent.
    """

    kind: ClassVar[str] = "bitflip"
    lasting: ClassVar[bool] = True

    pages: Count = Field(default=64, ge=1, le=100_000)

    def apply(self, target: FaultTarget) -> None:
        with _memory(target, self.machine) as fd:
            found = [page for page in load_pages(fd) if not page.flipped]
            if len(found) < self.pages:
                raise TestbedFault(
                    f"only {len(found)} pages of a load lie in the memory of '{self.machine}',"
                    f" {self.pages} are to be changed",
                    hint="is it the machine that the load's pages are swapped to?",
                )
            for number in range(self.pages):
                flip(fd, found[number * len(found) // self.pages])

    def in_force(self, target: FaultTarget) -> bool:
        with _memory(target, self.machine) as fd:
            return any(page.flipped for page in load_pages(fd))

    def revert(self, target: FaultTarget) -> None:
        with _memory(target, self.machine) as fd:
            for page in [page for page in load_pages(fd) if page.flipped]:
                flip(fd, page)


@contextmanager
def _memory(target: FaultTarget, machine: str) -> Iterator[int]:
    target.domain(machine)
    fd = target.network.guest_memory(machine, writable=True)
    try:
        yield fd
    finally:
        os.close(fd)
