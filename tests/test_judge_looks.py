"""What looks into the guest, the second client and the wire change in the verdict."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from histories import Story, Values, judging, ns

from testbed import store
from testbed.judge import Verdict, judge
from testbed.model import Judging
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


def test_memory_is_exhausted_where_the_rest_is_set_aside() -> None:
    """Under mem-reserve GFP_ATOMIC stops above what is set aside, which no watermark tells."""

    def with_more_free(t: float, values: Values) -> None:
        served(t, values)
        values["A/blocksampler"]["free_pages"] = values["A/memory"]["free_pages"] = 1345

    def exhausted(set_aside: int) -> bool:
        zone = ZONE.model_copy(update={"free": 1345, "set_aside": set_aside})
        found = verdict(story(tweak=with_more_free), looks(21, 31, zones=(zone,)))
        return next(one.met for one in found.preconditions if one.name == "exhausted")

    assert exhausted(1280)
    assert not exhausted(1200)
    assert not exhausted(0)


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


def test_a_refuted_proof_hides_no_later_one() -> None:
    def once(t: float, values: Values) -> None:
        served(t, values)
        values["A/blocksampler"]["reads_completed_0"] += t > 45.0

    found = verdict(story(tweak=once, watch_s=52.0), looks(21, 31, 50, 60))
    assert found.outcome == "deadlocked"
    assert found.examination is not None and (found.examination.first, found.examination.second) == (3, 4)

    more = RING.model_copy(update={"counters": {"received": 99, "refills_failed": 80}})
    *early, last = looks(21, 31, 50, 60)
    chance = verdict(story(tweak=once), (*early, last.model_copy(update={"nics": (more,)})))
    assert chance.outcome == "starved"


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


def test_a_server_that_has_the_kernel_under_test_is_not_outside_of_it() -> None:
    def alike(t: float, values: Values) -> None:
        unserved(t, values)
        values["C/vmsampler"] = {"samples": int(t * 4) + 99}

    assert verdict(story(tweak=alike), ()).outcome == "stalled"


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
    [(served, "nbd0", "io-error"), (served, "nbd1", "stalled"), (unserved, "nbd0", "io-error")],
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


def at_limit(most: int, *, until_s: float = 99.0, looked: bool = True) -> Verdict:
    """TCP holds `most` pages from the flood on, nothing from `until_s` on; its limit is 128."""

    def holds(t: float, values: Values) -> None:
        values["A/vmsampler"]["tcp_mem_pages"] = most if 6 < t < until_s else 0

    rules = RULES.model_copy(update={"requires": ("tcp-limit",)})
    limits = (Limit(protocol="tcp", pages=0, limits=(64, 96, 128)),)
    seen = (look(1, ns(21.0), limits=limits),) if looked else ()
    return verdict(Story(rules=rules, tweak=holds), seen)


@pytest.mark.parametrize(("most", "met"), [(131, True), (128, True), (127, False)])
def test_tcp_must_have_been_at_its_limit_before_the_judging_point(most: int, met: bool) -> None:
    found = at_limit(most)
    assert found.preconditions[0].met is met
    assert found.outcome == ("recovered" if met else "inconclusive")


def test_who_gives_back_what_tcp_held_was_at_the_limit_all_the_same() -> None:
    assert at_limit(131, until_s=19.0).outcome == "recovered", "after the judging point"
    assert at_limit(131, until_s=9.0).outcome == "recovered", "before it"
    unknown = at_limit(131, looked=False)
    assert unknown.outcome == "inconclusive" and "No look shows" in unknown.preconditions[0].statement


def dirtied(
    kib: int,
    *,
    limit_pages: int = 7_000,
    from_s: float = 3.0,
    until_s: float = 99.0,
    there: int | None = None,
) -> Verdict:
    """So much is dirty or under writeback for a while, and 4 KiB before and after; 0 pages: no limit is told.

    `there` is as much on the server; None: it has no sampler.
    """

    def holds(t: float, values: Values) -> None:
        much = from_s < t < until_s
        for machine, most in (("A", kib), ("C", there)):
            if most is not None:
                own = values.setdefault(f"{machine}/vmsampler", {"samples": int(t * 4) + 99})
                own |= {"dirty_kib": 4, "writeback_kib": most - 4 if much else 0}
                own |= {"dirty_limit_pages": limit_pages} if limit_pages else {}

    rules = RULES.model_copy(update={"requires": ("dirty-limit",)})
    return verdict(Story(rules=rules, tweak=holds), ())


@pytest.mark.parametrize(("kib", "met"), [(28_004, True), (28_000, True), (27_996, False), (4, False)])
def test_so_much_must_have_been_dirty_at_once_that_writers_had_to_wait(kib: int, met: bool) -> None:
    found = dirtied(kib)
    assert found.preconditions[0].met is met
    assert found.preconditions[0].numbers == {"A_dirty_kib": kib, "A_limit_kib": 28_000}
    assert found.outcome == ("recovered" if met else "inconclusive")


def test_the_limit_on_dirty_pages_must_have_been_met_before_the_judging_point() -> None:
    assert dirtied(28_004, until_s=9.0).outcome == "recovered"
    late = dirtied(28_004, from_s=18.0)
    assert late.outcome == "inconclusive" and "(less than its limit of 28000 KiB)" in late.reason


def test_a_server_that_has_a_limit_recorded_must_have_met_it_too() -> None:
    assert dirtied(28_004, there=28_100).outcome == "recovered"
    found = dirtied(28_004, there=900)
    assert found.outcome == "inconclusive" and "900 KiB at once on C (less than" in found.reason


def test_a_limit_on_dirty_pages_that_was_not_recorded_was_not_met() -> None:
    unknown = dirtied(28_004, limit_pages=0)
    assert unknown.outcome == "inconclusive" and "not recorded" in unknown.preconditions[0].statement


def counted(rules: Judging, counters: dict[str, int] | None, **changes: Any) -> Verdict:
    """A recovery with what a kernel's debugfs had at the last of two looks; None: nobody looked."""
    early = look(1, ns(19.0), counters={})
    seen = () if counters is None else (early, look(2, ns(21.0), counters=counters))
    return verdict(Story(rules=rules, **changes), seen)


