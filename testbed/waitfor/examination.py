"""Owns what two looks into a wedged guest prove: a deadlock, a chance on which all hangs, or neither."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from testbed.history import History
from testbed.model import Judging, Value
from testbed.snapshot import Nic, Request, Snapshot, Socket
from testbed.waitfor.builder import Outside, Taken, request_id
from testbed.waitfor.building import build
from testbed.waitfor.graph import Graph, common, cycle, reachable, stuck
from testbed.waitfor.limits import dropped_at_the_limit
from testbed.waitfor.requests import LEAST_ANSWERS, replaced_by, tried_in_vain
from testbed.waitfor.words import chain

SAMPLERS = ("blocksampler", "vmsampler")
"""Sources of the history (testbed/guest) whose numbers are of disks, RPC and memory."""

Proves = Literal["deadlocked", "starved", "open"]


class Condition(Value):
    """Something that must hold for a proof."""

    name: str
    met: bool
    statement: str


class Examination(Value):
    """What a pair of snapshots shows.

    `sentence` names the cycle, the chances or what is waited for, made of this pair's own edges.
    `cycle` are node ids of `graph`, in order; `graph` is what both looks have in common, as far as the
    requests hang on it. `lock_cycle` is one of tasks and locks alone, no matter of memory: a proof only if
    all work that counts hangs on it.
    """

    proves: Proves
    sentence: str
    conditions: tuple[Condition, ...] = ()
    cycle: tuple[str, ...] = ()
    chances: tuple[str, ...] = ()
    awaited: tuple[str, ...] = ()
    lock_cycle: tuple[str, ...] = ()
    graph: Graph = Graph()
    first: int = 0
    second: int = 0


def examine(first: Snapshot, second: Snapshot, history: History, rules: Judging) -> Examination:
    """Holds two snapshots, and what the host saw between them, against each other."""
    devices = frozenset(rules.devices)
    outside = seen_between(first, second, history, rules)
    graph = common(build(first, outside), build(second, outside))
    nodes = graph.by_id
    targets = [name for one in _of(devices, second) if (name := request_id(one)) in nodes]
    conditions = _conditions(
        outside,
        len(targets),
        _ended(_of(devices, first), _of(devices, second)),
        (*first.missing, *second.missing),
        history.rises(rules.progress, first.taken_ns, second.taken_ns),
        mute=_all_mute(outside, _carriers(devices, second)),
        served=_served(first, second, history, rules),
        local=rules.server == rules.subject,
        between=bool(devices)
        and all(map(replaced_by, devices))
        and not any(_carriers(devices, each) for each in (first, second)),
    )
    stands = stuck(graph)
    turns = _turns(graph, targets)
    found = cycle(graph, stands, turns)
    hangs = stuck(graph, chance_moves=False)
    all_stuck = bool(targets) and all(target in stands for target in targets)
    ends = [nodes[name] for name in sorted(reachable(graph, targets))]
    chances = tuple(_told(graph, node.id) for node in ends if node.ends == "chance")
    awaited = tuple(_told(graph, node.id) for node in ends if node.ends == "sure" and node.id not in hangs)
    lock_cycle = _lock_cycle(graph)
    proves: Proves = "open"
    if all(condition.met for condition in conditions):
        if all_stuck and found:
            proves = "deadlocked"
        elif targets and all(target in hangs for target in targets):
            proves = "starved"
    workers = _workers(graph, second, history, rules)
    if proves != "deadlocked" and _hangs_on_locks(graph, workers, stands, lock_cycle, conditions):
        proves, found = "deadlocked", lock_cycle
    return Examination(
        proves=proves,
        sentence=_sentence(proves, graph, found, chances, awaited, conditions),
        conditions=conditions,
        cycle=found if proves == "deadlocked" else cycle(graph, hangs, turns),
        chances=chances,
        awaited=awaited,
        lock_cycle=lock_cycle,
        graph=_within(graph, reachable(graph, (*targets, *lock_cycle, *workers))),
        first=first.number,
        second=second.number,
    )


def strength(found: Examination) -> tuple[int, int, int]:
    """For the choice among pairs: what proves most, then the latest."""
    return ("open", "starved", "deadlocked").index(found.proves), found.second, found.first


def wait_for_graph(snapshot: Snapshot) -> Graph:
    """The graph of one look alone: the outside is taken to do its part, so that it is that of the inside."""
    nics = {nic.name: Taken(accepted=0, refused=1) for nic in snapshot.nics}
    return build(snapshot, Outside(answers=LEAST_ANSWERS, retransmission_passed=True, nics=nics, free=(0,)))


def single_cycle(graph: Graph) -> str:
    """The sentence of a cycle in one look, empty if there is none: no proof, only a picture."""
    requests = [node.id for node in graph.nodes if node.kind == "request"]
    locks = [node.id for node in graph.nodes if node.kind == "lock"]
    return chain(graph, cycle(graph, stuck(graph), (*requests, *locks)))


def seen_between(first: Snapshot, second: Snapshot, history: History, rules: Judging) -> Outside:
    """What the host saw from the end of the first look to the begin of the second."""
    from_ns = first.taken_ns + first.paused_ms * 1_000_000
    to_ns = second.taken_ns
    free = (
        value
        for name in rules.free_pages[:1]
        for value in (history.value_at(name, from_ns), *(v for _, v in history.within(name, from_ns, to_ns)))
        if value is not None
    )
    return Outside(
        answers=history.growth("wire/swap.replies.delivered_packets", from_ns, to_ns),
        retransmission_passed=_retransmission_passed(frozenset(rules.devices), first, to_ns),
        nics=_taken(first, second),
        free=tuple(free),
        mute=_mute(_carriers(frozenset(rules.devices), first), second),
        server_quiet_s=_quiet_s(history, to_ns),
        dropped=dropped_at_the_limit(first, second),
    )


def _quiet_s(history: History, to_ns: int) -> float | None:
    """How long the host had seen the server offer nothing on the swap connection; None: not counted."""
    changes = [t_ns for t_ns, _ in history.series("wire/swap.replies.offered_packets") if t_ns <= to_ns]
    return history.seconds(changes[-1], to_ns) if changes else None


def next_retransmission_ns(snapshot: Snapshot, devices: frozenset[str]) -> int | None:
    """When all that carries requests, or they themselves, will have sent again; None without a timer."""
    timers_ms = [sock.retransmit_in_ms for sock in _carriers(devices, snapshot)]
    timers_ms += [request.again_in_ms for request in _of(devices, snapshot)]
    due = [
        snapshot.taken_ns + snapshot.paused_ms * 1_000_000 + in_ms * 1_000_000
        for in_ms in timers_ms
        if in_ms is not None
    ]
    return max(due, default=None)


def _retransmission_passed(devices: frozenset[str], first: Snapshot, to_ns: int) -> bool | None:
    """None where it is not known. TCP with all acknowledged has nothing to send again; UDP has a timer."""
    carriers = _carriers(devices, first)
    due_ns = next_retransmission_ns(first, devices)
    may_send = any(sock.protocol == "udp" or sock.unacknowledged_bytes for sock in carriers)
    if not carriers or (due_ns is None and may_send):
        return None
    return due_ns is None or due_ns < to_ns


def _of(devices: frozenset[str], snapshot: Snapshot) -> list[Request]:
    return [one for one in snapshot.requests if one.device in devices]


def _carriers(devices: frozenset[str], snapshot: Snapshot) -> list[Socket]:
    addresses = {one.socket for one in _of(devices, snapshot)}
    return [sock for sock in snapshot.sockets if sock.address in addresses]


def _mute(carriers: list[Socket], second: Snapshot) -> dict[int, int]:
    """The connections that could send nothing again between the looks, and how often they tried."""
    later = {sock.address: sock for sock in second.sockets}
    tried = {one.address: tried_in_vain(one, later[one.address]) for one in carriers if one.address in later}
    return {address: fired for address, fired in tried.items() if fired}


def _all_mute(outside: Outside, carriers: list[Socket]) -> int:
    """The fewest firings in vain of any connection that carries requests; 0 if one of them could send."""
    return min((outside.mute.get(sock.address, 0) for sock in carriers), default=0)


def _turns(graph: Graph, targets: list[str]) -> list[str]:
    """Where a cycle that explains the requests turns: at them, or at the connections that carry them."""
    waits = graph.successors()
    first = dict.fromkeys(name for target in targets for name in waits[target])
    found = dict.fromkeys(name for one in first for name in (one, *waits[one]))
    return [*targets, *(name for name in found if name.startswith("socket:"))]


def _taken(first: Snapshot, second: Snapshot) -> dict[str, Taken]:
    """What became of the rings of those NICs that both looks have."""
    later = {nic.name: nic for nic in second.nics}
    return {
        nic.name: Taken(
            accepted=_grown(nic, later[nic.name], lambda each: each.counters.get("received")),
            filled=_grown(nic, later[nic.name], lambda each: each.filled),
            refused=_grown(nic, later[nic.name], lambda each: each.counters.get("refills_failed")),
        )
        for nic in first.nics
        if nic.name in later
    }


def _grown(first: Nic, second: Nic, read: Callable[[Nic], int | None]) -> int | None:
    before, after = read(first), read(second)
    return None if before is None or after is None else after - before


def _ended(first: list[Request], second: list[Request]) -> int:
    """How many of the first look's requests are not in the second: a tag is given out again, younger."""
    later = {request_id(one): one.age_ms or 0 for one in second}
    return sum(later.get(request_id(one), -1) < (one.age_ms or 0) for one in first)


