"""Owns the wait-for graph: nodes, edges with their evidence, what in it can move, and its cycle.

A node that needs all it waits for stands as long as one of them stands (a request needs its answer).
A node that needs any of them stands only while all of them stand (free memory may come from several).
So a cycle alone proves nothing: a node is *stuck* only in the greatest set of nodes in which each
waits within the set in that sense (a knot of Holt's, 1972, for resources with alternatives).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from pydantic import Field

from testbed.model import Value

Kind = Literal["task", "folio", "request", "socket", "buffers", "memory", "reclaim", "queue", "lock", "end"]
Ends = Literal["sure", "chance", "never"]
"""What a node that waits for nothing here will come to: it moves, it may move, it will not move."""


class Node(Value):
    """`words` name it in a sentence. `ends` is set on a node that waits for nothing we know of."""

    id: Annotated[str, Field(max_length=80)]
    kind: Kind
    words: Annotated[str, Field(max_length=300)]
    needs: Literal["all", "any"] = "all"
    ends: Ends | None = None


class Edge(Value):
    """`source` waits for `target`. *Observed*: by a pointer or field; *inferred*: by a rule and counters."""

    source: str
    target: str
    verb: Annotated[str, Field(max_length=120)]
    how: Literal["observed", "inferred"]
    evidence: Annotated[str, Field(max_length=400)]


class Graph(Value):
    """Nodes by id and the edges between them; an edge to a node that is not there is refused."""

    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()

    @property
    def by_id(self) -> dict[str, Node]:
        return {node.id: node for node in self.nodes}

    def successors(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, list[str]] = {node.id: [] for node in self.nodes}
        for edge in self.edges:
            found[edge.source].append(edge.target)
        return {source: tuple(dict.fromkeys(targets)) for source, targets in found.items()}

    def edge(self, source: str, target: str) -> Edge:
        """The edge between two nodes; the observed one if there are several."""
        between = [edge for edge in self.edges if (edge.source, edge.target) == (source, target)]
        return min(between, key=lambda edge: edge.how != "observed")


def stuck(graph: Graph, *, chance_moves: bool = True) -> frozenset[str]:
    """The nodes that nothing can set moving, as far as the graph knows.

    With `chance_moves` off, what only may move is taken to stand: who is stuck then, but not
    otherwise, hangs on a chance.
    """
    nodes, waits = graph.by_id, graph.successors()
    moving = {"sure", "chance"} if chance_moves else {"sure"}
    stands = {node.id for node in graph.nodes if node.ends not in moving}
    changed = True
    while changed:
        changed = False
        for name in tuple(stands):
            if _moves(nodes[name], waits[name], stands):
                stands.discard(name)
                changed = True
    return frozenset(stands)


def _moves(node: Node, waits: tuple[str, ...], stands: set[str]) -> bool:
    if node.ends is not None:
        return node.ends != "never" and node.id not in stands
    if not waits:
        return True  # it waits for nothing that is known here: it can not be said to stand
    standing = [target in stands for target in waits]
    return not any(standing) if node.needs == "all" else not all(standing)


def cycle(graph: Graph, within: frozenset[str], start: Iterable[str]) -> tuple[str, ...]:
    """The shortest cycle inside `within` through one of `start`, in order; empty if there is none."""
    waits = graph.successors()
    best: tuple[str, ...] = ()
    for name in start:
        if name in within:
            found = _back_to(name, waits, within)
            if found and (not best or len(found) < len(best)):
                best = found
    return best


def _back_to(start: str, waits: Mapping[str, tuple[str, ...]], within: frozenset[str]) -> tuple[str, ...]:
    before: dict[str, str] = {}
    queue = deque([start])
    while queue:
        name = queue.popleft()
        for target in waits[name]:
            if target == start:
                path = [name]
                while path[-1] != start:
                    path.append(before[path[-1]])
                return tuple(reversed(path))
            if target in within and target not in before:
                before[target] = name
                queue.append(target)
    return ()


def reachable(graph: Graph, start: Iterable[str]) -> frozenset[str]:
    """All that the named nodes wait for, directly or not, themselves included."""
    waits = graph.successors()
    seen = set(start) & set(waits)
    queue = deque(seen)
    while queue:
        for target in waits[queue.popleft()]:
            if target not in seen:
                seen.add(target)
                queue.append(target)
    return frozenset(seen)


def common(first: Graph, second: Graph) -> Graph:
    """What both graphs hold: nodes and edges of the second that were in the first as well.

    What a node that needs any of several could turn to in either look, and that was not stuck in it, stays:
    who saw a way out once does not prove that there is none. Nodes that end are as the second has them.
    """
    ways = _ways_out(first) | _ways_out(second)
    nodes = {node.id: node for node in first.nodes} | {node.id: node for node in second.nodes}
    both = {node.id for node in first.nodes} & {node.id for node in second.nodes}
    kept = both | {end for source, end in ways if source in both}
    edges = {(edge.source, edge.target) for edge in first.edges}
    stand = [e for e in second.edges if (e.source, e.target) in edges or (e.source, e.target) in ways]
    stood = {(edge.source, edge.target) for edge in stand}
    gone = [e for e in first.edges if (e.source, e.target) in ways - stood]
    return Graph(
        nodes=tuple(node for name, node in nodes.items() if name in kept),
        edges=tuple(edge for edge in (*stand, *gone) if edge.source in kept and edge.target in kept),
    )


def _ways_out(graph: Graph) -> set[tuple[str, str]]:
    """Edges from a node that needs any of several to one that moves, or may."""
    nodes, stands = graph.by_id, stuck(graph)
    return {
        (edge.source, edge.target)
        for edge in graph.edges
        if nodes[edge.source].needs == "any" and edge.target not in stands
    }
