"""The reports: everything escaped, nothing from outside, the verdict first; and the table's statistics."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from histories import Story, judging, kernel_line, plan_of, write_result

from testbed import store
from testbed.campaign.counted import counted
from testbed.campaign.expectation import Cell, accepted, compare
from testbed.campaign.summary import summarise
from testbed.clock import NS
from testbed.errors import UsageError
from testbed.judge import OUTCOMES, Verdict, judge
from testbed.judge.case import case_of
from testbed.judge.values import read_verdict, write_verdict
from testbed.kernels import patchset
from testbed.kernels.naming import PATCHES
from testbed.reports import html, junit, ktap
from testbed.reports.excerpt import MOST_LINES, excerpt
from testbed.reports.plot import Clip, draw, work_of, work_words
from testbed.reports.words import MEANS
from testbed.snapshot import Snapshot
from testbed.transports import transport_class

HOSTILE = "<script>alert(1)</script>&\"'\x00\x1b[31m\ufffe$x^2$"


def result(folder: Path, story: Story, **labels: Any) -> Path:
    write_result(folder, story, **labels)
    write_verdict(folder, judge(store.read_evidence(folder)))
    return folder


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cell's folder with its report, of which all that can be hostile is."""
    lines = b"".join(kernel_line(i / 50, f"line {i} {HOSTILE}") for i in range(900))
    panic = kernel_line(19, "swapper/0: page allocation failure: order:0, " + HOSTILE)
    story = Story(consoles={"A": lines + panic, "C": b"login: " + HOSTILE.encode()})
    folder = result(
        tmp_path_factory.mktemp("r") / "a <b>#1", story, kernel=HOSTILE, nic=HOSTILE, expect="recovered"
    )
    (folder / store.ENVIRONMENT).write_text(
        json.dumps(
            {
                "command": HOSTILE,
                "host": {HOSTILE: HOSTILE},
                "kernels": {"subject": {"confounders": [HOSTILE]}},
            }
        )
    )
    html.write_cell(folder)
    return folder


@pytest.fixture(scope="module")
def report(reported: Path) -> str:
    return (reported / store.REPORT).read_text()