def _conditions(
    outside: Outside,
    requests: int,
    ended: int,
    missing: tuple[str, ...],
    progress_ns: tuple[int, ...],
    *,
    mute: int,
    served: bool | None,
    local: bool,
    between: bool,
) -> tuple[Condition, ...]:
    answers = outside.answers
    told = f"The host saw {answers} frames of the swap connection come from the server between the looks"
    unasked = (
        f": it was not asked, since the subject tried {mute} times to send again and could send nothing."
        if mute and not answers
        else f" (needed: {LEAST_ANSWERS})."
    )
    passed = outside.retransmission_passed
    if (local or between) and passed is None:
        passed = True  # nothing carries the requests to another machine: there is no timer to wait for
    words = {
        True: "has passed, or nothing is unacknowledged",
        False: "has not come yet",
        None: "is not known",
    }
    return (
        Condition(
            name="same-requests",
            met=bool(requests) and not ended,
            statement=f"{requests} requests were in flight in both looks"
            + (f", and {ended} of the first look had ended in the second." if ended else "."),
        ),
        Condition(
            name="whole-looks",
            met=not missing,
            statement=f"Of the looks this could not be read: {missing[0]}."
            if missing
            else "All that is looked for could be read.",
        ),
        Condition(
            name="still",
            met=not progress_ns,
            statement="Nothing progressed between the looks."
            if not progress_ns
            else "Work went on between the looks.",
        ),
        Condition(
            name="answers",
            met=local
            or between
            or (answers is not None and answers >= LEAST_ANSWERS)
            or (bool(mute) and not answers),
            statement="The server is a process of the subject: what it waits for is in the looks."
            if local
            else "No connection carries the requests: there is nothing that the server could answer."
            if between
            else f"{told}{unasked}",
        ),
        Condition(
            name="retransmission",
            met=passed is True,
            statement=f"The time of the next retransmission, as the first look found it, {words[passed]}.",
        ),
        Condition(
            name="second-client",
            met=local or served is True,
            statement={
                True: "The server did something for the second client between the looks.",
                False: "The server did nothing for the second client between the looks.",
                None: "There is no second client of the server.",
            }[served],
        ),
    )


