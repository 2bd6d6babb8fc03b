"""Owns the error types: every error says what is wrong, where, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class TestbedError(Exception):
    """Base of all errors that the testbed raises on purpose.

    `hint` is the remedy, shown on a line of its own; `where` is a file, line or key.
    """

    __test__ = False  # pytest must not collect it by its name

    def __init__(self, message: str, *, hint: str = "", where: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.where = where

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


class UsageError(TestbedError):
    """What the user wrote can not be played: a file, key, name or option is wrong. Exit code 2."""


class TestbedFault(TestbedError):
    """The testbed or its host failed; says nothing of the kernel under test. Exit code 4."""


class BootFailure(TestbedError):
    """The kernel under test does not boot, and others beside it do: that is its own doing. Exit code 1."""


class MissingCapability(TestbedFault):
    """This host lacks something; `hint` says how to get it."""


class BuildError(UsageError):
    """A kernel or an image does not build: the input's fault, with the first error quoted."""


MOST_NAMES = 100
"""As many as a reader looks through."""


def nearest(wrong: str, right: Iterable[str]) -> str:
    """A hint that lists the right names, the nearest first: `did you mean 'x'? known: a, b, x`.

    Of more than MOST_NAMES it says how many there are.
    """
    names = sorted(right)
    close = difflib.get_close_matches(wrong, names, n=1)
    listed = ", ".join(names) if len(names) <= MOST_NAMES else f"{len(names)} names"
    known = f"known: {listed}" if names else "none is known"
    return f"did you mean '{close[0]}'? {known}" if close else known


def at(path: Path, line: int | None = None, key: str = "") -> str:
    """A position for `where`: `file:line: key`."""
    text = str(path)
    if line is not None:
        text += f":{line}"
    return f"{text}: {key}" if key else text
