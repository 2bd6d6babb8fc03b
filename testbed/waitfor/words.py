"""Owns the sentence: a cycle told in one, edge by edge, as a reader would say it."""

from __future__ import annotations

from testbed.waitfor.graph import Graph

MOST_STEPS = 12


def chain(graph: Graph, nodes: tuple[str, ...]) -> str:
    """`kswapd0 waits for X, X needs Y, and Y waits for kswapd0 again.` Empty for no cycle."""
    if not nodes:
        return ""
    words = {node.id: node.words for node in graph.nodes}
    steps = []
    for source, target in zip(nodes, (*nodes[1:], nodes[0]), strict=True):
        steps.append(f"{graph.edge(source, target).verb} {words[target]}")
    told = steps[:MOST_STEPS]
    text = f"{words[nodes[0]]} " + ", which ".join(told)
    if len(steps) > MOST_STEPS:
        return f"{text}, and so on over {len(steps) - MOST_STEPS} more steps, back to where it began."
    return f"{text[:1].upper()}{text[1:]} again: a closed cycle."