def _served(first: Snapshot, second: Snapshot, history: History, rules: Judging) -> bool | None:
    """Whether the server did something for a second client between the looks; None where there is none."""
    if not rules.second_client:
        return None
    return bool(history.rises(rules.second_client, first.taken_ns, second.taken_ns))


def _within(graph: Graph, names: frozenset[str]) -> Graph:
    return Graph(
        nodes=tuple(node for node in graph.nodes if node.id in names),
        edges=tuple(edge for edge in graph.edges if edge.source in names and edge.target in names),
    )


def _told(graph: Graph, end: str) -> str:
    """An end in words, with the evidence of the edge that leads to it."""
    edge = next(edge for edge in graph.edges if edge.target == end)
    return f"{graph.by_id[edge.source].words} {edge.verb} {graph.by_id[end].words} ({edge.evidence})"


def _sentence(
    proves: Proves,
    graph: Graph,
    found: tuple[str, ...],
    chances: tuple[str, ...],
    awaited: tuple[str, ...],
    conditions: tuple[Condition, ...],
) -> str:
    if proves == "deadlocked":
        return chain(graph, found)
    if proves == "starved":
        named = "; ".join(chances[:3])
        return f"No closed cycle: all hangs on a chance. {named[:1].upper()}{named[1:]}."
    unmet = [condition.statement for condition in conditions if not condition.met]
    ends = "; ".join((*awaited, *chances)[:2])
    if unmet:
        return "Nothing is proved: " + " ".join(unmet) + (f" What is waited for: {ends}." if ends else "")
    return f"No cycle: {ends or 'what is waited for is not known'}."


def _workers(graph: Graph, second: Snapshot, history: History, rules: Judging) -> list[str]:
    """The tasks whose work counts as progress, by the pid in their slot of the witness page.

    One that is not known, or is not in the graph since it waits for nothing known, hangs on no cycle. Who
    only counts what others do, as samplers, is none of them.
    """
    sources = dict.fromkeys(name.rpartition(".")[0] for name in rules.progress)
    workers = [source for source in sources if source.rpartition("/")[2] not in SAMPLERS]
    pids = [history.value_at(f"{source}.pid", second.taken_ns) for source in workers]
    return [f"task:{pid or 'unknown'}" for pid in pids]


def _hangs_on_locks(
    graph: Graph,
    workers: list[str],
    stands: frozenset[str],
    lock_cycle: tuple[str, ...],
    conditions: tuple[Condition, ...],
) -> bool:
    """Whether all work that counts stands for a cycle of locks; network and memory have no part in it."""
    still = all(condition.met for condition in conditions if condition.name == "still")
    return (
        still
        and bool(workers)
        and bool(lock_cycle)
        and all(worker in stands and set(lock_cycle) <= reachable(graph, [worker]) for worker in workers)
    )


def _lock_cycle(graph: Graph) -> tuple[str, ...]:
    """A cycle of tasks and locks alone."""
    names = frozenset(node.id for node in graph.nodes if node.kind in ("task", "lock"))
    return cycle(graph, names, [node.id for node in graph.nodes if node.kind == "lock"])