BURNS, PAGES = "reserve-burner/reclaim/burns", "reserve-burner/reclaim/pages_got"


@pytest.mark.parametrize(
    ("counters", "met"),
    [
        ({BURNS: 6, PAGES: 17_000, "reserve-burner/reclaim/min_free_pages": 12}, True),
        ({BURNS: 0, PAGES: 0, "reserve-burner/atomic/burns": 2, "reserve-burner/atomic/pages_got": 9}, True),
        ({BURNS: 3, PAGES: 0, "reserve-burner/reclaim/min_free_pages": 900}, False),
        ({BURNS: 0, PAGES: 0}, False),
        ({"recursive-reclaim/calls": 4}, False),
        (None, False),
    ],
)
def test_a_reserve_that_nobody_burned_is_no_test_of_it(counters: dict[str, int] | None, met: bool) -> None:
    found = counted(judging(requires=("burned",)), counters)
    assert found.preconditions[0].met is met
    assert found.outcome == ("recovered" if met else "inconclusive")


DROPPED = "net-throttle/dropped_protocol"


@pytest.mark.parametrize(
    ("counters", "outcome"),
    [
        ({DROPPED: 73_549, "net-throttle/dropped_free": 0}, "recovered"),
        ({DROPPED: 1_000, "net-throttle/dropped_free": 241}, "recovered"),
        ({DROPPED: 1_240}, "inconclusive"),
        ({"net-throttle/critical_set": 1}, "inconclusive"),
        (None, "inconclusive"),
    ],
)
def test_what_a_throttle_turned_away_stands_in_for_memory_that_it_saved(
    counters: dict[str, int] | None, outcome: str
) -> None:
    """251 pages free, 155 above the floor: 1,240 packets could have lain there."""
    assert counted(judging(), counters, least_free=251).outcome == outcome


def test_what_a_throttle_turned_away_after_the_heal_is_not_known_to_be_before_it() -> None:
    rules = judging(through=("flood",))
    assert counted(rules, {DROPPED: 73_549}, least_free=251).outcome == "inconclusive"
