"""What becomes of a command whose output nobody reads any more, or goes to a full file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from testbed.cli import main
from testbed.cli.exits import Exit, show
from testbed.errors import UsageError

pytestmark = pytest.mark.programs

TOLD = """
import typer
from testbed.cli.exits import err, out, print_json, shows_errors
from testbed.errors import UsageError

own = typer.Typer()

@own.command()
@shows_errors
def tell(how: str) -> None:
    if how == "json":
        print_json(["line"] * 100_000)
    elif how == "words":
        out.print("word " * 100_000)
    else:
        raise UsageError("no such thing")

own()
"""


def told(how: str, **outputs: int) -> tuple[int, str]:
    """The exit code of a command of our kind, and what it said on standard error."""
    with subprocess.Popen(
        [sys.executable, "-c", TOLD, how],
        **{"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, **outputs},  # type: ignore[call-overload]
        text=True,
    ) as child:
        for name, stream in (("stdout", child.stdout), ("stderr", child.stderr)):
            if outputs.get(name) == subprocess.PIPE and stream:
                stream.close()
        said = child.stderr.read() if child.stderr and not child.stderr.closed else ""
        return child.wait(timeout=30), said


@pytest.mark.parametrize("how", ["json", "words"])
def test_who_stops_reading_ends_a_command_without_a_word(how: str) -> None:
    assert told(how, stdout=subprocess.PIPE) == (Exit.UNREAD, "")


@pytest.mark.parametrize("how", ["json", "words"])
def test_a_full_output_is_a_fault_of_the_host(how: str) -> None:
    with Path("/dev/full").open("w") as full:
        code, said = told(how, stdout=full.fileno())
    assert code == Exit.FAULT
    assert said.startswith("testbed fault: standard output: cannot write: No space left on device")
    assert "Traceback" not in said and "ignored" not in said


def test_an_error_that_nobody_reads_keeps_its_exit_code() -> None:
    assert told("error", stderr=subprocess.PIPE) == (Exit.USAGE, "")


# --- the help, which is printed outside of all commands


def _ends_with_1() -> None:
    """As the printer of the help does."""
    try:
        raise BrokenPipeError
    except BrokenPipeError:
        sys.exit(1)


def _is_full() -> None:
    raise OSError(28, "No space left on device")


def _is_met() -> None:
    sys.exit(Exit.NOT_MET)


@pytest.mark.parametrize(
    ("printed", "code"), [(_ends_with_1, Exit.UNREAD), (_is_full, Exit.FAULT), (_is_met, Exit.NOT_MET)]
)
def test_a_help_that_can_not_be_written_says_nothing_of_a_kernel(
    printed: object, code: Exit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main, "app", printed)
    monkeypatch.setattr(main.signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == code


# --- a place for results that is none


@pytest.mark.parametrize("name", ["file", "file/below", "/proc/below"])
def test_results_can_not_go_there(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="can not hold results") as raised:
        main.inputs.made(tmp_path / name)
    assert raised.value.where == "--into" and raised.value.hint


def test_results_can_go_to_a_new_folder(tmp_path: Path) -> None:
    assert main.inputs.made(tmp_path / "a" / "b").is_dir()
    assert main.inputs.made(tmp_path / "a") == tmp_path / "a"


@pytest.mark.parametrize("place", ["flood.toml:100: key", "x:gun:y", "[red]a[/red]"])
def test_a_place_is_printed_as_it_is(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    show(UsageError("is wrong", hint=f"see {place}", where=place))
    assert capsys.readouterr().err.count(place) == 2
