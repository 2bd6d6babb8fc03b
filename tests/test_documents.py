"""What the documents list is what there is: figures of cells, faults, decisions."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from testbed import paths, plugins
from testbed.faults import Fault

DOCS = paths.PROJECT / "docs"
PATCHES = paths.PROJECT / "kernel-patches"
SUMMARIES = paths.PROJECT / "results" / "summaries"


def rows(document: str, starting: str) -> list[list[str]]:
    """The cells of a document's table rows that begin so."""
    lines = (DOCS / document).read_text().splitlines()
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith(starting)
    ]


# --- results.md

FOLDERS = {"short form": SUMMARIES, "alone on the machine": SUMMARIES / "flood"}
"""How a row of the short form begins, and where its cells are."""
SHORT = [
    (row, folder)
    for row in rows("results.md", "| `")
    for beginning, folder in FOLDERS.items()
    if row[1].startswith(beginning)
]


@pytest.mark.parametrize(("row", "folder"), SHORT, ids=lambda part: part[0] if isinstance(part, list) else "")
def test_the_short_forms_figures_are_those_of_the_files(row: list[str], folder: Path) -> None:
    place = {"playbook": "flood", "form": "short", "variant": "", "transport": "nbd", "nic": "e1000e"}
    cells = [json.loads(path.read_text()) for path in folder.glob("flood-short-*.json")]
    labels = place | {"kernel": row[0].strip("`")}
    outcomes = Counter(
        cell["verdict"]["outcome"] for cell in cells if labels.items() <= cell["labels"].items()
    )
    told = re.findall(r"\*{0,2}([a-z-]+)\*{0,2} (\d+) of (\d+)", row[2])
    assert {name: int(count) for name, count, _ in told} == outcomes
    assert {int(of) for _, _, of in told} == {outcomes.total()}


def test_the_short_form_was_played_on_the_four() -> None:
    assert {row[0] for row, _ in SHORT} == {"`vanilla-2007`", "`stock`", "`complete-rx`", "`debian`"}
    assert len(SHORT) == 7


# --- architecture.md


def test_every_decision_is_listed_with_its_page() -> None:
    text = (DOCS / "architecture.md").read_text().partition("\n## Decisions\n")[2]
    listed = re.findall(r"^- \[(\d{4})\]\(decisions/(\S+)\) \w", text, re.MULTILINE)
    pages = sorted(path.name for path in (DOCS / "decisions").glob("*.md"))
    assert [page for _, page in listed] == pages
    assert [number for number, _ in listed] == [page[:4] for page in pages]


# --- kernel-patches/README.md


def test_every_patch_set_is_in_the_list_of_them() -> None:
    sets = {path.parent.name for path in PATCHES.glob("*/set.toml")}
    told = {row[0].strip("`") for row in rows("../kernel-patches/README.md", "| `")}
    assert sets <= told


# --- remote.md


def test_of_every_fault_it_is_said_whether_it_works_by_uri() -> None:
    told = [name for row in rows("remote.md", "| fault") for name in re.findall(r"`([a-z-]+)`", row[0])]
    assert sorted(told) == sorted(plugins.collect("testbed.faults", Fault))


def test_the_faults_that_are_told_to_be_tried_by_uri_are() -> None:
    tried = [row for row in rows("remote.md", "| fault") if row[1].endswith(", tried")]
    names = {name for row in tried for name in re.findall(r"`([a-z-]+)`", row[0])}
    test = (paths.PROJECT / "tests" / "namespace" / "test_remote.py").read_text()
    assert names == {name.lower() for name in re.findall(r"(\w+)\(machine=", test)}
