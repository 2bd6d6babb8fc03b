"""What a test needs of its host: missing, it is skipped with the remedy; in CI every skip is a failure.

And the budget of CI: a run that takes longer fails, however many tests have passed.
"""

from __future__ import annotations

import gc
import os
import shutil
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings

from testbed import proc
from testbed.errors import MissingCapability, TestbedError
from testbed.images import programs

ROOT = Path(__file__).parent.parent
BUDGET_S = 45 * 60
"""What CI has for all that `make test` does, from an empty clone on; `.ci/run` says when that began."""
BEGUN = pytest.StashKey[float]()


def _programs(*names: str) -> str | None:
    missing = [
        name for name in names if shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None
    ]
    return f"no {', '.join(missing)} on this host: run 'make setup'" if missing else None


def _namespaces() -> str | None:
    lacking = _programs("unshare", "libvirtd", "qemu-system-x86_64")
    if lacking:
        return lacking
    try:
        proc.run(["unshare", "-U", "-r", "-n", "-m", "-p", "-f", "true"], timeout_s=10)
    except TestbedError as error:
        return f"no user namespaces ({error}): set user.max_user_namespaces, or run as root"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "no use of /dev/net/tun: modprobe tun; chmod 0666 /dev/net/tun"
    return None


def _kernel_source() -> str | None:
    if not list(Path("/usr/src").glob("linux-source-6.1.tar.*")):
        return "no kernel source: run 'make setup' (package linux-source-6.1)"
    return None


NEEDS: dict[str, Callable[[], str | None]] = {
    "namespace": _namespaces,
    "vm": lambda: _namespaces() or _kernel_source(),
    "browser": lambda: _programs("chromium"),
}


# `make test-pure` tries a few inputs of each kind, `make test` a hundred, `make nightly` many more.
settings.register_profile("usual", deadline=None)
settings.register_profile("quick", deadline=None, max_examples=20, database=None)
settings.load_profile("usual")


def over_budget(took_s: float) -> str:
    """What is to be said of a run of CI that took so long; empty if that was within the budget."""
    if took_s <= BUDGET_S:
        return ""
    return (
        f"CI has {BUDGET_S / 60:.0f} min, and this took {took_s / 60:.1f}: move what is slowest (--durations)"
        " to `make nightly`, or make it faster"
    )


def _over_budget(config: pytest.Config) -> str:
    if not os.environ.get("CI") or hasattr(config, "workerinput"):
        return ""
    return over_budget(time.time() - config.stash[BEGUN])


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _over_budget(session.config):
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if said := _over_budget(config):
        terminalreporter.write_line(said, red=True)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[BEGUN] = float(os.environ.get("TESTBED_CI_BEGUN") or time.time())
    # Tests make many values and few cycles; to look for these every 700 values takes a tenth of their time.
    gc.set_threshold(50_000, 20, 1000)


def pytest_unconfigure() -> None:
    gc.freeze()  # else the interpreter's last acts walk half a second through all that was imported


@pytest.hookimpl(tryfirst=True)  # before pytest selects by markers
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A run of an ordinary user's is itself what root's run starts as one: there is nothing to skip."""
    for item in items:
        if "agent" in getattr(item, "fixturenames", ()):
            item.add_marker("agent")
    if os.getuid() == 0:
        return
    roots = [item for item in items if item.get_closest_marker("becomes_ordinary")]
    if roots:
        config.hook.pytest_deselected(items=roots)
        items[:] = [item for item in items if item not in roots]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, lacks in NEEDS.items():
        remedy = lacks() if item.get_closest_marker(marker) else None
        if remedy:
            pytest.skip(remedy)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI nothing may be missing: whoever skips, and wherever, a skip is a failure with its remedy."""
    report = yield
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        _, _, why = report.longrepr if isinstance(report.longrepr, tuple) else ("", 0, str(report.longrepr))
        report.outcome = "failed"
        report.longrepr = f"CI must run {item.nodeid}: {why.removeprefix('Skipped: ')}"
    return report


@pytest.fixture(scope="session", autouse=True)
def compiling(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Future[None] | None:
    """The guests' agent in the making, if a test wants it: gcc takes a second, meanwhile others run."""
    if not any("agent" in getattr(item, "fixturenames", ()) for item in request.session.items):
        return None
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(programs.compile_agent, tmp_path_factory.getbasetemp() / "agent")
    finally:
        pool.shutdown(wait=False)  # its thread ends with this deed


@pytest.fixture(scope="session")
def agent(compiling: Future[None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The guests' agent, compiled once for all tests."""
    try:
        compiling.result()
    except MissingCapability as error:
        pytest.skip(f"{error}: run 'make setup'")
    return tmp_path_factory.getbasetemp() / "agent"


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path leaves room for sockets' names, and which another user can have: pytest's do not.

    It is named by our process, so that the next run removes what a killed one left.
    """
    for left in Path("/tmp").glob("testbed-test-[0-9]*-*"):
        if not Path("/proc", left.name.split("-")[2]).exists():
            shutil.rmtree(left, ignore_errors=True)
    prefix = f"testbed-test-{os.getpid()}-"
    with TemporaryDirectory(prefix=prefix, dir="/tmp", ignore_cleanup_errors=True) as name:
        yield Path(name)
