"""What a trial reads of a guest and of its console, and what earlier builds say of the next."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from testbed.errors import MissingCapability, TestbedFault
from testbed.kernels import checking, config, estimate, record, store, voiding
from testbed.machines.guest import CommandFailed, GuestUnreachable
from testbed.model import KernelSpec
from testbed.proc import Completed
from testbed.run import boot, trial
from tests.histories import judging, plan_of

FILES = {
    "/sys/kernel/debug/mine/hits": "7\n",
    "/proc/net/netstat": "TcpExt: A PFMemallocDrop\nTcpExt: 0 3\nIpExt: InNoRoutes\nIpExt: 9\n",
    "/proc/net/snmp": "Ip: Forwarding\nIp: 2\n",
    "/proc/vmstat": "nr_free_pages 1234\nallocstall_normal 5\n",
    "/proc/lockdep_stats": " lock-classes: 900 [max: 8192]\n debug_locks:                     1\n",
}


class Guest:
    """Answers `cat` alone."""

    def __init__(self, files: dict[str, str]) -> None:
        self.files = files

    def run(self, argv: Sequence[str], **_: object) -> Completed:
        text = self.files.get(argv[1])
        return Completed(tuple(argv), 0 if text is not None else 1, text or "", "")


@pytest.mark.parametrize(
    ("counter", "value"),
    [
        ("mine/hits", "7"),
        ("mine/misses", None),
        ("PFMemallocDrop", "3"),
        ("InNoRoutes", "9"),
        ("allocstall_normal", "5"),
        ("TcpExt:", None),
        ("Nothing", None),
    ],
)
def test_a_counter_is_a_file_of_debugfs_or_a_name_of_the_mibs(counter: str, value: str | None) -> None:
    assert trial._read(Guest(FILES), counter) == value  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "watched"), [(FILES["/proc/lockdep_stats"], True), (" debug_locks: 0\n", False), ("", False)]
)
def test_lockdep_must_be_on_to_the_end(text: str, watched: bool) -> None:
    assert trial._is_watched(Guest({"/proc/lockdep_stats": text})) is watched  # type: ignore[arg-type]


def test_a_report_on_the_console_is_not_clean(tmp_path: Path) -> None:
    console = tmp_path / "A.log"
    console.write_text(
        "[    1.000000] Linux version 6.1\n"
        "[    2.000000] BUG: sleeping function called from invalid context at mm/page_alloc.c:1\n"
    )
    reports = trial._reports(console)
    assert len(reports) == 1 and "sleep in atomic context" in reports[0]
    assert not trial.Trial(reports, True, {}).clean
    assert trial.Trial((), True, {}).clean and not trial.Trial((), False, {}).clean
    assert trial._reports(tmp_path / "none") == ()


NOTHING = Completed(("dd",), 1, "", "no space")


@pytest.mark.parametrize(
    "error", [boot.NotReady("not ready"), GuestUnreachable("gone"), CommandFailed("A", NOTHING)]
)
def test_a_guest_that_does_not_come_up_is_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: TestbedFault
) -> None:
    tried = _boot(tmp_path, monkeypatch, error)
    assert tried.reports == (error.message,) and not tried.clean and tried.counters == {}


@pytest.mark.parametrize("error", [MissingCapability("no QEMU"), TestbedFault("libvirt is gone")])
def test_what_the_host_does_not_do_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: TestbedFault
) -> None:
    with pytest.raises(type(error)):
        _boot(tmp_path, monkeypatch, error)


def _boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: TestbedFault) -> trial.Trial:
    """A trial whose lab does not come up."""

    def lab(*_: object) -> None:
        raise error

    monkeypatch.setattr(trial, "Lab", lab)
    plan = trial.alone(plan_of(judging()))
    return trial.boot(plan, None, None, ("mine/hits",), tmp_path)  # type: ignore[arg-type]


def test_the_kernel_that_watches_itself_voids_nothing() -> None:
    wishes = [wish for path in checking.FRAGMENTS for wish in config.parse_fragment(path.read_text(), path)]
    options = {wish.option: wish.value for wish in wishes}
    assert options["CONFIG_PROVE_LOCKING"] == options["CONFIG_DEBUG_ATOMIC_SLEEP"] == "y"
    assert voiding.confounders(config.parse_config(config.config_text(tuple(wishes)))) == ()


# --- how long it will take


Inputs = dict[str, str]


def _kernel(
    kernels: store.Store, name: str, sets: tuple[str, ...], objects: int, seconds: float, inputs: Inputs
) -> None:
    folder = kernels.folder(name)
    folder.mkdir(parents=True)
    about = record.KernelRecord(
        spec=KernelSpec(base="6.1", sets=sets),
        digest=name,
        inputs=inputs,
        compiler="gcc",
        release="6.1",
        confounders=(),
        modules=False,
        objects=objects,
        seconds=seconds,
    )
    record.write(folder, about)
    age = len(kernels.entries()) * 1e6
    os.utime(folder, (1e9 + age, 1e9 + age))


def test_the_next_build_takes_what_the_last_of_its_kind_did(tmp_path: Path) -> None:
    kernels, trees = store.Store(tmp_path / "kernels"), store.Store(tmp_path / "trees")
    plain, watched = ({"configuration": name, "source": "6.1"} for name in ("plain", "watched"))
    mine, new = KernelSpec(base="7.3", sets=("mine",)), KernelSpec(base="6.1", sets=("new",))
    assert estimate.of_sets(mine, plain, kernels) == estimate.A_SET
    assert estimate.of_tree(plain, trees) == estimate.WHOLE_TREE and estimate.WHOLE_TREE.words == ""
    _kernel(kernels, "a", ("mine",), 40, 30.0, plain)
    _kernel(kernels, "b", ("mine",), 60, 99.0, watched)
    for name, objects in (("c", 7), ("d", 1724), ("e", 9)):
        _kernel(kernels, name, (name,), objects, 11.0, plain)
    _kernel(kernels, "f", (), 2300, 600.0, plain)
    assert estimate.of_sets(mine, plain | {"source": "7.3"}, kernels).words == ", about 30 s", (
        "on another base"
    )
    assert estimate.of_sets(mine, watched, kernels).words == ", about 2 min"
    assert estimate.of_sets(new, plain, kernels).objects == 9, "one that touches every file is not the rule"
    trees.folder("s").mkdir(parents=True)
    assert estimate.of_tree(plain, trees) == estimate.WHOLE_TREE
    for name, inputs, seconds in (("t", plain, 610.0), ("u", watched, 1310.0)):
        trees.folder(name).mkdir(parents=True)
        estimate.note(trees.folder(name), estimate.Effort(objects=2000, seconds=seconds), inputs)
    assert estimate.of_tree(plain, trees).words == ", about 10 min"
