"""The golden corpus: what real guests printed shows what was done to them, and nothing else."""

from __future__ import annotations

import pytest

from testbed.consoles import KINDS, Reader, read
from tests.consoles import corpus, expectation
from tests.consoles.recipes import recipes

ENTRIES = corpus.entries()
MOST_ALL_BYTES = 3 << 20


def test_a_console_shows_what_was_done() -> None:
    found = {entry["console"]: expectation.shortfalls(entry, corpus.console(entry)) for entry in ENTRIES}
    assert {name: short for name, short in found.items() if short} == {}


@pytest.mark.parametrize("name", ["stock-oops-null", "debian-soft-lockup", "stock-clean"])
def test_a_console_does_not_show_what_was_done_to_another(name: str) -> None:
    """The comparison itself can fail: on facts, on kinds, on the cause, on the count."""
    known = {entry["console"]: entry for entry in ENTRIES}
    others = [one for one in ENTRIES if one["cause"] != known[name]["cause"] and "pulse_s" not in one]
    for other in others[::5]:
        assert expectation.shortfalls(other, corpus.console(known[name]))
    for must in known[name]["must"]:
        for changed in ({"pid": 1}, {"function": "other"}, {"count": 7}):
            entry = {**known[name], "must": [{**must, **changed}]}
            assert expectation.shortfalls(entry, corpus.console(known[name]))


@pytest.mark.parametrize(("size", "step"), [(1, 61), (7, 13), (1000, 5)])
def test_pieces_of_any_size_give_the_same(size: int, step: int) -> None:
    for entry in ENTRIES[::step]:
        console = corpus.console(entry)
        reader = Reader()
        found = []
        for start in range(0, len(console), size):
            found += reader.feed(console[start : start + size])
        found += reader.end()
        whole = read(console)
        assert sorted(found, key=lambda report: report.offset) == list(whole.reports), entry["console"]
        assert reader.kernel_lines == whole.kernel_lines, entry["console"]


def test_a_line_stands_where_its_report_says() -> None:
    for entry in ENTRIES[::11]:
        console = corpus.console(entry)
        lines = console.split(b"\n")
        for report in read(console).reports:
            where = f"{entry['console']}:{report.number}"
            assert console[report.offset : report.offset + 1] == b"[", where
            assert console.count(b"\n", 0, report.offset) == report.number - 1, where
            assert report.text[15:40].encode("ascii", "ignore")[:10] in lines[report.number - 1], where


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
    "swap-again": "takes memory that runs out under swap over NFS: cells of S1 have shown it",
    "tx-timeout": "no emulated card of ours stops its queue",
}


def test_every_kind_was_seen_but_those_with_a_reason() -> None:
    seen = {must["kind"] for entry in ENTRIES for must in entry["must"]}
    assert set(KINDS) - seen == set(UNSEEN)
