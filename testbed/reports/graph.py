"""Owns how a wait-for graph is shown: drawn, observed or inferred, the cycle marked; and listed.

The layout is graphviz's. What a guest wrote (names of tasks) goes in quoted and comes out as SVG text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from markupsafe import Markup

from testbed import proc
from testbed.errors import TestbedError
from testbed.waitfor import Edge, Examination, Graph, Node
from testbed.waitfor.graph import reachable

DRAW_S = 20.0
MOST_ARROWS = 120
MOST_EDGES = 1000
MOST_ENDS = 20
CYCLE, PLAIN, SOFT = "#b3261e", "#3c4043", "#80868b"
SHAPES = {"task": "box", "request": "box", "memory": "ellipse", "reclaim": "ellipse", "end": "plaintext"}
ROUNDS = 4
LINE = 26
"""Letters a line in a node."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """The graph as an SVG element, and how many arrows found no room in it."""

    svg: Markup
    left_out: int


@dataclass(frozen=True, slots=True)
class Listed:
    """Rows of a table, and how many found no room in it."""

    rows: tuple[tuple[str, ...], ...]
    left_out: int


def draw(found: Examination) -> Drawn | None:
    """None if there is nothing to draw, or nothing to draw it with."""
    graph = condensed(found.graph, frozenset(found.cycle))
    arrows = ordered(graph, found.cycle)
    if not arrows:
        return None
    shown = arrows[:MOST_ARROWS]
    try:
        dot = _dot(graph, found.cycle, shown)
        drawn = proc.run(["dot", "-Tsvg"], timeout_s=DRAW_S, stdin=dot.encode()).stdout
    except TestbedError:
        return None
    svg = re.search(r"<svg\b.*</svg>", drawn, re.DOTALL)
    # graphviz has escaped every text in it
    return Drawn(Markup(svg.group()), len(arrows) - len(shown)) if svg else None


def ordered(graph: Graph, cycle: tuple[str, ...]) -> tuple[Edge, ...]:
    """The edges of the cycle as it goes, then those of what it waits for, then the others.

    A proof rests on the cycle and on all that it waits for: what finds no room is to be something else.
    Of others alike the observed come first.
    """
    steps = {pair: number for number, pair in enumerate(_steps(cycle))}
    knot = reachable(graph, cycle)

    def rank(edge: Edge) -> tuple[int, bool, bool]:
        step = steps.get((edge.source, edge.target), len(steps))
        return step, edge.source not in knot, edge.how != "observed"

    return tuple(sorted(graph.edges, key=rank))


def _steps(cycle: tuple[str, ...]) -> list[tuple[str, str]]:
    return list(zip(cycle, (*cycle[1:], *cycle[:1]), strict=True))


def _dot(graph: Graph, cycle: tuple[str, ...], arrows: tuple[Edge, ...]) -> str:
    shown = {end for arrow in arrows for end in (arrow.source, arrow.target)}
    lines = [
        "digraph waits {",
        'graph [rankdir=TB, bgcolor="transparent", nodesep=0.25, ranksep=0.35]',
        'node [fontname="sans-serif", fontsize=10, margin="0.1,0.05"]',
        'edge [fontname="sans-serif", fontsize=8]',
    ]
    for node in graph.nodes:
        if node.id not in shown:
            continue
        color = CYCLE if node.id in cycle else SOFT if node.ends else PLAIN
        shape = SHAPES.get(node.kind, "box")
        words = _quoted(_wrapped(node.words))
        lines.append(f"{_quoted(node.id)} [label={words}, shape={shape}, color={_quoted(color)}]")
    steps = _steps(cycle)
    lines += [_arrow(arrow, (arrow.source, arrow.target) in steps) for arrow in arrows]
    return "\n".join([*lines, "}"])


def condensed(graph: Graph, apart: frozenset[str]) -> Graph:
    """The same with alike nodes drawn as one: of one kind, waiting for the same; those in `apart` stay."""
    for _ in range(ROUNDS):
        waits = graph.successors()
        groups: dict[tuple[object, ...], list[Node]] = {}
        for node in graph.nodes:
            own = node.id if node.id in apart else ""
            groups.setdefault((own, node.kind, node.ends, waits[node.id]), []).append(node)
        into = {node.id: alike[0].id for alike in groups.values() for node in alike}
        nodes = tuple(_one_of(alike) for alike in groups.values())
        edges = {(into[e.source], into[e.target]): e for e in graph.edges}
        moved = tuple(
            edge.model_copy(update={"source": source, "target": target})
            for (source, target), edge in edges.items()
        )
        if len(nodes) == len(graph.nodes):
            return graph
        graph = Graph(nodes=nodes, edges=moved)
    return graph


def _one_of(alike: list[Node]) -> Node:
    if len(alike) == 1:
        return alike[0]
    words = f"{alike[0].words} and {len(alike) - 1} more {alike[0].kind}s alike"
    return alike[0].model_copy(update={"words": words[:300]})


def _arrow(edge: Edge, marked: bool) -> str:
    style = "solid" if edge.how == "observed" else "dashed"
    color = CYCLE if marked else SOFT
    width = 2 if marked else 1
    looks = f'style={style}, color="{color}", fontcolor="{color}", penwidth={width}'
    ends = f"{_quoted(edge.source)} -> {_quoted(edge.target)}"
    return f"{ends} [label={_quoted(_wrapped(edge.verb))}, {looks}]"


def _quoted(text: str) -> str:
    """A quoted string of DOT: only a quote and a backslash mean something in it."""
    clean = "".join(char if char.isprintable() or char == "\n" else "?" for char in text)
    escaped = clean.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _wrapped(text: str) -> str:
    lines, line = [], ""
    for word in text.split(" "):
        if line and len(line) + len(word) >= LINE:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
    return "\n".join([*lines, line])


def edges(found: Examination) -> Listed:
    """Every edge: who, waits, for what, how it is known, and the evidence."""
    words = {node.id: node.words for node in found.graph.nodes}
    rows = tuple(
        (words[edge.source], edge.verb, words[edge.target], edge.how, edge.evidence)
        for edge in ordered(found.graph, found.cycle)
    )
    return Listed(rows[:MOST_EDGES], len(rows[MOST_EDGES:]))


def ends(found: Examination) -> Listed:
    """What the requests hang on that is not stuck: first what moves by itself, then what only may."""
    rows = (*(("waits for", told) for told in found.awaited), *(("chance", told) for told in found.chances))
    return Listed(rows[:MOST_ENDS], len(rows[MOST_ENDS:]))
