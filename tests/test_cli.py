"""What the command line says and with which code it ends, without a guest."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
import typer.main
import typer.testing
from histories import Story, write_result
from rich.console import Console
from typer.testing import CliRunner

from testbed import paths, proc, store
from testbed import plan as planning
from testbed.campaign import play as campaign
from testbed.cli import inputs, lab, main, show
from testbed.cli.exits import Exit, shows_errors
from testbed.cli.live import Screen, concerns
from testbed.cli.main import app
from testbed.cli.run import exit_code
from testbed.errors import BootFailure, BuildError, MissingCapability, TestbedFault, UsageError
from testbed.images import BuiltImage
from testbed.kernels import BuiltKernel
from testbed.kernels.builder import FRAGMENT
from testbed.kernels.config import config_text, parse_fragment
from testbed.load import PLAYBOOKS, TOPOLOGIES
from testbed.machines import accelerator, registry, sandbox
from testbed.model import KernelSpec, Plan
from testbed.run.observe import View
from tests.commands import testbed

COMMANDS = (
    *("doctor", "check", "plan", "build", "run", "judge", "report", "export", "schema", "gc"),
    *("compare", "power", "selftest", "inspect"),
    *("up", "ssh", "console", "status", "down"),
)
DIGEST = "0" * 24
command_of = cache(typer.main.get_command)
"""An app's commands and options, made out of its functions once and not again for every call."""
CORPUS = paths.PROJECT / "results" / "summaries" / "corpus"
GUIDE = (paths.PROJECT / "docs" / "guide.md").read_text()
EXIT_CODES = GUIDE.partition("\n## Exit codes")[2].partition("\n## ")[0]
QEMU_SAYS = "qemu-system-x86_64: error: failed to set MSR 0x10a"


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of this host: no cache, no lab; image and kernels only have digests."""
    monkeypatch.setattr(typer.testing, "_get_command", command_of)
    monkeypatch.setenv("TESTBED_RUNTIME", str(short_folder))
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "config").write_text(config_text(parse_fragment(FRAGMENT.read_text(), FRAGMENT)))
    built = BuiltKernel(DIGEST, tmp_path, "6.1", (), None, None)
    monkeypatch.setattr(inputs.images, "build", lambda _own=None: BuiltImage(DIGEST, tmp_path, tmp_path))
    monkeypatch.setattr(inputs.kernels, "digest", lambda spec, **_: DIGEST)
    monkeypatch.setattr(inputs.kernels, "build", lambda spec, **_: built)
    return short_folder


def a_plan() -> Plan:
    (made,) = inputs.plans(inputs.Wish("flood", ("stock",)), variants=("",))
    return made


def shown(renderable: object, width: int = 80) -> list[str]:
    console = Console(width=width, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as captured:
        console.print(renderable)
    return captured.get().splitlines()


# --- help


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    helped = testbed(command, "--help")
    assert helped.exit_code == Exit.MET
    assert f"Example: testbed {command}" in helped.stdout


def test_the_main_help_has_all_commands_and_the_exit_codes() -> None:
    said = " ".join(testbed("--help").stdout.split())
    assert all(f"│ {command} " in said for command in COMMANDS)
    assert all(f"{int(code)} " in said.partition("Exit codes:")[2] for code in Exit)


def test_the_help_of_each_command_has_the_exit_codes() -> None:
    for words, one in _commands(command_of(app), ""):
        told = ("255", "`testbed --help`") if words == "ssh" else ("Exit codes:",)
        assert all(each in f"{one.help} {one.epilog}" for each in told), words


def test_the_version_is_told() -> None:
    assert testbed("--version").stdout.startswith("testbed 0.")


def test_a_kernel_with_a_base_is_in_the_help() -> None:
    assert "[@BASE]" in testbed("plan", "--help").stdout


# --- inputs that are wrong: (words, what must be said)

WRONG = (
    (("plan", "flod"), "no playbook 'flod'", "did you mean 'flood'?"),
    (("plan", "flood", "--kernel", "vanila-2007"), "no kernel 'vanila-2007'", "did you mean 'vanilla-2007'?"),
    (("plan", "flood", "--kernel", "debian+stock"), "takes no patches", "write 'debian'"),
    (("run", "flood", "--into", "/dev/null"), "'/dev/null' can not hold results", "name a folder"),
    (("selftest", "--into", "/dev/null/below"), "can not hold results: Not a directory", "name a folder"),
    (("export", str(CORPUS), "--into", "/dev/null"), "can not hold results", "name a folder"),
    (("claims", "write", "--into", "/dev/null/page.md"), "can not hold results", "name a folder"),
    (("claims", "write", "--into", "/dev"), "'/dev' is a folder", "the page itself"),
    (("patches", "new", "mine", "--into", "/dev/null"), "can not hold results", "name a folder"),
    (("plan", "topologies/abc.toml"), "abc.toml: is a topology, and no playbook", "testbed up"),
    (("plan", "flood", "--form", "shrt"), "no form 'shrt'", "short"),
    (("plan", "flood", "--set", "outtage=50s"), "outtage", "outage"),
    (("plan", "flood", "--set", "outage=50"), "'outage' is a duration", "16s"),
    (("plan", "flood", "--set", "outage"), "not name=value", "outage=50s"),
    (("plan", "flood", "--nic", "e1000f"), "e1000f", "e1000e"),
    (("plan", "flood", "--transport", "nbbd"), "nbbd", "nbd"),
    (("run", "flood", "--accelerator", "kwm"), "no accelerator 'kwm'", "kvm"),
    (("build", "stok"), "no kernel 'stok'", "did you mean 'stock'?"),
    (("selftest", "--only", "panik"), "nothing is known of 'panik'", "did you mean 'panic'?"),
    (("up", "abd"), "no topology 'abd'", "did you mean 'abc'?"),
    (("schema", "playbok"), "no schema 'playbok'", "playbook"),
    (("check", "playbooks/none.toml"), "cannot be read", "No such file"),
    (("ssh", "A"), "no lab is up", "testbed up"),
    (("console", "A"), "no lab is up", "testbed up"),
    (("down",), "no lab is up", "testbed up"),
)


@pytest.mark.parametrize(("words", "said", "hint"), WRONG, ids=lambda value: " ".join(value)[:40])
def test_a_wrong_input_ends_with_2_and_a_hint(
    words: tuple[str, ...], said: str, hint: str, runtime: Path
) -> None:
    done = testbed(*words)
    assert done.exit_code == Exit.USAGE, done.output
    assert said in done.stderr and hint in done.stderr
    assert done.stdout == ""
    assert not list(runtime.glob("labs/*"))


def test_a_lab_in_which_a_cell_is_played_is_named_where_it_can_not_be_had(runtime: Path) -> None:
    record = registry.Record("1f2e3d4c", proc.run_id(os.getpid()) or "", what="flood-short/stock")
    record.folder.mkdir(parents=True)
    record.save(record.folder)
    done = testbed("console", "A")
    assert done.exit_code == Exit.USAGE and "1f2e3d4c (flood-short/stock) is its player's" in done.stderr


PLAYBOOK_ERRORS = (
    ('on = "B"', 'on = "X"', "loads.flood.on", "A, B, C"),
    ('server = "C"', 'server = "D"', "transport.server", "A, B, C"),
    ('between = ["A", "C"]', 'between = ["A", "Z"]', "timeline[0].between", "A, B, C"),
    ('rcvbuf = "8MiB"', 'rcvbuff = "8MiB"', "loads.service.rcvbuff: unknown key", "did you mean 'rcvbuf'?"),
    ('title = "', 'titel = "', "titel: unknown key", "did you mean 'title'?"),
    ('rcvbuf = "8MiB"', "rcvbuf = 8", "loads.service.rcvbuf", "MiB"),
    ('at = "3s"', "at = 3", "timeline[1].at: 3 has no unit", "units: ms, s"),
)


@pytest.mark.parametrize(("right", "wrong", "where", "hint"), PLAYBOOK_ERRORS, ids=lambda value: value[:30])
def test_an_error_in_a_playbook_names_file_line_and_key(
    tmp_path: Path, right: str, wrong: str, where: str, hint: str
) -> None:
    text = (PLAYBOOKS / "flood.toml").read_text()
    assert right in text
    file = tmp_path / "mine.toml"
    file.write_text(text.replace(right, wrong, 1))
    line = text[: text.index(right)].count("\n") + 1
    for words in (
        ("check", str(file)),
        ("plan", str(file)),
        ("run", str(file), "--into", str(tmp_path / "r")),
    ):
        done = testbed(*words)
        assert done.exit_code == Exit.USAGE, done.output
        assert f"mine.toml:{line}: {where}" in done.stderr
        assert hint in done.stderr
    assert not (tmp_path / "r").exists()


def test_judging_a_folder_without_results(tmp_path: Path) -> None:
    done = testbed("judge", str(tmp_path))
    assert done.exit_code == Exit.USAGE and "holds no result" in done.stderr


# --- what the host lacks


def test_kvm_that_does_not_work_leaves_nothing_behind(
    tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerator, "_why_no_kvm", lambda kernel: QEMU_SAYS)
    monkeypatch.setattr(sandbox, "probe", lambda: None)
    for words in (("run", "flood", "--into", str(tmp_path / "r")), ("up", "abc")):
        done = testbed(*words, "--accelerator", "kvm")
        assert done.exit_code == Exit.FAULT, done.output
        assert done.stderr.count(QEMU_SAYS) == 1 and "hint:" in done.stderr
    assert not (tmp_path / "r").exists()
    assert not list(runtime.glob("labs/*"))


def test_no_user_namespaces(tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing = tmp_path / "bin" / "unshare"
    refusing.parent.mkdir()
    refusing.write_text("#!/bin/sh\necho 'unshare: unshare failed: Operation not permitted' >&2\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{refusing.parent}:/usr/bin:/bin")
    for words in (("run", "flood", "--into", str(tmp_path / "r")), ("up", "abc")):
        done = testbed(*words, "--accelerator", "tcg")
        assert done.exit_code == Exit.FAULT, done.output
        assert "Operation not permitted" in done.stderr and "user.max_user_namespaces" in done.stderr
    assert not (tmp_path / "r").exists()
    assert not list(runtime.glob("labs/*"))


# --- exit codes of errors

ERRORS: tuple[tuple[BaseException, Exit, str], ...] = (
    (UsageError("no such thing", hint="another", where="file:3: key"), Exit.USAGE, "file:3: key: no such"),
    (BuildError("patch does not apply"), Exit.USAGE, "error: patch does not apply"),
    (MissingCapability("no KVM"), Exit.FAULT, "testbed fault: no KVM"),
    (TestbedFault("[bold]not markup[/]"), Exit.FAULT, "[bold]not markup[/]"),
    (BootFailure("A does not get ready"), Exit.NOT_MET, "the kernel under test does not boot: A"),
    (KeyboardInterrupt(), Exit.INTERRUPTED, "interrupted"),
    (ValueError("a bug"), Exit.FAULT, "bug of the testbed"),
    (typer.Exit(Exit.NOT_MET), Exit.NOT_MET, ""),
)


@pytest.mark.parametrize(("error", "code", "said"), ERRORS, ids=lambda value: type(value).__name__)
def test_an_error_becomes_an_exit_code(error: BaseException, code: Exit, said: str) -> None:
    own = typer.Typer()

    @own.command()
    @shows_errors
    def fail() -> None:
        raise error

    done = CliRunner().invoke(own, [])
    assert done.exit_code == code
    assert said in done.stderr and done.stdout == ""


def test_a_fault_of_ours_outweighs_a_kernel_that_does_not_boot() -> None:
    unbootable, fault = BootFailure("A does not get ready"), TestbedFault("a hiccup")
    assert exit_code([], [unbootable]) is Exit.NOT_MET
    assert exit_code([], [unbootable, fault]) is exit_code([], [fault, unbootable]) is Exit.FAULT


@pytest.mark.parametrize("during", ["the build", "the cell"])
def test_only_a_cell_that_was_played_is_said_to_be_healed(
    during: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(accelerator, "_why_no_kvm", lambda kernel: QEMU_SAYS)
    if during == "the build":
        monkeypatch.setattr(inputs.kernels, "build", interrupted)
    else:
        monkeypatch.setattr(campaign.run_stage, "run", interrupted)
    done = testbed("run", "flood", "--quiet", "--into", str(tmp_path / "r"))
    assert done.exit_code == Exit.INTERRUPTED, done.output
    healed = ": healed, saved and torn down" if during == "the cell" else ""
    assert done.stderr == f"interrupted{healed}\n"


# --- what programs read


@pytest.mark.parametrize(
    "words",
    [
        *(("plan", "flood", "--json"), ("schema", "playbook"), ("status", "--json"), ("build", "--json")),
        *(("check", "topologies/abc.toml", "--json"), ("gc", "--json")),
    ],
)
def test_json_is_alone_on_standard_output(words: tuple[str, ...]) -> None:
    done = testbed(*words)
    assert done.exit_code == Exit.MET
    json.loads(done.stdout)


A_CLAIM = """
title = "t"
source = "s"

