"""The command line as tests give it."""

from __future__ import annotations

import functools

import typer.main
import typer.testing
from typer.testing import CliRunner, Result

from testbed.cli.main import app

# The runner makes all commands anew for each that is given, which costs more than most of them do.
typer.testing._get_command = functools.cache(typer.main.get_command)  # type: ignore[attr-defined]


def testbed(*words: str) -> Result:
    return CliRunner().invoke(app, words)


testbed.__test__ = False  # type: ignore[attr-defined]
