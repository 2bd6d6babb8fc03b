"""Summaries: small, true to their folder, and free of the paths of whoever made them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from histories import Story, kernel_line, write_result

from testbed import store
from testbed.campaign.export import copy_evidence, summary_of, write_summary
from testbed.campaign.play import judge_folder
from testbed.errors import UsageError
from testbed.judge.values import read_verdict, write_verdict
from testbed.snapshot import Snapshot

SURROUNDINGS = {
    "command": "testbed run flood --into /srv/somebody/results --kernel stock",
    "commit": "abc1234",
    "wall_clock": "2026-01-02T03:04:05Z",
    "hypervisor": "libvirt 9.0.0, QEMU 7.2.22",
    "accelerator": {"kind": "tcg", "why": "qemu: /dev/kvm: no"},
    "host": {"cores": 2, "kernel": "6.1.0", "load": [0.1, 0.2, 0.3]},
    "kernels": {"under-test": {"digest": "4f", "release": "6.1.192", "confounders": []}},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    story = Story(consoles={"A": kernel_line(3.5, "swapper/0: page allocation failure: order:0")})
    made = write_result(tmp_path / "flood-short-stock-r1-0123abcd", story)
    store.write_json(made / store.ENVIRONMENT, SURROUNDINGS)
    judge_folder(made)
    return made


def test_a_summary_says_what_the_verdict_says(folder: Path) -> None:
    summary, verdict = summary_of(folder), read_verdict(folder)
    assert summary["verdict"]["outcome"] == verdict.outcome == "recovered"
    assert summary["verdict"]["time_to_recover_s"] == verdict.time_to_recover_s
    assert [one["met"] for one in summary["verdict"]["preconditions"]] == [True, True, True]
    assert summary["labels"]["kernel"] == "stock"
    assert summary["surroundings"]["cores"] == 2
    assert len(summary["verdict"]["findings"]) == len(verdict.findings)


def test_times_count_from_the_timeline(folder: Path) -> None:
    events = summary_of(folder)["events"]
    assert [event["at_s"] for event in events if event["what"] == "timeline.begin"] == [0.0]
    assert next(event for event in events if event["what"] == "fault.applied")["name"] == "cut"


def test_no_raw_history_no_console_no_path(folder: Path) -> None:
    text = json.dumps(summary_of(folder))
    assert len(text) < 16 << 10
    assert '"kind": "sample"' not in text
    findings = json.loads(text)["verdict"]["findings"]
    assert sum(finding["console_lines"] for finding in findings) == 1
    assert not any("lines" in finding for finding in findings)
    assert "/srv/" not in text and str(folder.parent) not in text
    assert "testbed run flood --into results --kernel stock" in text


def test_paths_in_a_fault_of_the_testbed_are_cut(folder: Path) -> None:
    broken = read_verdict(folder)
    message = "/srv/somebody/history.jsonl: cannot write: no space"
    write_verdict(folder, broken.model_copy(update={"testbed_fault": message, "reason": message}))
    verdict = summary_of(folder)["verdict"]
    assert verdict["testbed_fault"] == verdict["reason"] == "history.jsonl: cannot write: no space"


def test_counters_are_of_the_last_look_and_of_the_kernels_own_sets(folder: Path) -> None:
    assert summary_of(folder)["counters"] is None
    plan = json.loads((folder / store.PLAN).read_text())
    for kernel in plan["kernels"].values():
        kernel["spec"]["sets"] = ["complete-rx"]
    store.write_json(folder / store.PLAN, plan)
    for number, heads in ((1, 3), (2, 175)):
        counters = {"complete-rx/heads_from_reserve": heads, "bdi/other": 9}
        store.write_snapshot(folder, Snapshot(number=number, taken_ns=number, paused_ms=1, counters=counters))
    assert summary_of(folder)["counters"] == {"complete-rx/heads_from_reserve": 175}


def test_hashes_tell_the_evidence_apart(folder: Path) -> None:
    before = summary_of(folder)["sha256"]
    assert set(before) == {"plan.json", "history.jsonl", "console-A.log"}
    with (folder / store.HISTORY).open("a") as file:
        file.write("damage\n")
    after = summary_of(folder)["sha256"]
    assert [name for name in before if before[name] != after[name]] == ["history.jsonl"]


def test_it_is_written_under_the_name_of_its_folder(folder: Path, tmp_path: Path) -> None:
    path = write_summary(folder, tmp_path / "summaries")
    assert path.name == "flood-short-stock-r1-0123abcd.json"
    assert json.loads(path.read_text()) == summary_of(folder)


def test_copied_evidence_is_judged_alike(folder: Path, tmp_path: Path) -> None:
    (folder / "console-A.log").chmod(0o600)
    copy = copy_evidence(folder, tmp_path / "corpus")
    verdict = read_verdict(copy)
    assert judge_folder(copy) == verdict == read_verdict(folder)
    assert not (copy / store.ENVIRONMENT).exists()
    assert copy_evidence(folder, tmp_path / "corpus") == copy


def test_without_surroundings_a_summary_is_still_one(folder: Path) -> None:
    (folder / store.ENVIRONMENT).write_text("[]")
    assert summary_of(folder)["surroundings"]["accelerator"] == "tcg"


def test_what_was_not_judged_is_refused(tmp_path: Path) -> None:
    made = write_result(tmp_path / "cell", replace(Story(), recover_s=None))
    with pytest.raises(UsageError, match="not judged"):
        summary_of(made)
    with pytest.raises(UsageError, match="no such file"):
        summary_of(tmp_path)
