"""Owns the exit codes and how an error is shown."""

from __future__ import annotations

import functools
import json
import logging
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum
from typing import Any, ParamSpec

import typer
from rich.markup import escape

from testbed.cli.output import Output, OutputGone, written
from testbed.errors import BootFailure, TestbedError, UsageError

P = ParamSpec("P")

# `file.toml:100: key` is a place: rich makes a picture of `:100:`.
out = Output(highlight=False, soft_wrap=True, emoji=False)
err = Output(stderr=True, highlight=False, soft_wrap=True, emoji=False)


class Exit(IntEnum):
    """What a command's exit code says."""

    MET = 0
    NOT_MET = 1
    USAGE = 2
    INCONCLUSIVE = 3
    FAULT = 4
    INTERRUPTED = 130
    UNREAD = 141


TABLE = (
    "Exit codes: 0 done, or every expectation met; 1 an expectation or a check of a patch set not met, "
    "or the kernel under test does not boot; 2 usage: an input is wrong, or does not build; "
    "3 inconclusive, or a control failed; 4 fault of the testbed or its host; 130 interrupted; "
    "141 nobody reads the output any more."
)


def shows_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Turns our errors into a message with its place and remedy, and an exit code."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except OutputGone as error:
            raise typer.Exit(Exit.UNREAD) from error
        except TestbedError as error:
            show(error)
            raise typer.Exit(code_of(error)) from error
        except KeyboardInterrupt as error:
            _say(": ".join(["[yellow]interrupted[/]", *getattr(error, "__notes__", ())]))
            raise typer.Exit(Exit.INTERRUPTED) from error
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except Exception as error:
            # A bug of ours must not end with 1: that would say something of a kernel.
            _say(escape(traceback.format_exc()))
            _say("[bold red]testbed fault[/]: this is a bug of the testbed, not of a kernel")
            raise typer.Exit(Exit.FAULT) from error

    return wrapped


def code_of(*errors: TestbedError) -> Exit:
    """With which code these end a command: a fault of the testbed outweighs what a kernel did."""
    if all(isinstance(error, UsageError) for error in errors):
        return Exit.USAGE
    ours = any(not isinstance(error, UsageError | BootFailure) for error in errors)
    return Exit.FAULT if ours else Exit.NOT_MET


KINDS = {UsageError: "error", BootFailure: "the kernel under test does not boot"}
"""What an error is called; any other is a fault of the testbed."""


def show(error: TestbedError) -> None:
    kind = next((word for sort, word in KINDS.items() if isinstance(error, sort)), "testbed fault")
    _say(f"[bold red]{kind}[/]: {escape(str(error))}")
    if error.hint:
        _say(f"  [dim]hint:[/] {escape(error.hint)}")


def _say(text: str) -> None:
    """On standard error. What went wrong keeps its exit code, also where nobody reads this any more."""
    with suppress(OutputGone):
        err.print(text)


class Told(logging.Handler):
    """Log records on standard error, one line each: the terminal may break it, we do not."""

    def emit(self, record: logging.LogRecord) -> None:
        colour = "red" if record.levelno >= logging.ERROR else "yellow"
        _say(f"[{colour}]{record.levelname.lower()}[/]: {escape(record.getMessage())}")


def print_json(value: Any) -> None:
    """For programs: one JSON document on standard output, no markup."""
    with written(sys.stdout):
        print(json.dumps(value, indent=1, sort_keys=True), flush=True)
