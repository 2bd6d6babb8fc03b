"""docs/extending.md, followed to the letter: what it says to write is written, and must work."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed import plan as stage
from testbed import plugins, proc
from testbed.errors import UsageError
from testbed.loads import LoadContext, load_of
from testbed.model import KernelSpec, Plan, PlannedKernel
from testbed.plan import Choices
from testbed.proc import Completed
from testbed.transports import Ends, Transport, transport_of
from tests import newcomer
from tests.test_plan_plugins import Notebook

MOST_LINES = 60
FAULT, TRANSPORT, LOAD, PLAYBOOK = (
    "testbed/faults/mute.py",
    "testbed/transports/nbd_through.py",
    "testbed/loads/scan.py",
    "playbooks/scan.toml",
)
LEFT_OUT = re.compile(r"(^|:)[ \t]*\.\.\.[ \t]*$", re.MULTILINE)
DETECTOR = "testbed/judge/detectors/full_sockets.py"


def asked(project: Path, *words: str) -> Completed:
    """The project's own testbed, as its owner calls it."""
    environment = {**os.environ, "PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"}
    argv = [sys.executable, "-m", *words]
    return proc.run(argv, timeout_s=60, cwd=project, env=environment, check=False)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project, before anything of the page is in it."""
    folder = tmp_path_factory.mktemp("project")
    newcomer.copy_project(folder)
    return folder


def test_the_page_has_one_of_each_and_none_is_long_or_there_already() -> None:
    found = newcomer.files()
    assert list(found) == [FAULT, TRANSPORT, LOAD, PLAYBOOK, DETECTOR]
    for path, text in found.items():
        assert text.count("\n") < MOST_LINES, path
        assert not (newcomer.ROOT / path).exists(), f"{path}: the page adds what is there"
        assert not LEFT_OUT.search(text), f"{path}: what is left out can not be followed"


@pytest.mark.programs
def test_who_follows_the_page_has_a_playbook_that_can_be_played(project: Path) -> None:
    wanted = {FAULT: "no fault of kind 'mute'", TRANSPORT: "no transport of kind", LOAD: "no load of kind"}
    lacking = [TRANSPORT, LOAD, FAULT]  # in the order in which a plan asks for them
    found = newcomer.files()
    (project / PLAYBOOK).write_text(found[PLAYBOOK])
    while lacking:
        done = asked(project, "testbed", "check", PLAYBOOK)
        assert done.status == 2, done.stdout
        said = " ".join(done.stderr.split())
        assert any(wanted[path] in said for path in lacking), said
        (path,) = [path for path in lacking if wanted[path] in said]
        (project / path).write_text(found[path])
        lacking.remove(path)
    done = asked(project, "testbed", "check", PLAYBOOK)
    assert done.status == 0, done.stderr
    assert "2 forms and variants" in done.stdout


@pytest.mark.programs
def test_the_schema_knows_the_new_kinds_at_once(project: Path) -> None:
    for path, text in newcomer.files().items():
        (project / path).write_text(text)
    done = asked(project, "testbed", "schema", "playbook")
    tables = json.loads(done.stdout)["$defs"]
    for table, kind, keys in (
        ("Deed", "mute", {"machine", "toward", "link"}),
        ("LoadTable", "scan", {"size"}),
        ("TransportTable", "nbd-through", {"disk", "port", "swap"}),
    ):
        (model,) = [each for each in tables[table]["oneOf"] if each["title"] == kind]
        assert keys <= set(model["properties"])


@pytest.mark.programs
def test_the_detector_is_asked_with_the_others(project: Path) -> None:
    (project / DETECTOR).write_text(newcomer.files()[DETECTOR])
    listing = "from testbed.judge.detectors import detectors; print(*(name for name, _ in detectors()))"
    (project / "listing.py").write_text(listing)
    assert "full_sockets" in asked(project, "listing").stdout.split()


# --- what they do, in this process


@pytest.fixture
def scan(tmp_path: Path) -> Iterator[Plan]:
    """The plan of the page's playbook."""
    (tmp_path / "scan.toml").write_text(newcomer.files()[PLAYBOOK])
    with newcomer.dropped_in(tmp_path):
        yield planned(tmp_path / "scan.toml")
    with pytest.raises(UsageError):
        plugins.find("testbed.transports", Transport, "nbd-through")


def planned(path: Path, **choices: Any) -> Plan:
    file = stage.read_playbook(path)
    kernel = PlannedKernel(spec=KernelSpec(base="6.1"), digest="a" * 24)
    kernels = stage.Kernels(kernel, kernel)
    return stage.plan(stage.topology_of(file), file, kernels, "image", Choices(**choices))


def test_the_plan_has_all_three(scan: Plan) -> None:
    assert scan.transport is not None and scan.transport.kind == "nbd-through"
    assert [(fault.kind, fault.options["toward"]) for fault in scan.faults] == [("mute", "C")]
    assert [(load.kind, load.page_kind, load.start) for load in scan.loads] == [("scan", "job", "timeline")]
    assert [(event.at_s, event.do, event.name) for event in scan.events] == [
        (0, "start", "scan"),
        (1, "apply", "mute"),
        (9, "revert", "mute"),
    ]
    assert scan.judging.finish_loads == ("scan",) and scan.judging.heals == ("mute",)
    assert scan.judging.in_flight == "A/blocksampler.in_flight_0"


def test_the_transport_serves_attaches_and_lends(scan: Plan) -> None:
    assert scan.transport is not None
    transport, ends = transport_of(scan.transport), Ends.of(scan)
    server, client, other = Notebook(10819, 10820), Notebook(), Notebook()
    transport.serve(server, ends)
    how = "qemu-nbd --fork --persistent --format=raw --cache=writethrough --bind=10.77.1.3"
    assert server.lines == [f"{how} --port=10819 /dev/testbed/swap", f"{how} --port=10820 /run/lent"]
    transport.attach(client, ends)
    assert client.lines == ["nbd-client 10.77.1.3 10819 /dev/nbd0 -b 4096", "test -b /dev/nbd0"]
    transport.borrow(other, ends)
    assert other.lines[0] == "nbd-client 10.77.1.3 10820 /dev/nbd0 -b 4096"
    swapped = transport_of(scan.transport.model_copy(update={"options": {"swap": True}}))
    swapped.attach(client, ends)
    assert client.lines[-1] == "swapon /dev/nbd0"


def test_the_load_reads_what_the_transport_brings(scan: Plan) -> None:
    (load,) = scan.loads
    words = load_of(load).argv(load.slot, LoadContext(scan, load))
    dd = ["dd", "if=/dev/nbd0", "of=/dev/null", "bs=65536", "count=8192"]
    assert words[words.index("--") + 1 :] == dd


def test_a_transport_without_a_device_is_refused_to_the_load(tmp_path: Path) -> None:
    (tmp_path / "scan.toml").write_text(newcomer.files()[PLAYBOOK])
    with (
        newcomer.dropped_in(tmp_path),
        pytest.raises(UsageError, match="brings no block device"),
    ):
        planned(tmp_path / "scan.toml", transport="nfs3")