class Tags(HTMLParser):
    """Collects elements with their attributes, and what ends unbalanced."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def tags(text: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Tags()
    parser.feed(text)
    return parser.found


def test_the_report_is_made_of_nothing_from_outside(report: str) -> None:
    for tag, attributes in tags(report):
        assert tag not in ("script", "img", "iframe", "object", "embed", "base", "form"), tag
        for name, value in attributes.items():
            assert not name.startswith("on"), name
            if name in ("src", "href", "xlink:href", "action", "data"):
                assert (value or "").startswith(("#", "data:")), value
    assert not re.search(r"url\((?!#)", report)
    assert "@import" not in report
    assert "default-src 'none'" in report


def test_hostile_text_is_shown_not_obeyed(report: str) -> None:
    assert "<script" not in report
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in report
    assert "\x1b" not in report
    assert "\x00" not in report


def test_the_verdict_stands_before_all_else(report: str) -> None:
    order = [
        report.index(text)
        for text in ('class="word">recovered', "Precondition", "<svg", "Console of A", "To do it again")
    ]
    assert order == sorted(order)


def test_the_verdicts_sentence_stands_once_and_what_said_so_is_named(reported: Path, report: str) -> None:
    verdict = read_verdict(reported)
    assert verdict.reason == verdict.findings[0].statement
    assert report.count(verdict.reason) == 1
    assert "What the verdict says." in report and f"{verdict.findings[0].detector}: recovered" in report
    assert f"The verdict: {verdict.outcome}." in report


def test_the_report_tells_what_to_do_it_again_with(report: str) -> None:
    for text in ("4f" * 16, "ab" * 16, "9d" * 32, "testbed judge", "Confounders", "e" * 0):
        assert text in report


def test_the_report_is_readable_by_machine_and_ear(report: str) -> None:
    found = tags(report)
    assert ("html", {"lang": "en"}) in found
    assert any(tag == "meta" and a.get("name") == "viewport" for tag, a in found)
    svg = next(a for tag, a in found if tag == "svg")
    ids = {a["id"] for _, a in found if a.get("id")}
    assert svg["role"] == "img"
    assert set((svg["aria-labelledby"] or "").split()) <= ids
    assert all(a.get("scope") for tag, a in found if tag == "th")


def test_a_report_needs_a_verdict(tmp_path: Path) -> None:
    write_result(tmp_path / "r", Story())
    with pytest.raises(UsageError, match="not judged"):
        html.write_cell(tmp_path / "r")


# --- the plot


@pytest.fixture(scope="module")
def plot(report: str) -> str:
    """What was drawn for the report: consoles and labels are not in it, so it is that of a plain story."""
    return report[report.index("<svg") : report.index("</svg>") + len("</svg>")]


def test_the_plot_shows_watermarks_floor_bands_and_moments(plot: str) -> None:
    ElementTree.fromstring(plot)
    for text in (
        "GFP_ATOMIC floor (96)",
        "min watermark (256)",
        "cut in force",
        "flood on",
        "work goes on",
        "swap.replies",
        "sweep",
    ):
        assert text in plot


LOADS = ("A/anonymous-1.work_units", "A/anonymous-2.work_units")


@pytest.mark.parametrize(
    ("progress", "names", "words"),
    [
        (
            (*LOADS, "A/blocksampler.writes_completed_0"),
            LOADS,
            "Work done by 2 loads together (pages worked on, per second)",
        ),
        (("A/client.reads",), ("A/client.reads",), "Work done by 1 load (reads done, per second)"),
        (
            ("A/blocksampler.writes_completed_1", "A/blocksampler.reads_completed_0"),
            ("A/blocksampler.writes_completed_1",),
            "Work done (writes completed by block device 2, per second)",
        ),
        ((), (), "Work done: nothing counts it"),
    ],
)
def test_the_work_that_is_drawn_is_that_of_all_loads(
    progress: tuple[str, ...], names: tuple[str, ...], words: str
) -> None:
    assert work_of(progress) == names
    assert work_words(names) == words


def test_the_work_of_two_loads_is_added_up() -> None:
    case = case_of(Story().evidence())
    clip = Clip(case, case.origin_ns - 4 * NS, case.origin_ns)
    once, twice = (clip.rate(*["A/anonymous.work_units"] * count)[1] for count in (1, 2))
    assert max(once) > 0 and twice == [2 * value for value in once]


def test_the_same_evidence_gives_the_same_plot(plot: str) -> None:
    assert draw(case_of(Story().evidence())).strip() == plot


def huge(t: float, values: dict[str, dict[str, int]]) -> None:
    values["A/memory"]["free_pages"] = 10**300
    values["A/anonymous"]["work_units"] = 10**400 if t > 20 else -(10**400)
    values["wire/" + HOSTILE] = {"offered_packets": int(t) + 20, "delivered_packets": 3}


@pytest.mark.parametrize(
    "story", [Story(tweak=huge), Story(without=("A/blocksampler", "A/memory", "A/anonymous"))]
)
def test_a_report_is_made_of_strange_numbers_and_of_none(story: Story, tmp_path: Path) -> None:
    folder = result(tmp_path / "r", story)
    text = html.render_cell(folder)
    assert 'class="word">inconclusive' in text


def test_a_report_is_made_of_an_empty_history(tmp_path: Path) -> None:
    folder = write_result(tmp_path / "r", Story())
    (folder / store.HISTORY).write_text("")
    write_verdict(folder, judge(store.read_evidence(folder)))
    assert "inconclusive" in html.render_cell(folder)


# --- the console


def test_the_excerpt_is_bounded_and_keeps_what_matters() -> None:
    lines = [kernel_line(i / 1000, f"line {i}") for i in range(6_000)]
    lines[2_000] = kernel_line(2, "Kernel panic - not syncing: x")
    for at in range(3_000, 5_900, 3):
        lines[at] = kernel_line(at / 1000, "x: page allocation failure: order:0, mode:0x820(GFP_ATOMIC)")
    case = case_of(Story(consoles={"A": b"".join(lines)}).evidence())
    found = excerpt(case, "A")
    assert found.total == 6_000
    assert len(found.lines) <= MOST_LINES
    panic = next(line for line in found.lines if line.number == 2_001)
    assert (panic.mark, panic.grave) == ("kernel panic", True)
    assert found.lines[0].left_out == 2_000 - 5
    assert sum(line.left_out + 1 for line in found.lines) == found.lines[-1].number


def test_a_short_console_is_shown_whole() -> None:
    case = case_of(Story(consoles={"A": b"one\r\ntwo\r\nthree"}).evidence())
    assert [line.text for line in excerpt(case, "A").lines] == ["one", "two", "three"]
    assert excerpt(case, "B").lines == ()


# --- expectations


@pytest.mark.parametrize(
    ("expect", "outcome", "met"),
    [
        ("recovered", "recovered", "met"),
        ("recovered", "slow", "not met"),
        ("not recovered", "stalled", "met"),
        ("not recovered", "recovered", "not met"),
        ("stalled | livelocked", "livelocked", "met"),
        ("stalled or livelocked", "recovered", "not met"),
        ("not recovered", "inconclusive", "inconclusive"),
        ("recovered", "inconclusive", "inconclusive"),
        ("inconclusive", "inconclusive", "met"),
        ("inconclusive", "recovered", "not met"),
        (None, "stalled", "none"),
    ],
)
def test_a_verdict_is_held_against_what_was_expected(expect: str | None, outcome: Any, met: str) -> None:
    assert compare(expect, Verdict(outcome=outcome, reason="", bound_s=60)) == met


@pytest.mark.parametrize("expect", ["recoverd", "", "not", "recovered | x"])
def test_an_expectation_must_name_outcomes(expect: str) -> None:
    with pytest.raises(UsageError) as raised:
        accepted(expect)
    assert "recovered" in raised.value.hint


# --- the table


def cell(outcome: Any, repeat: int = 1, time_s: float | None = None, **labels: Any) -> Cell:
    verdict = Verdict(
        outcome=outcome,
        reason=f"because {HOSTILE}",
        time_to_recover_s=time_s,
        censored=outcome in ("stalled", "livelocked"),
        observed_s=60,
        bound_s=60,
    )
    return Cell(Path(f"/nowhere/{outcome}-{repeat}"), plan_of(judging(), repeat=repeat, **labels), verdict)


SILENT = cell("recovered", variant="silent", expect="recovered", time_s=1.0)


def test_wedged_is_told_first_with_its_interval_then_every_outcome() -> None:
    row = summarise([*(cell("recovered", n, 10.0 + n) for n in range(5)), SILENT]).rows[0]
    assert row.words == "wedged 0 of 5; 0\N{EN DASH}43 % at 95 % \N{MIDDLE DOT} recovered 5"
    assert row.repeats.recovery.words == "median 12 s (10 s to 14 s)"
    none = summarise([cell("stalled", n) for n in range(5)]).rows[0]
    assert none.words == "wedged 5 of 5; 57\N{EN DASH}100 % at 95 % \N{MIDDLE DOT} stalled 5"


def test_censoring_is_stated() -> None:
    some = summarise([cell("recovered", 1, 8.0), cell("recovered", 2, 9.0), cell("stalled", 3)]).rows[0]
    assert some.repeats.recovery.words == "median 9 s (8 s to 9 s); 1 of 3 did not recover"
    none = summarise([cell("stalled", 1), cell("stalled", 2)]).rows[0]
    assert none.repeats.recovery.words == "no median: 2 of 2 did not recover"


def test_what_says_nothing_of_the_kernel_is_shown_but_not_counted() -> None:
    row = summarise([cell("recovered", 1, 8.0), cell("inconclusive", 2), cell("server-down", 3)]).rows[0]
    assert row.repeats.wedged.tally == (0, 1)
    assert "not counted: server-down 1, inconclusive 1" in row.words


def test_kernels_and_variants_make_rows_of_their_own() -> None:
    summary = summarise(
        [cell("stalled"), cell("stalled", kernel="x"), cell("stalled", nic="virtio-net"), SILENT]
    )
    assert len(summary.rows) == 4


@pytest.mark.parametrize(
    ("controls", "state"),
    [
        ([SILENT], "sound"),
        ([], "unchecked"),
        ([replace(SILENT, verdict=cell("inconclusive").verdict)], "unchecked"),
        ([SILENT, cell("recovered", variant="never-healed", expect="not recovered")], "void"),
        ([SILENT, replace(SILENT, verdict=cell("stalled").verdict)], "void"),
    ],
)
def test_the_controls_carry_the_table_or_void_it(controls: list[Cell], state: str, tmp_path: Path) -> None:
    cells = [cell("recovered", 1, 8.0), *controls]
    assert summarise(cells).state == state
    word = {"sound": "Controls held", "void": "Void", "unchecked": "Not backed"}[state]
    assert f'class="word">{word}' in html.render_index(tmp_path, cells)


def test_a_hypothesis_of_a_variant_that_was_not_met_voids_nothing() -> None:
    wrong = cell("stalled", variant="storm", expect="recovered", control=False)
    assert not wrong.is_control and wrong.met == "not met"
    table = summarise([cell("recovered", 1, 8.0), SILENT, wrong])
    assert table.state == "sound" and len(table.controls) == 1
    before = cell("stalled", variant="storm", expect="recovered")  # of before: it was a control then
    assert before.is_control and summarise([before]).state == "void"


def test_the_index_links_to_the_reports_below_it(reported: Path) -> None:
    mine = Cell(reported, store.read_plan(reported), cell("recovered").verdict)
    cells = [mine, cell("stalled", 2, kernel=HOSTILE)]
    text = html.write_index(reported.parent, cells).read_text()
    assert 'href="a%20%3Cb%3E%231/report.html"' in text
    assert "/nowhere" not in text
    assert "<script" not in text


def test_a_cell_of_what_never_was_is_called_counterfactual_with_the_reason(tmp_path: Path) -> None:
    why = "vanilla-2007 over nfs3: the mainline of 2007 did not swap over NFS"
    cells = [cell("deadlocked", kernel="vanilla-2007", transport=kind) for kind in ("nbd", "nfs3")]
    assert [bool(one.counterfactual) for one in cells] == [False, True]
    index = html.render_index(tmp_path, cells)
    assert index.count('<span class="pill open">counterfactual</span>') == 1
    assert index.count(f"<strong>Counterfactual:</strong> {why}") == 1
    assert "counterfactual" not in html.render_index(tmp_path, cells[:1]).lower()
    folder = result(tmp_path / "cell", Story(), kernel="vanilla-2007", transport="nfs3")
    report = html.write_cell(folder).read_text()
    assert f'<span class="pill open">counterfactual</span> {why}' in report
    usual = result(tmp_path / "usual", Story(), kernel="vanilla-2007")
    assert "counterfactual" not in html.write_cell(usual).read_text()


def test_a_control_of_what_never_was_is_called_counterfactual_too(tmp_path: Path) -> None:
    control = cell("recovered", kernel="vanilla-2008", transport="nvme-tcp", variant="x", expect="recovered")
    index = html.render_index(tmp_path, [control])
    assert "x on vanilla-2008 <span" in index and "came with 5.0 in 2019.</p>" in index


def test_the_judge_is_told_nothing_of_it(tmp_path: Path) -> None:
    over = [
        result(tmp_path / kind, Story(), kernel="vanilla-2007", transport=kind) for kind in ("nbd", "nfs3")
    ]
    assert read_verdict(over[0]) == read_verdict(over[1])


def test_the_reason_is_escaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cell, "counterfactual", (HOSTILE,))
    folder = result(tmp_path / "cell", Story())
    for text in (html.write_cell(folder).read_text(), html.render_index(tmp_path, [cell("recovered")])):
        assert "&lt;script&gt;alert(1)" in text and "<script" not in text and "\x1b" not in text


def test_of_which_sets_a_kernel_is_is_known_by_its_name(tmp_path: Path) -> None:
    for kernel, word in (
        ("vanilla-2007+recursive-reclaim@7.3", "vanilla-2007 over nfs4: "),
        ("stock", ""),
        ("gone-2007+complete-rx", ""),
        (HOSTILE, ""),
    ):
        told = cell("recovered", kernel=kernel, transport="nfs4").counterfactual
        assert [each[: len(word)] for each in told] == ([word] if word else [])


@pytest.mark.parametrize("name", patchset.known(PATCHES))
def test_what_a_set_calls_counterfactual_is_a_transport(name: str) -> None:
    for kind in patchset.about(name, PATCHES).counterfactual:
        assert transport_class(kind)


def test_an_index_of_nothing_is_an_index(tmp_path: Path) -> None:
    assert "No cell is finished" in html.render_index(tmp_path, [])


def test_every_outcome_has_its_words() -> None:
    assert set(MEANS) == set(OUTCOMES)


# --- for machines

FAULT = replace(
    cell("inconclusive"), verdict=cell("inconclusive").verdict.model_copy(update={"testbed_fault": HOSTILE})
)
ALL = [
    cell("recovered", expect="recovered"),
    cell("stalled", expect="recovered"),
    cell("inconclusive"),
    FAULT,
    cell("slow"),
]


def test_junit_tells_failure_skip_and_error_apart() -> None:
    tree = ElementTree.fromstring(junit.render(ALL))
    cases = list(tree.iter("testcase"))
    kinds = [[child.tag for child in one if child.tag != "system-out"] for one in cases]
    assert kinds == [[], ["failure"], ["skipped"], ["error"], []]
    suite = next(tree.iter("testsuite"))
    assert [suite.get(key) for key in ("tests", "failures", "skipped", "errors")] == ["5", "1", "1", "1"]
    assert "because <script>" in (cases[1].find("failure").get("message") or "")  # type: ignore[union-attr]


def test_ktap_tells_failure_skip_and_error_apart() -> None:
    text = ktap.render(ALL)
    lines = [line for line in text.splitlines() if not line.startswith("# ")]
    assert lines[:2] == ["KTAP version 1", "1..5"]
    assert [line.split(" #")[0].split()[0:2] for line in lines[2:4]] == [["ok", "1"], ["not", "ok"]]
    assert "# SKIP" in lines[4]
    assert lines[5].startswith("not ok 4 ")
    assert "testbed fault" in lines[5]


RENDERERS: list[Callable[[list[Cell]], Any]] = [junit.render, ktap.render]


@pytest.mark.parametrize("render", RENDERERS)
def test_what_never_was_is_told_beside_its_result(render: Callable[[list[Cell]], Any]) -> None:
    both = [cell("stalled", kernel=kernel, transport="nfs3") for kernel in ("vanilla-2007", "stock")]
    told = [str(render([one])).count("counterfactual: vanilla-2007 over nfs3: ") for one in both]
    assert told == [1, 0]


@pytest.mark.parametrize("render", RENDERERS)
def test_a_hostile_text_can_not_forge_a_result(render: Callable[[list[Cell]], Any]) -> None:
    forged = cell("stalled", kernel="x\nok 2 forged", expect="recovered")
    verdict = forged.verdict.model_copy(update={"reason": "a\nok 3 forged # SKIP ]]></system-out>"})
    rendered = render([replace(forged, verdict=verdict)])
    text = rendered.decode() if isinstance(rendered, bytes) else rendered
    if render is junit.render:
        assert len(list(ElementTree.fromstring(text).iter("testcase"))) == 1
    else:
        assert sum(line.startswith(("ok", "not ok")) for line in text.splitlines()) == 1


def test_counters_of_others_are_not_the_patch_sets() -> None:
    """debugfs has numbers of nbd as well."""
    plan = plan_of(judging())
    subject = plan.machine(plan.judging.subject)
    kernel = plan.kernels[subject.kernel]
    spec = kernel.spec.model_copy(update={"sets": ("mem-reserve",)})
    with_set = plan.model_copy(
        update={"kernels": {**plan.kernels, subject.kernel: kernel.model_copy(update={"spec": spec})}}
    )
    told = {"mem-reserve/charges": 3, "nbd/nbd0/timeout": 0}
    looks = [
        Snapshot(number=1, taken_ns=1, paused_ms=1),
        Snapshot(number=2, taken_ns=2, paused_ms=1, counters=told),
    ]
    assert counted(with_set, looks) == {"mem-reserve/charges": 3}
    assert counted(plan, looks) == {}
    assert counted(with_set, ()) is None
