"""The reports in a real browser: silent console, no request to anywhere, the plot in its place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from devtools import Browser, browser, evaluate, open_page
from histories import Story, kernel_line, write_result

from testbed import store
from testbed.campaign.play import cells_of
from testbed.judge import judge
from testbed.judge.values import write_verdict
from testbed.reports import html

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("reports")
    hostile = '<img src="http://192.0.2.1/x.png"><script>alert(1)</script>'
    folder = write_result(root / "cell", Story(consoles={"A": kernel_line(8, hostile) * 50}), kernel=hostile)
    verdict = judge(store.read_evidence(folder))
    write_verdict(folder, verdict)
    html.write_cell(folder)
    other = write_result(root / "other", Story(recover_s=None), kernel="vanilla-2007")
    write_verdict(other, judge(store.read_evidence(other)))
    html.write_index(root, cells_of(root))
    return root


def complaints(chromium: Browser) -> list[str]:
    kinds = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
    return [str(event) for event in chromium.events if event.get("method") in kinds]


def requests(chromium: Browser) -> list[str]:
    sent = (event for event in chromium.events if event.get("method") == "Network.requestWillBeSent")
    urls = (event["params"]["request"]["url"] for event in sent)
    return [url for url in urls if not url.startswith("data:")]


@pytest.mark.parametrize("width", [1200, 390], ids=["desk", "phone"])
@pytest.mark.parametrize("name", ["cell/report.html", "index.html"])
def test_a_report_is_quiet_and_fits_the_screen(
    chromium: Browser, reports: Path, name: str, width: int
) -> None:
    page = (reports / name).as_uri()
    session = open_page(chromium, page, width)
    overflow = evaluate(
        chromium, session, "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert overflow <= 0
    assert complaints(chromium) == []
    assert requests(chromium) == [page]


def test_the_plot_is_there(chromium: Browser, reports: Path) -> None:
    session = open_page(chromium, (reports / "cell/report.html").as_uri(), 1200)
    size = "(r => [r.width, r.height])(document.querySelector('.plot svg').getBoundingClientRect())"
    width, height = evaluate(chromium, session, size)
    assert width > 600
    assert height > 400
    drawn = "[...document.querySelectorAll('.plot svg path')].filter(p => p.getBBox().width > 50).length"
    assert evaluate(chromium, session, drawn) > 8


def test_the_curves_of_two_kernels_are_there(chromium: Browser, reports: Path) -> None:
    session = open_page(chromium, (reports / "index.html").as_uri(), 1200)
    size = "(r => [r.width, r.height])(document.querySelector('.plot svg').getBoundingClientRect())"
    width, height = evaluate(chromium, session, size)
    assert width > 600
    assert height > 200
    steps = "[...document.querySelectorAll('.plot svg path')].filter(p => p.getBBox().height > 50).length"
    assert evaluate(chromium, session, steps) >= 1


def test_what_these_tests_look_for_would_be_seen(chromium: Browser, tmp_path: Path) -> None:
    """The control: a page that does ask and does complain is caught doing so."""
    page = tmp_path / "bad.html"
    page.write_text("<img src='http://192.0.2.1/x.png'><script>console.error('x'); undefined.x</script>")
    session = open_page(chromium, page.as_uri(), 800)
    evaluate(chromium, session, "1")
    assert any("192.0.2.1" in url for url in requests(chromium))
    assert len(complaints(chromium)) >= 2
