"""Owns the drawing of a wait-for graph: its edges as lines, observed or inferred, the cycle marked.

The layout is graphviz's. What a guest wrote (names of tasks) goes in quoted and comes out as SVG text.
"""

from __future__ import annotations

import re

from markupsafe import Markup

from testbed import proc
from testbed.errors import TestbedError
from testbed.waitfor import Edge, Examination, Graph, Node

DRAW_S = 20.0
MOST_EDGES = 120
CYCLE, PLAIN, SOFT = "#b3261e", "#3c4043", "#80868b"
SHAPES = {"task": "box", "request": "box", "memory": "ellipse", "reclaim": "ellipse", "end": "plaintext"}
ROUNDS = 4
LINE = 26
"""Letters a line in a node."""


def draw(found: Examination) -> Markup | None:
    """The graph as an SVG element; None if there is nothing to draw, or nothing to draw it with."""
    if not found.graph.edges:
        return None
    try:
        drawn = proc.run(["dot", "-Tsvg"], timeout_s=DRAW_S, stdin=_dot(found).encode()).stdout
    except TestbedError:
        return None
    svg = re.search(r"<svg\b.*</svg>", drawn, re.DOTALL)
    return Markup(svg.group()) if svg else None  # graphviz has escaped every text in it


def _dot(found: Examination) -> str:
    found = found.model_copy(update={"graph": condensed(found.graph, frozenset(found.cycle))})
    on_cycle = set(zip(found.cycle, (*found.cycle[1:], *found.cycle[:1]), strict=True))
    lines = [
        "digraph waits {",
        'graph [rankdir=TB, bgcolor="transparent", nodesep=0.25, ranksep=0.35]',
        'node [fontname="sans-serif", fontsize=10, margin="0.1,0.05"]',
        'edge [fontname="sans-serif", fontsize=8]',
    ]
    for node in found.graph.nodes:
        color = CYCLE if node.id in found.cycle else SOFT if node.ends else PLAIN
        shape = SHAPES.get(node.kind, "box")
        words = _quoted(_wrapped(node.words))
        lines.append(f"{_quoted(node.id)} [label={words}, shape={shape}, color={_quoted(color)}]")
    lines += [_edge(edge, (edge.source, edge.target) in on_cycle) for edge in found.graph.edges[:MOST_EDGES]]
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


def _edge(edge: Edge, marked: bool) -> str:
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


def relevant(graph: Graph) -> tuple[tuple[str, Edge, str], ...]:
    """Every edge with the words of its ends, those that were observed first."""
    words = {node.id: node.words for node in graph.nodes}
    ordered = sorted(graph.edges, key=lambda edge: edge.how != "observed")
    return tuple((words[edge.source], edge, words[edge.target]) for edge in ordered[:MOST_EDGES])