[claims.C5]
who = "Somebody"
date = "2007-08-15"
statement = "It is so."
missing = "a playbook"
"""


def test_a_file_is_checked_as_what_it_says_it_is(tmp_path: Path) -> None:
    for text, name, holds in (
        ((TOPOLOGIES / "abc.toml").read_text(), "my.toml", "topology"),
        ((PLAYBOOKS / "flood.toml").read_text(), "topologies/my.toml", "playbook, "),
        (A_CLAIM, "other.toml", "1 claims, 0 of them with arms"),
    ):
        copy = tmp_path / name
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(text)
        (found,) = json.loads(testbed("check", str(copy), "--json").stdout)
        assert holds in found["holds"]
    assert testbed("check", "flood").exit_code == Exit.MET  # a playbook's name will do


def test_a_set_that_calls_what_is_no_transport_counterfactual_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(paths.PROJECT / "kernel-patches" / "vanilla-2008", folder)
    text = (folder / "set.toml").read_text()
    (folder / "set.toml").write_text(text.replace("nvme-tcp = ", "nvme-tpc = "))
    line = text[: text.index("nvme-tcp = ")].count("\n") + 1
    done = testbed("check", str(folder / "set.toml"))
    assert done.exit_code == Exit.USAGE and f"set.toml:{line}: counterfactual.nvme-tpc" in done.stderr
    assert "nvme-tcp" in done.stderr


def test_an_error_in_a_topology_anywhere_has_its_line(tmp_path: Path) -> None:
    copy = tmp_path / "my.toml"
    text = (TOPOLOGIES / "abc.toml").read_text()
    assert text.count('memory = "96MiB"') == 1
    copy.write_text(text.replace('memory = "96MiB"', "memory = 96"))
    line = text[: text.index('memory = "96MiB"')].count("\n") + 1
    done = testbed("check", str(copy))
    assert done.exit_code == Exit.USAGE and f"my.toml:{line}: machines.A.memory" in done.stderr


def test_what_check_and_gc_found_is_for_programs_too() -> None:
    assert json.loads(testbed("check", "topologies/abc.toml", "--json").stdout) == [
        {"file": "topologies/abc.toml", "holds": "topology"}
    ]
    a_lab("dead", holder="1:1")
    assert json.loads(testbed("gc", "--json").stdout) == {"labs": ["dead"], "cache": []}


def test_the_guest_image_is_told_when_it_was_made(tmp_path: Path) -> None:
    assert testbed("build").stdout == f"guest image: {DIGEST} in {tmp_path}\n"


def test_what_plan_makes_is_as_its_help_says(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    image = inputs.images.build(None)
    monkeypatch.setattr(inputs.images, "build", lambda own: made.append(own) or image)
    monkeypatch.setattr(inputs.kernels, "build", lambda *_, **__: pytest.fail("built a kernel"))
    assert testbed("plan", "flood").exit_code == Exit.MET
    said = " ".join(testbed("plan", "--help").stdout.split())
    assert made == [None] and "the guest image is made" in said and "Nothing is built" not in said


@pytest.mark.parametrize(
    ("dumps", "said"),
    [
        ((0, 0), "no memory dump is kept there: nothing was read anew"),
        ((1, 0), "1 memory dump read anew, of 1 cell"),
        ((2, 1), "3 memory dumps read anew, of 2 cells"),
    ],
)
def test_who_looks_again_is_told_at_how_many_dumps(
    dumps: tuple[int, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(len(dumps)):
        write_result(tmp_path / f"cell-{number}", Story())
    counts = iter(dumps)
    monkeypatch.setattr(main, "look_again", lambda folder: next(counts))
    done = testbed("judge", str(tmp_path), "--look-again", "--json")
    assert done.stderr == said + "\n"
    assert len(json.loads(done.stdout)) == len(dumps)
    assert testbed("judge", str(tmp_path), "--json").stderr == ""


# --- labs that were left up


def a_lab(lab_id: str, *, holder: str = "", plan: bool = True) -> Path:
    """The record of one, as if it ran; ours if nobody else is said to hold it."""
    folder = paths.labs_dir() / lab_id
    folder.mkdir()
    if plan:
        store.write_json(folder / store.PLAN, a_plan().model_dump(mode="json"))
    registry.Record(lab_id, holder or proc.run_id(os.getpid()) or "", what=f"lab {lab_id}").save(folder)
    return folder


class Booted:
    """A lab that is up at once, and only its record."""

    def __init__(self, plan: Plan, *_: object) -> None:
        self.plan = plan

    def __enter__(self) -> Booted:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def keep(self) -> str:
        (a_lab("abcdef") / lab.CONSOLES).symlink_to("/nowhere")
        return "abcdef"


def test_a_program_is_told_which_lab_is_up_and_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "Lab", Booted)
    monkeypatch.setattr(accelerator, "_why_no_kvm", lambda kernel: QEMU_SAYS)
    told = json.loads(testbed("up", "abc", "--json").stdout)
    assert told["id"] == "abcdef"
    assert {name: sorted(links) for name, links in told["machines"].items()} == {
        name: ["data", "mgmt"] for name in "ABC"
    }
    assert len({address for links in told["machines"].values() for address in links.values()}) == 6


def test_a_lab_is_ended_by_the_beginning_of_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []
    monkeypatch.setattr(registry.AttachedLab, "end", lambda attached: ended.append(attached.record.id))
    for name in ("abc1", "abd2"):
        a_lab(name)
    a_lab("played", plan=False)
    a_lab("dead", holder="1:1")
    for words, said in (
        ((), "2 labs are up: abc1 (lab abc1), abd2 (lab abd2)"),
        (("--lab", "ab"), "2 labs are up"),
        (("--lab", "played"), "no lab 'played' is up"),
        (("--lab", "dead"), "no lab 'dead' is up"),
    ):
        done = testbed("down", *words)
        assert done.exit_code == Exit.USAGE and said in done.stderr, done.output
    assert not ended
    assert json.loads(testbed("down", "--lab", "abd", "--json").stdout) == {"id": "abd2"}
    assert ended == ["abd2"]
    assert testbed("down", "abd2").exit_code == Exit.USAGE  # the id is an option, as everywhere


@pytest.mark.parametrize(("answer", "code"), [(b"", Exit.INCONCLUSIVE), (b"sysrq: help", Exit.MET)])
def test_a_sysrq_key_that_is_not_answered_says_nothing_of_the_kernel(
    answer: bytes, code: Exit, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = a_lab("one") / lab.CONSOLES / store.console_name("A")
    log.parent.mkdir()
    log.write_bytes(b"booted\n")

    class Domain:
        def sysrq(self, key: str, heard: object) -> None:
            log.write_bytes(log.read_bytes() + answer)

    hypervisor = nullcontext(SimpleNamespace(domains=lambda: {"A": Domain()}))
    monkeypatch.setattr(lab, "Hypervisor", lambda uri: hypervisor)
    done = testbed("console", "A", "--sysrq", "h")
    assert done.exit_code == code
    assert ("did not answer to SysRq-h" in done.stderr) is not bool(answer)


def test_the_guide_tells_the_exit_codes_of_all_commands() -> None:
    rows = [line.split("|") for line in EXIT_CODES.splitlines() if line.startswith("| ")][1:]
    meanings = {int(code): meaning for _, code, meaning, _ in rows}
    assert set(meanings) == set(Exit)
    assert "`console --sysrq`" in meanings[Exit.INCONCLUSIVE]
    assert "`ssh` ends with the code of the command" in EXIT_CODES


WITHOUT_JSON = {"ssh", "console", "schema"}


def test_what_takes_json_is_as_the_guide_says() -> None:
    assert "All but `ssh`, `console` and `schema` (which prints JSON anyway) take `--json`" in GUIDE
    without = {name for name, one in _commands(command_of(app), "") if "as_json" not in _parameters(one)}
    assert without == WITHOUT_JSON


def test_no_command_takes_the_uri_of_another_libvirt() -> None:
    """As README.md and docs/remote.md say."""
    names = {name for _, one in _commands(command_of(app), "") for name in _parameters(one)}
    assert "kernel" in names and not {name for name in names if "uri" in name}


def _commands(group: Any, before: str) -> Iterator[tuple[str, Any]]:
    for name, one in group.commands.items():
        if hasattr(one, "commands"):
            yield from _commands(one, f"{before}{name} ")
        else:
            yield f"{before}{name}", one


def _parameters(command: Any) -> set[str]:
    return {parameter.name for parameter in command.params}


def test_check_passes_all_of_the_project() -> None:
    done = testbed("check")
    assert done.exit_code == Exit.MET
    lines = done.stdout.splitlines()
    assert all(line.startswith("ok ") for line in lines)
    for name in ("topologies/abc.toml", "playbooks/flood.toml", "vanilla-2007/set.toml", "claims.toml"):
        assert any(name in line for line in lines), name


# --- what people look at


def test_a_plan_fits_80_columns() -> None:
    lines = shown(show.plan(a_plan()))
    assert any("cut: drop, between A C" in line for line in lines)
    assert max(map(len, lines)) <= 80


def test_the_display_shows_each_machine_and_keeps_its_height() -> None:
    plan = a_plan()
    screen = Screen(plan, "1/1 cell")
    before = shown(screen)
    screen.update(
        View(
            "does progress resume?",
            59.0,
            {
                "A/machine.beats": 7,
                "A/memory.free_pages": 59,
                "A/vmsampler.swap_total_kib": 131072,
                "A/vmsampler.swap_free_kib": 131072 - 63488,
                "A/anonymous-1.work_units": 1234,
                "A/anonymous-2.work_units": 1,
                "B/flood.packets_sent": 85023,
                "B/machine.mem_free_kib": 7 << 10,
                "B/memory.free_pages": 9 << 8,
                "C/machine.mem_free_kib": 5 << 10,
            },
            ("cut",),
        )
    )
    after = shown(screen)
    assert len(after) == len(before) and max(map(len, after)) <= 80
    (of_a,) = [line for line in after if line.startswith("A ")]
    assert all(word in of_a for word in ("236 KiB", "62 MiB", "1,235", "alive", "cut"))
    (of_b,) = [line for line in after if line.startswith("B ")]
    assert "85,023" in of_b and "none" in of_b and "9 MiB" in of_b and "at boot" not in of_b
    (of_c,) = [line for line in after if line.startswith("C ")]
    assert "5 MiB at boot" in of_c


def test_a_fault_concerns_the_machines_that_it_names() -> None:
    assert concerns({"between": ["A", "C"], "link": "data"}, "C")
    assert not concerns({"between": ["A", "C"], "link": "data"}, "B")
    assert concerns({"machine": "C"}, "C")


def test_kernels_are_resolved_before_anything_is_planned() -> None:
    assert planning.support_spec(KernelSpec(base="6.1", sets=("complete-rx",))).sets == ()
