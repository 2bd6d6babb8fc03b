"""Owns the two outputs: what becomes of us when one of them can not be written to any more."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

from rich.console import Console

from testbed.errors import TestbedFault


class OutputGone(Exception):
    """Whoever read an output has gone, as `head` does: nobody is left to be told, and nothing is wrong."""


class Output(Console):
    """A console that raises OutputGone, or TestbedFault where standard output is a full file."""

    def on_broken_pipe(self) -> None:
        _let_go(self.file)
        raise OutputGone

    def print(self, *objects: Any, **how: Any) -> None:
        with written(self.file):
            super().print(*objects, **how)


@contextmanager
def written(stream: IO[str]) -> Iterator[None]:
    """Around what writes to an output of ours."""
    try:
        yield
    except OSError as error:
        _let_go(stream)
        if isinstance(error, BrokenPipeError) or stream is sys.stderr:
            raise OutputGone from error
        raise TestbedFault(
            f"cannot write: {error.strerror}", where="standard output", hint="free some disk space"
        ) from error


def _let_go(stream: IO[str]) -> None:
    """Leads an output to nowhere: what its buffer holds would fail once more when the interpreter ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with suppress(OSError):  # one that is no file, as in tests
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
