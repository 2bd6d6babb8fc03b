"""Faults on the timeline: what their keys must be, and what one that flaps becomes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from testbed import plan as stage
from testbed.errors import UsageError
from testbed.load import PLAYBOOKS
from testbed.model import KernelSpec, Plan, PlannedKernel
from testbed.plan import Choices
from testbed.transports import transport_of
from tests import newcomer

FILE_SYSTEM = Path(__file__).parent / "data" / "file-system.toml"
FLOOD = (PLAYBOOKS / "flood.toml").read_text()
FLOOD = FLOOD.replace('topology = "abc"\n', 'topology = "abc"\nsteady = "$outage"\n')  # so that it is used
GROWS = FLOOD.replace('kind = "nbd"\n', 'kind = "nbd"\nbacking = "file"\n')
CUT = 'for = "$outage"\nfault = "drop"\nname = "cut"\nbetween = ["A", "C"]\n'


def planned(folder: Path, text: str, **choices: Any) -> Plan:
    path = folder / "test.toml"
    path.write_text(text)
    file = stage.read_playbook(path)
    kernel = PlannedKernel(spec=KernelSpec(base="6.1"), digest="a" * 24)
    return stage.plan(
        stage.topology_of(file), file, stage.Kernels(kernel, kernel), "image", Choices(**choices)
    )


def refused(folder: Path, cut: str, text: str = FLOOD, **choices: Any) -> UsageError:
    assert CUT in text
    with pytest.raises(UsageError) as caught:
        planned(folder, text.replace(CUT, cut), **choices)
    return caught.value


def spells(plan: Plan, name: str = "cut") -> list[tuple[float, str]]:
    return [(event.at_s, event.do) for event in plan.events if event.name == name]


# --- packets of a flow, or between two machines

KINDS = ('fault = "reset"', 'fault = "corrupt"\nshare = 0.02')


@pytest.mark.parametrize("fault", KINDS)
@pytest.mark.parametrize(
    ("keys", "at", "says", "hint"),
    [
        ('flow = "swap"\nbetween = ["A", "C"]', "timeline[0]", "exactly one of 'flow' and 'between'", ""),
        ("", "timeline[0]", "exactly one of 'flow' and 'between'", ""),
        ('flow = "swap"\ndirection = "back"', "timeline[0]", "go with 'between'", ""),
        ('flow = "swap.reply"', "timeline[0].flow", "no flow 'swap.reply'", "'swap.replies'"),
        ('flow = "A-D"', "timeline[0].flow", "no flow 'A-D'", "'A-"),
        ('between = ["A", "D"]', "timeline[0].between", "no machine 'D'", "A, B, C"),
        ('between = ["A", "A"]', "timeline[0].between", "no link to itself", ""),
        ('between = ["A", "C"]\nlink = "dta"', "timeline[0].link", "not on link 'dta'", "'data'"),
        ('between = ["A", "C"]\ndirection = "there"', "timeline[0].direction", "'both'", ""),
    ],
)
def test_a_fault_of_packets_says_whose(
    tmp_path: Path, fault: str, keys: str, at: str, says: str, hint: str
) -> None:
    error = refused(tmp_path, f'for = "$outage"\n{fault}\nname = "cut"\n{keys}\n')
    assert error.where.endswith(f": {at}"), error.where
    assert says in error.message
    assert hint in error.hint


def test_the_flow_of_a_drop_must_be_there_too(tmp_path: Path) -> None:
    error = refused(tmp_path, 'for = "$outage"\nfault = "flow"\nname = "cut"\nflow = "swop"\n')
    assert "no flow 'swop'" in error.message
    assert error.where.endswith(": timeline[0].flow")


@pytest.mark.parametrize("share", ["0", "1.5", '"2%"'])
def test_a_share_is_a_part_of_all(tmp_path: Path, share: str) -> None:
    error = refused(tmp_path, f'fault = "corrupt"\nname = "cut"\nflow = "swap"\nshare = {share}\n')
    assert error.where.endswith(": timeline[0].share")


def test_damage_is_refused_where_checksums_come_after_it(tmp_path: Path) -> None:
    cut = 'for = "$outage"\n{}\nname = "cut"\nflow = "swap"\n'
    reset, corrupt = (cut.format(kind) for kind in KINDS)
    error = refused(tmp_path, corrupt, nic="virtio-net")
    assert "'A' has virtio-net" in error.message
    assert error.where.endswith(": timeline[0].fault")
    planned(tmp_path, FLOOD.replace(CUT, corrupt), nic="e1000")
    planned(tmp_path, FLOOD.replace(CUT, reset), nic="virtio-net")


def test_a_connection_is_reset_where_there_is_one(tmp_path: Path) -> None:
    text = FLOOD.replace('kind = "nbd"\n', 'kind = "nfs3"\nproto = "udp"\n')
    cut = 'for = "$outage"\n{}\nname = "cut"\nflow = "swap.replies"\n'
    reset, corrupt = (cut.format(kind) for kind in KINDS)
    error = refused(tmp_path, reset, text)
    assert "'swap.replies' goes over UDP" in error.message
    assert error.where.endswith(": timeline[0].flow")
    for fault, played in ((corrupt, text), (reset, FLOOD.replace('"nbd"', '"nfs3"'))):
        planned(tmp_path, played.replace(CUT, fault))


@pytest.mark.parametrize("fault", KINDS)
def test_a_fault_of_a_flow_is_planned_without_what_it_does_not_say(tmp_path: Path, fault: str) -> None:
    cut = f'for = "$outage"\n{fault}\nname = "cut"\nflow = "swap.replies"\n'
    plan = planned(tmp_path, FLOOD.replace(CUT, cut))
    assert plan.faults[0].options["flow"] == "swap.replies"
    assert "between" not in plan.faults[0].options
    assert spells(plan) == [(0, "apply"), (16, "revert")]


# --- the server


@pytest.mark.parametrize("kind", ["server-kill", "reboot", "disk-full"])
def test_only_the_server_can_be_killed_or_booted(tmp_path: Path, kind: str) -> None:
    error = refused(tmp_path, f'fault = "{kind}"\nname = "cut"\nmachine = "B"\n')
    assert "'B' is not the server" in error.message and "'C' is" in error.hint
    assert error.where.endswith(": timeline[0].machine")
    gone = f'for = "$outage"\nfault = "{kind}"\nname = "cut"\nmachine = "C"\n'
    assert spells(planned(tmp_path, GROWS.replace(CUT, gone))) == [(0, "apply"), (16, "revert")]


def test_a_disk_is_full_only_where_what_is_served_grows(tmp_path: Path) -> None:
    full = 'for = "$outage"\nfault = "disk-full"\nname = "cut"\nmachine = "C"\n'
    for text, choices in ((FLOOD, {}), (GROWS, {"transport": "nfs3"})):
        error = refused(tmp_path, full, text, **choices)
        assert "'cut' would change nothing" in error.message
        assert error.where.endswith(": timeline[0].fault")
    files = FILE_SYSTEM.read_text().replace('fault = "drop"', 'fault = "disk-full"\nmachine = "C"')
    plan = planned(tmp_path, files.replace('between = ["A", "C"]\n', ""))
    assert plan.transport is not None and transport_of(plan.transport).store == "/srv/swap"


# --- another address


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("10.77.1.2", "10.77.1.2 is the address of 'B'"),
        ("10.77.1.3", "10.77.1.3 is the address of 'C'"),
        ("10.78.1.9", "10.78.1.9 is not in the link's subnet"),
        ("10.77.1", "Expected 4 octets"),
    ],
)
def test_another_address_must_be_one_of_the_link_that_nobody_has(
    tmp_path: Path, address: str, says: str
) -> None:
    moved = f'for = "$outage"\nfault = "readdress"\nname = "cut"\nmachine = "C"\naddress = "{address}"\n'
    error = refused(tmp_path, moved)
    assert says in error.message
    assert error.where.endswith(": timeline[0].address")
    planned(tmp_path, FLOOD.replace(CUT, moved.replace(address, "10.77.1.99")))


# --- flapping


def flap(cut: str = CUT, **times: str) -> str:
    """A deed with `on` and `off`, or one of them."""
    return cut + "".join(f'{key} = "{value}"\n' for key, value in times.items())


def test_a_fault_flaps_until_it_is_healed(tmp_path: Path) -> None:
    plan = planned(tmp_path, FLOOD.replace(CUT, flap(on="1s", off="4s")))
    times = [(0, "apply"), (1, "revert"), (5, "apply"), (6, "revert"), (10, "apply"), (11, "revert")]
    assert spells(plan) == [*times, (15, "apply"), (16, "revert")]
    assert plan.judging.faults == plan.judging.heals == ("cut",)
    assert plan.judging.begin_at_s == 16
    assert [event.at_s for event in plan.events] == sorted(event.at_s for event in plan.events)


@pytest.mark.parametrize(
    ("on", "off", "last"),
    [
        ("3s", "4s", [(14, "apply"), (16, "revert")]),  # the end cuts the last spell short
        ("1s", "9s", [(10, "apply"), (11, "revert")]),  # or comes when it is over
        ("4s", "4s", [(8, "apply"), (12, "revert")]),  # or when the next would begin
        ("100ms", "300ms", [(15.6, "apply"), (15.7, "revert")]),
    ],
)
def test_the_last_spell_ends_with_the_fault(
    tmp_path: Path, on: str, off: str, last: list[tuple[float, str]]
) -> None:
    found = spells(planned(tmp_path, FLOOD.replace(CUT, flap(on=on, off=off))))
    assert found[-2:] == last
    assert [do for _, do in found] == ["apply", "revert"] * (len(found) // 2)


def test_any_lasting_fault_may_flap(tmp_path: Path) -> None:
    carrier = 'for = "$outage"\nfault = "carrier"\nname = "cut"\nmachine = "C"\n'
    plan = planned(tmp_path, FLOOD.replace(CUT, flap(carrier, on="1s", off="9s")))
    assert len(spells(plan)) == 4
    healed = CUT.replace('for = "$outage"\n', "") + 'on = "1s"\noff = "9s"\n'
    end = '[[timeline]]\nat = "$outage"\nheal = "cut"\n[judge]'
    assert len(spells(planned(tmp_path, FLOOD.replace(CUT, healed).replace("[judge]", end)))) == 4


@pytest.mark.parametrize(
    ("cut", "at", "says"),
    [
        (flap(on="1s"), "timeline[0].on", "'on' needs 'off'"),
        (flap(off="1s"), "timeline[0].off", "'off' needs 'on'"),
        (flap(on="1s", off="0s"), "timeline[0].off", "greater than or equal to 0.1"),
        (flap(on="20s", off="1s"), "timeline[0].on", "comes into force 1 times"),
        (flap(CUT.replace("$outage", "10min"), on="100ms", off="100ms"), "timeline[0].on", "3000 times"),
        (flap(CUT.replace('for = "$outage"\n', ""), on="1s", off="1s"), "timeline[0].on", "never ends"),
        (
            flap('fault = "sysrq"\nname = "cut"\nmachine = "A"\nkey = "f"\n', on="1s", off="1s"),
            "timeline[0].on",
            "can not be healed",
        ),
    ],
)
def test_what_can_not_flap_is_refused(tmp_path: Path, cut: str, at: str, says: str) -> None:
    error = refused(tmp_path, cut)
    assert says in error.message
    assert error.where.endswith(f": {at}"), error.where


def test_a_load_does_not_flap(tmp_path: Path) -> None:
    text = FLOOD.replace('start = "flood"\n', 'start = "flood"\non = "1s"\noff = "1s"\n')
    error = refused(tmp_path, CUT, text)
    assert "'on' does not go with 'start'" in error.message


def test_what_flaps_can_not_stay(tmp_path: Path) -> None:
    error = refused(tmp_path, flap(on="1s", off="2s"), variant="never-healed")
    assert "'cut' flaps: it can not stay in force" in error.message
    assert error.where.endswith("variants.never-healed.forever[0]")


def test_a_spell_counts_for_the_kernels_timers_and_not_the_whole(tmp_path: Path) -> None:
    long = {"outage": "20min"}
    planned(tmp_path, FLOOD.replace(CUT, flap(on="10s", off="10s")), settings=long)
    error = refused(tmp_path, flap(on="1000s", off="10s"), settings=long)
    assert "'cut' lasts 1000 s, but after 924.6 s" in error.message


@pytest.mark.parametrize("fault", ["server-kill", "reboot"])
def test_only_who_can_serve_again_is_ended(tmp_path: Path, fault: str) -> None:
    ended = f'for = "$outage"\nfault = "{fault}"\nname = "cut"\nmachine = "C"\n'
    for transport in ("nbd", "nfs3", "nfs4", "nvme-tcp", "iscsi"):
        planned(tmp_path, FLOOD.replace(CUT, ended), transport=transport)
    with newcomer.dropped_in(tmp_path):
        error = refused(tmp_path, ended, transport="nbd-through")
    assert "nbd-through can not be served again" in error.message
    assert error.hint.startswith("iscsi, nbd, nfs3, nfs4, nvme-tcp can")
    assert error.where.endswith(": timeline[0].fault")


# --- what only one can have


def two(first: str, second: str, at: str = "5s", lasts: str = "5s") -> str:
    """`first` from 0 to 10 s with the name `cut`, and `second` from `at` on with the name `other`."""
    return (
        f'for = "10s"\nname = "cut"\n{first}\n'
        f'[[timeline]]\nat = "{at}"\nfor = "{lasts}"\nname = "other"\n{second}\n'
    )


RATE, DELAY = (
    f'fault = "{kind}"\nmachine = "A"\n{kind} = "{value}"'
    for kind, value in (("rate", "1Mbit/s"), ("delay", "9ms"))
)
FREEZE, CARRIER = (f'fault = "{kind}"\nmachine = "C"' for kind in ("freeze", "carrier"))
KILL, REBOOT = (f'fault = "{kind}"\nmachine = "C"' for kind in ("server-kill", "reboot"))
DROP = 'fault = "drop"\nbetween = ["A", "C"]'
MOVED = 'fault = "readdress"\nmachine = "C"\naddress = "10.77.1.{}"'
SLOW_DISK = 'fault = "slow-disk"\nmachine = "C"\ndisk = "swap"\nrate = "{}Mbit/s"'
STARVE = 'fault = "starve"\nmachine = "A"\nspinners = {}'


@pytest.mark.parametrize(
    ("first", "second", "held"),
    [
        (DELAY, RATE, "the queue before 'A' on 'data'"),
        (RATE, DELAY, "the queue before 'A' on 'data'"),
        (RATE, RATE.replace("1M", "2M"), "the queue before 'A' on 'data'"),
        (FREEZE, FREEZE, "the freeze of 'C'"),
        (CARRIER, CARRIER, "the cable of 'C' on 'data'"),
        (KILL, REBOOT, "what 'C' serves"),
        (DROP, DROP, "the block 'drop.data.A.C.both'"),
        (MOVED.format(98), MOVED.format(99), "the address of 'C' on 'data'"),
        (SLOW_DISK.format(8), SLOW_DISK.format(9), "disk 'swap' of 'C'"),
        (STARVE.format(8), STARVE.format(9), "the starve of 'A'"),
    ],
    ids=lambda value: value.split('"')[1] if value.startswith("fault") else "",
)
def test_two_that_need_one_thing_are_not_in_force_at_a_time(
    tmp_path: Path, first: str, second: str, held: str
) -> None:
    error = refused(tmp_path, two(first, second))
    assert error.message == f"'other' comes at 5 s, when 'cut' has {held}"
    assert error.where.endswith(": timeline[1].fault") and "test.toml:" in error.where
    assert "let one end before the other begins" in error.hint
    planned(tmp_path, FLOOD.replace(CUT, two(first, second, at="10s")))
    planned(tmp_path, FLOOD.replace(CUT, two(first, second, at="11s")))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (RATE, DELAY.replace('"A"', '"C"')),
        (RATE, f'{DELAY}\nlink = "mgmt"'),
        (FREEZE, FREEZE.replace('"C"', '"B"')),
        (FREEZE, CARRIER),
        (DROP, f'{DROP}\ndirection = "back"'),
    ],
)
def test_two_of_different_things_may_be(tmp_path: Path, first: str, second: str) -> None:
    plan = planned(tmp_path, FLOOD.replace(CUT, two(first, second)))
    assert len(spells(plan)) == len(spells(plan, "other")) == 2


def test_of_two_at_one_moment_the_end_must_be_written_first(tmp_path: Path) -> None:
    turned = f'for = "10s"\nname = "cut"\n{RATE}\n'
    begins_first = f'[[timeline]]\nat = "10s"\nfor = "5s"\nname = "other"\n{DELAY}\n[[timeline]]\nat = "0s"\n'
    error = refused(
        tmp_path, "", FLOOD.replace(f'[[timeline]]\nat = "0s"\n{CUT}', f"{begins_first}{turned}{CUT}")
    )
    assert "'other' comes at 10 s, when 'cut' has" in error.message


def test_spells_of_two_that_flap_may_take_turns(tmp_path: Path) -> None:
    flapping = two(RATE + '\non = "1s"\noff = "3s"', DELAY + '\non = "1s"\noff = "3s"', at="{}", lasts="8s")
    planned(tmp_path, FLOOD.replace(CUT, flapping.format("2s")))
    error = refused(tmp_path, flapping.format("4500ms"))
    assert "'other' comes at 4.5 s, when 'cut' has the queue" in error.message


def test_what_is_never_healed_keeps_what_it_has(tmp_path: Path) -> None:
    forever = two(RATE, DELAY, at="12s").replace('for = "10s"\n', "", 1)
    assert "'other' comes at 12 s, when 'cut' has the queue" in refused(tmp_path, forever).message
    error = refused(tmp_path, two(RATE, DELAY, at="12s"), variant="never-healed")
    assert "'other' comes at 12 s, when 'cut' has the queue" in error.message
