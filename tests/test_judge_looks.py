"""What looks into the guest, the second client and the wire change in the verdict."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from histories import Story, Values, judging, ns

from testbed import store
from testbed.judge import Verdict, judge
from testbed.snapshot import Limit, Snapshot
from tests.test_waitfor import RING, SWAP_SOCKET, ZONE, look

RULES = judging(devices=("nbd0",), second_client=("B/client.reads",), free_pages=("A/memory.free_pages",))
HEAL_S = 18.0


def story(**changes: Any) -> Story:
    """A cell that stands still after the heal, with C answering and B being served."""
    return Story(**{"rules": RULES, "recover_s": None, "tweak": served, **changes})


def served(t: float, values: Values) -> None:
    values["B/client"] = {"reads": int((t + 20) * 2)}
    values["B/machine"] = {"beats": int((t + 20) * 10)}
    answered = 100 + 2 * int(max(0.0, t - HEAL_S) // 10)
    values["wire/swap.replies"] = {"offered_packets": answered, "delivered_packets": answered}
    values["A/blocksampler"]["min_pages"] = ZONE.minimum
    values["A/memory"]["free_pages"] = ZONE.free


def unserved(t: float, values: Values) -> None:
    served(t, values)
    values["B/client"] = {"reads": int((min(t, 2.0) + 20) * 2)}


def looks(*at_s: float, **changes: Any) -> tuple[Snapshot, ...]:
    soon = SWAP_SOCKET.model_copy(update={"retransmit_in_ms": 1000})
    sockets = (soon, *look(0, 0).sockets[1:])
    return tuple(
        look(number, ns(when), **{"sockets": sockets, **changes}) for number, when in enumerate(at_s, 1)
    )


def verdict(one: Story, snapshots: tuple[Snapshot, ...]) -> Verdict:
    evidence = one.evidence()
    assert isinstance(evidence, store.Evidence)
    return judge(dataclasses.replace(evidence, snapshots=snapshots))


def test_a_knot_seen_twice_is_deadlocked_and_needs_no_bound() -> None:
    found = verdict(story(watch_s=18.0), looks(21, 31))
    assert found.outcome == "deadlocked"
    assert found.censored and "closed cycle" in found.reason
    assert found.examination is not None and found.examination.cycle


def test_a_knot_that_is_not_watched_on_is_no_proof() -> None:
    found = verdict(story(watch_s=17.0), looks(21, 31))
    assert found.outcome == "inconclusive"
    assert "not watched on for 5 s after the second look" in found.reason


def test_without_a_second_look_it_is_stalled() -> None:
    assert verdict(story(), looks(21)).outcome == "stalled"
    assert verdict(story(watch_s=14.0), looks(21)).outcome == "inconclusive"


def test_a_look_that_is_lost_is_the_reason_of_the_doubt() -> None:
    def found(at_s: tuple[float, ...], damaged: int, **how: Any) -> Verdict:
        evidence = dataclasses.replace(story(**how).evidence(), snapshots=looks(*at_s))
        return judge(dataclasses.replace(evidence, damaged_snapshots=damaged))

    lost = found((21,), 1, watch_s=14.0)
    assert lost.outcome == "inconclusive" and lost.reason.startswith("1 look into A could not be read, ")
    assert "2 looks into A could not be read" in found((), 2, watch_s=14.0).reason
    # Who was watched to the end needs no look, and a proof that the others make stands.
    assert found((21,), 1).outcome == "stalled"
    proved = found((21, 31), 1, watch_s=18.0)
    assert proved.outcome == "deadlocked"
    assert any(one.says == "note" and "1 look into A" in one.statement for one in proved.findings)


def test_looks_before_the_heal_prove_nothing() -> None:
    assert verdict(story(), looks(10, 16)).outcome == "stalled"


def test_a_chance_makes_it_starved_but_only_at_the_bound() -> None:
    more = RING.model_copy(update={"counters": {"received": 99, "refills_failed": 80}})
    first, second = looks(21, 31)
    pair = (first, second.model_copy(update={"nics": (more,)}))
    assert verdict(story(), pair).outcome == "starved"
    assert verdict(story(watch_s=20.0), pair).outcome == "inconclusive"

    def once(t: float, values: Values) -> None:
        served(t, values)
        values["A/blocksampler"]["reads_completed_0"] += t > 45.0

    assert verdict(story(tweak=once), pair).outcome == "stalled", "what came once is no chance any more"


def test_a_recovery_after_a_proof_is_a_recovery_and_says_that_the_proof_was_none() -> None:
    found = verdict(story(recover_s=25.0), looks(21, 31))
    assert found.outcome == "recovered"
    assert any("it was no proof" in one.statement for one in found.findings)


def test_one_request_that_ends_after_the_second_look_refutes_the_proof() -> None:
    def once(t: float, values: Values) -> None:
        served(t, values)
        values["A/blocksampler"]["reads_completed_0"] += t > 45.0

    found = verdict(story(tweak=once), looks(21, 31))
    assert found.outcome == "stalled"
    assert any("something moved at 45 s" in one.statement for one in found.findings)


def test_a_knot_while_the_server_served_nobody_is_no_proof() -> None:
    found = verdict(story(tweak=unserved), looks(21, 31))
    assert found.outcome == "server-down"
    assert any("did nothing for the second client" in one.statement for one in found.findings)


def test_a_busy_host_voids_silence_but_no_knot() -> None:
    assert verdict(story(delayed=0.4), ()).outcome == "inconclusive"
    assert verdict(story(delayed=0.4), looks(21, 31)).outcome == "deadlocked"


@pytest.mark.parametrize(("tweak", "outcome"), [(unserved, "server-down"), (served, "stalled")])
def test_a_second_client_tells_whether_the_server_is_down(tweak: Any, outcome: str) -> None:
    assert verdict(story(tweak=tweak), ()).outcome == outcome


def test_a_second_client_on_a_dead_machine_tells_nothing() -> None:
    def dead(t: float, values: Values) -> None:
        unserved(t, values)
        values["B/machine"] = {"beats": int((min(t, 2.0) + 20) * 10)}

    assert verdict(story(tweak=dead), ()).outcome == "stalled"


def orphans(*pair: Snapshot, device: str = "nbd0") -> tuple[Snapshot, ...]:
    """The looks with every request orphaned."""
    return tuple(
        each.model_copy(
            update={
                "requests": tuple(
                    request.model_copy(update={"orphaned": True, "socket": 0, "device": device})
                    for request in each.requests
                )
            }
        )
        for each in pair
    )


@pytest.mark.parametrize(
    ("tweak", "device", "outcome"),
    [(served, "nbd0", "io-error"), (served, "nbd1", "stalled"), (unserved, "nbd0", "server-down")],
)
def test_requests_of_a_connection_that_is_given_up_are_an_error_kept_secret(
    tweak: Any, device: str, outcome: str
) -> None:
    found = verdict(story(tweak=tweak), orphans(*looks(21, 31), device=device))
    assert found.outcome == outcome
    assert outcome != "io-error" or "has lost its connection" in found.reason


def test_a_request_that_was_orphaned_in_one_look_only_is_none() -> None:
    first, second = looks(21, 31)
    assert verdict(story(), (first, *orphans(second))).outcome != "io-error"
    assert verdict(story(recover_s=25.0), orphans(first, second)).outcome == "recovered"


def test_no_packet_either_way_is_the_network() -> None:
    def cut(t: float, values: Values) -> None:
        served(t, values)
        for flow in ("wire/swap.requests", "wire/swap.replies"):
            sent = 100 + int(max(0.0, t - HEAL_S) // 10)
            values[flow] = {"offered_packets": sent, "delivered_packets": 100}

    found = verdict(story(rules=RULES.model_copy(update={"heals": ()}), heals=False, tweak=cut), ())
    assert found.outcome == "network-down"


def test_snapshots_that_are_nonsense_never_break_the_judge() -> None:
    odd = tuple(
        each.model_copy(update={"requests": (), "tasks": (), "nics": (), "zones": ()})
        for each in looks(21, 31)
    )
    assert verdict(story(), odd).outcome == "stalled"


@pytest.mark.parametrize(("pages", "met"), [((131, 128), True), ((131, 127), False), ((), False)])
def test_tcp_at_its_limit_is_a_precondition_that_every_look_must_show(
    pages: tuple[int, ...], met: bool
) -> None:
    rules = RULES.model_copy(update={"requires": ("tcp-limit",)})
    held = [(Limit(protocol="tcp", pages=each, limits=(64, 96, 128)),) for each in pages]
    taken = (look(number, ns(20.0 + number), limits=limits) for number, limits in enumerate(held, 1))
    found = verdict(Story(rules=rules), tuple(taken))
    assert found.preconditions[0].met is met
    assert found.outcome == ("recovered" if met else "inconclusive")
