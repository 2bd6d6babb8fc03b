"""Owns the collecting of nodes and edges, and what the host saw between two looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from testbed.snapshot import Request, Snapshot, Task
from testbed.waitfor.graph import Edge, Graph, Kind, Node


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a NIC's ring between two looks; None: its driver does not say.

    `accepted`: frames that the driver took in; `filled`: descriptors that got a buffer, less those used;
    `refused`: refills that failed.
    """

    accepted: int | None = None
    filled: int | None = None
    refused: int | None = None


@dataclass(frozen=True, slots=True)
class Outside:
    """What the host saw between two looks; None: it was not seen.

    `answers`: frames of the swap connection from the server that the NIC was offered. `nics`: by name.
    `free`: samples of free pages.
    `mute`: connections that could send nothing again, and how often their timer fired (requests.py).
    `server_quiet_s`: how long, at the second look, the server had sent nothing on the swap connection.
    `dropped`: connections whose replies were dropped behind the NIC, and how many (limits.py).
    """

    answers: int | None = None
    retransmission_passed: bool | None = None
    nics: Mapping[str, Taken] = field(default_factory=dict)
    free: tuple[int, ...] = ()
    mute: Mapping[int, int] = field(default_factory=dict)
    server_quiet_s: float | None = None
    dropped: Mapping[int, int] = field(default_factory=dict)


@dataclass
class Builder:
    """Collects nodes and edges; the same node may be added again, an edge needs both its ends."""

    snapshot: Snapshot
    outside: Outside
    _nodes: dict[str, Node] = field(default_factory=dict)
    _edges: list[Edge] = field(default_factory=list)
    _sources: set[str] = field(default_factory=set)

    def node(self, kind: Kind, name: str, words: str, **more: object) -> str:
        node_id = f"{kind}:{name}"[:80]
        if node_id not in self._nodes:
            self._nodes[node_id] = Node.model_validate(
                {"id": node_id, "kind": kind, "words": words[:300], **more}
            )
        return node_id

    def edge(self, source: str, target: str, verb: str, how: str, evidence: str) -> None:
        self._sources.add(source)
        self._edges.append(
            Edge.model_validate(
                {
                    "source": source,
                    "target": target,
                    "verb": verb[:120],
                    "how": how,
                    "evidence": evidence[:400],
                }
            )
        )

    def has_edges(self, source: str) -> bool:
        """Whether what this node waits for was told already."""
        return source in self._sources

    def ends(self, source: str, name: str, words: str, verb: str, how: str, evidence: str, ends: str) -> None:
        """An edge to where the knowledge, or the waiting, ends."""
        self.edge(source, self.node("end", name, words, ends=ends), verb, how, evidence)

    def graph(self) -> Graph:
        return Graph(nodes=tuple(self._nodes.values()), edges=tuple(self._edges))


def request_id(request: Request) -> str:
    """The sector tells a tag that was given to another request since the last look."""
    return f"request:{request.device}/{request.tag}@{request.sector}"


def request_node(builder: Builder, request: Request) -> str:
    kib = f" of {request.size_bytes >> 10} KiB" if request.size_bytes else ""
    age = f", {request.age_ms / 1000:.0f} s old" if request.age_ms is not None else ""
    words = f"request {request.tag} of {request.device} ({request.operation}{kib}{age})"
    return builder.node("request", request_id(request).partition(":")[2], words)


def task_node(builder: Builder, task: Task) -> str:
    return builder.node("task", f"{task.pid}", f"{task.comm} (pid {task.pid})")
