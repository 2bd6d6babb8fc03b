"""The golden corpus: what real guests printed shows what was done to them, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.consoles import KINDS, KernelReport, Reader, Reading, cause_of, read
from tests.consoles import corpus
from tests.consoles.recipes import recipes

ENTRIES = corpus.entries()
MOST_ALL_BYTES = 3 << 20


def holds(expected: object, value: object) -> bool:
    """Whether a fact is as expected: exactly, within [least, most], or by a beginning or part with `*`."""
    if isinstance(expected, list):
        return isinstance(value, int) and expected[0] <= value <= expected[1]
    if isinstance(expected, str) and "*" in expected:
        head, tail = expected.partition("*")[0], expected.rpartition("*")[2]
        middle = expected[len(head) : len(expected) - len(tail)].strip("*")
        text = str(value or "")
        return text.startswith(head) and text.endswith(tail) and middle in text and bool(text)
    return expected == value


def missing(must: dict[str, Any], reading: Reading) -> str:
    """What of an expectation a console does not show; empty if it shows all."""
    facts = {name: value for name, value in must.items() if name not in ("kind", "count")}
    found = [report for report in reading.reports if report.kind == must["kind"]]
    if "count" in must and not holds(must["count"], len(found)):
        return f"{len(found)} reports of {must['kind']}, not {must['count']}"
    if any(_shows(report, facts) for report in found):
        return ""
    return f"no {must['kind']} with {facts} among {[report.facts.known() for report in found[:3]]}"


def _shows(report: KernelReport, facts: dict[str, Any]) -> bool:
    return all(holds(expected, getattr(report.facts, name)) for name, expected in facts.items())


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["console"])
def test_a_console_shows_what_was_done(entry: corpus.Entry) -> None:
    reading = read(corpus.console(entry))
    assert [one for must in entry["must"] if (one := missing(must, reading))] == []
    allowed = {must["kind"] for must in entry["must"]} | set(entry["may"])
    assert set(reading.counts) <= allowed
    cause = cause_of(reading, watched_s=entry.get("watched_s"), pulse_s=entry.get("pulse_s"))
    assert (None if cause is None else cause.kind) == entry["cause"]


@pytest.mark.parametrize("entry", ENTRIES[::7], ids=lambda entry: entry["console"])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_pieces_of_any_size_give_the_same(entry: corpus.Entry, size: int) -> None:
    console = corpus.console(entry)
    reader = Reader()
    found = []
    for start in range(0, len(console), size):
        found += reader.feed(console[start : start + size])
    found += reader.end()
    whole = read(console)
    assert sorted(found, key=lambda report: report.offset) == list(whole.reports)
    assert reader.kernel_lines == whole.kernel_lines


@pytest.mark.parametrize("entry", ENTRIES[::11], ids=lambda entry: entry["console"])
def test_a_line_stands_where_its_report_says(entry: corpus.Entry) -> None:
    console = corpus.console(entry)
    lines = console.split(b"\n")
    for report in read(console).reports:
        assert console[report.offset : report.offset + 1] == b"["
        assert console.count(b"\n", 0, report.offset) == report.number - 1
        assert report.text[15:40].encode("ascii", "ignore")[:10] in lines[report.number - 1]


def test_the_corpus_is_large_varied_and_small_on_disk() -> None:
    assert len(ENTRIES) >= 150
    assert {entry["kernel"] for entry in ENTRIES} >= {"stock", "debian"}
    sizes = [(corpus.FOLDER / f"{entry['console']}.log.xz").stat().st_size for entry in ENTRIES]
    assert max(sizes) <= corpus.MOST_BYTES
    assert sum(sizes) <= MOST_ALL_BYTES
    files = {path.name.removesuffix(".log.xz") for path in corpus.FOLDER.glob("*.log.xz")}
    assert files == {entry["console"] for entry in ENTRIES}


def test_every_console_has_a_recipe() -> None:
    """Whoever has the kernels can make it again."""
    assert {entry["console"] for entry in ENTRIES} <= {recipe.name for recipe in recipes()}


# Kinds of which no guest printed a report: each with the reason.
UNSEEN = {
    "hard-lockup": "its detector needs a PMU, which QEMU's TCG does not emulate",
    "kfence": "of Debian's options and ours none turns it on",
    "kmsan": "needs clang",
    "kcsan": "needs a kernel of its own",
    "tcp-memory": "no deed of the corpus fills TCP's memory",
    "kasan": "needs a kernel of its own, which was not built for the corpus yet",
    "ubsan": "the same",
    "locking": "the same: LOCKDEP",
    "complaint": "the same: DEBUG_ATOMIC_SLEEP",
    "swap-error": "no deed of the corpus makes swap fail; seen in a cell whose TCP gave up",
    "tx-timeout": "no emulated card of ours stops its queue",
}


def test_every_kind_was_seen_but_those_with_a_reason() -> None:
    seen = {must["kind"] for entry in ENTRIES for must in entry["must"]}
    assert set(KINDS) - seen == set(UNSEEN)
