"""How a report shows who waits for whom: the cycle before all else, nothing left out in silence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from histories import Story, write_result

from testbed import store
from testbed.judge import judge
from testbed.judge.values import write_verdict
from testbed.reports import graph, html
from testbed.waitfor import Edge, Examination, Graph, Node

HOSTILE = "<script>alert(1)</script>"
CYCLE = ("request:1", "memory", "task:28")
STEPS = (("request:1", "memory"), ("memory", "task:28"), ("task:28", "request:1"))


def edge(source: str, target: str, how: str = "observed") -> Edge:
    told = {"source": source, "target": target, "verb": "waits for", "how": how, "evidence": HOSTILE}
    return Edge.model_validate(told)


def found(others: int, **more: tuple[str, ...]) -> Examination:
    """A cycle whose edges are inferred and come last, reclaim that its memory waits for, and many others."""
    beside = [edge(f"task:{1000 + at}", f"task:{1001 + at}") for at in range(others)]  # none like another
    hangs = [edge("memory", "reclaim", "inferred")]
    edges = (*beside, *hangs, *(edge(*step, "inferred") for step in reversed(STEPS)))
    names = dict.fromkeys(name for one in edges for name in (one.source, one.target))
    kinds = {name: name.partition(":")[0] for name in names}
    nodes = tuple(Node.model_validate({"id": name, "kind": kinds[name], "words": name}) for name in names)
    shown = Graph(nodes=nodes, edges=edges)
    return Examination(proves="deadlocked", sentence="It hangs.", cycle=CYCLE, graph=shown, **more)


def page(folder: Path, examination: Examination) -> str:
    write_result(folder, Story())
    verdict = judge(store.read_evidence(folder))
    write_verdict(folder, verdict.model_copy(update={"examination": examination}))
    return html.render_cell(folder)


def test_the_edges_of_the_cycle_come_first_then_those_of_what_it_waits_for() -> None:
    listed = graph.edges(found(graph.MOST_EDGES))
    steps = [(row[0], row[2]) for row in listed.rows[:4]]
    assert steps == [*STEPS, ("memory", "reclaim")]
    assert len(listed.rows) == graph.MOST_EDGES and listed.left_out == 4


def test_a_page_says_how_many_edges_it_leaves_out(tmp_path: Path) -> None:
    every = graph.MOST_EDGES + 5
    some = page(tmp_path / "some", found(every - 4))
    assert f"{graph.MOST_EDGES} of {every} edges with their evidence; 5 are left out" in some
    assert "Every edge with its evidence (6)" in page(tmp_path / "all", found(2))


@pytest.mark.programs
def test_a_drawing_has_the_cycle_whatever_else_finds_no_room(tmp_path: Path) -> None:
    told = page(tmp_path / "r", found(graph.MOST_ARROWS))
    drawn = re.findall(r"<title>([^<]*)</title>", told)
    arrows = {title.replace("&#45;&gt;", ">") for title in drawn if "&gt;" in title}
    assert {f"{source}>{target}" for source, target in STEPS} <= arrows
    assert len(arrows) == graph.MOST_ARROWS and "4 more arrows found no room" in told
    assert f"task:{1000 + graph.MOST_ARROWS}" not in drawn  # nor who has lost all its arrows


def test_what_is_awaited_and_what_is_a_chance_are_shown_escaped(tmp_path: Path) -> None:
    told = page(tmp_path / "r", found(2, awaited=(f"the server {HOSTILE}",), chances=("free pages",)))
    escaped = HOSTILE.replace("<", "&lt;").replace(">", "&gt;")
    rows = [
        f'<th scope="row" class="tight">{which}</th><td>{what}</td>'
        for which, what in (("waits for", f"the server {escaped}"), ("chance", "free pages"))
    ]
    assert told.index(rows[0]) < told.index(rows[1])
    assert "<script" not in told


def test_many_chances_are_cut_and_counted(tmp_path: Path) -> None:
    many = tuple(f"chance {at}" for at in range(graph.MOST_ENDS + 3))
    told = page(tmp_path / "r", found(2, chances=many))
    assert "3 more are left out" in told and f"chance {graph.MOST_ENDS}" not in told


def test_without_a_look_nothing_is_told_of_waiting(tmp_path: Path) -> None:
    write_result(tmp_path / "r", Story())
    write_verdict(tmp_path / "r", judge(store.read_evidence(tmp_path / "r")))
    assert "Who waits for whom" not in html.render_cell(tmp_path / "r")
