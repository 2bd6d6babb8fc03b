"""What can not be played is refused with file, line, key and the nearest right name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from testbed import plan as stage
from testbed.configuration import Topology
from testbed.errors import UsageError
from testbed.load import PLAYBOOKS, TOPOLOGIES, load_toml
from testbed.model import KernelSpec, Plan, PlannedKernel
from testbed.plan import Choices

FLOOD = (PLAYBOOKS / "flood.toml").read_text()
ABC = (TOPOLOGIES / "abc.toml").read_text()


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


def plan_of(folder: Path, text: str, topology: Topology | None = None, **choices: object) -> Plan:
    path = folder / "test.toml"
    path.write_text(text)
    file = stage.read_playbook(path)
    kernel = PlannedKernel(spec=KernelSpec(base="6.1"), digest="a" * 24)
    made = stage.Kernels(kernel, kernel)
    return stage.plan(topology or stage.topology_of(file), file, made, "image", Choices(**choices))  # type: ignore[arg-type]


def refused(folder: Path, text: str, **choices: object) -> UsageError:
    with pytest.raises(UsageError) as caught:
        plan_of(folder, text, **choices)
    return caught.value


def changed(old: str, new: str, text: str = FLOOD) -> str:
    assert old in text
    return text.replace(old, new, 1)


@pytest.mark.parametrize(
    ("old", "new", "at", "says", "hint"),
    [
        ('on = "B"', 'on = "D"', "loads.flood.on", "no machine 'D'", "known: A, B, C"),
        ('to = "A"', 'to = "a"', "loads.flood.to", "no machine 'a'", "known: A, B, C"),
        (
            'service = "service"', 'service = "servise"', "loads.flood.service", "no load",
            "did you mean 'service'",
        ),
        ('server = "C"', 'server = "X"', "transport.server", "no machine 'X'", "known: A, B, C"),
        ('server = "C"', 'server = "B"', "transport.disk", "'B' has no disk 'swap'", "none is known"),
        ('client = "A"', 'client = "B"', "transport.client", "'A' does", ""),
        ('kind = "nbd"', 'kind = "ndb"', "transport.kind", "no transport of kind", "did you mean 'nbd'"),
        ('kind = "flood"', 'kind = "floood"', "loads.flood.kind", "no load of kind", "did you mean 'flood'"),
        ('fault = "drop"', 'fault = "dorp"', "timeline[0].fault", "no fault of kind", "did you mean 'drop'"),
        ('between = ["A", "C"]', 'between = ["A", "D"]', "timeline[0].between", "no machine 'D'", "A, B, C"),
        ('between = ["A", "C"]', 'between = ["A", "A"]', "timeline[0].between", "no link to itself", ""),
        ('between = ["A", "C"]', 'betwen = ["A", "C"]', "timeline[0].betwen", "unknown key", "'between'"),
        (
            'between = ["A", "C"]', 'between = ["A", "C"]\nlink = "dta"', "timeline[0].link",
            "not on link", "'data'",
        ),
        (
            'start = "flood"', 'start = "floot"', "timeline[1].start", "no load 'floot'",
            "did you mean 'flood'",
        ),
        ('start = "flood"', 'start = "flood"\nrate = 1', "timeline[1].rate", "unknown key", "known: at"),
        (
            'start = "flood"', 'start = "flood"\nstop = "flood"', "timeline[1]", "says start and stop",
            "exactly one",
        ),
        ('at = "3s"', 'at = "-3s"', "timeline[1].at", "'-3s' is not a duration", ""),
        ('at = "3s"', "at = 3", "timeline[1].at", "3 has no unit", ""),
        ('rcvbuf = "8MiB"', "rcvbuf = 8388608", "loads.service.rcvbuf", "has no unit", ""),
        (
            'rcvbuf = "8MiB"', 'rcvbuff = "8MiB"', "loads.service.rcvbuff", "unknown key",
            "did you mean 'rcvbuf'",
        ),
        ("processes = 2", "processes = 0", "loads.anonymous.processes", "greater than or equal to 1", ""),
        ('memory = "$memory"', 'memory = "$memori"', "loads.anonymous.memory", "no parameter", "'memory'"),
        ('rate = "$rate"', 'rate = "1kpps"', "parameters.rate", "'$rate' is used nowhere", ""),
        ('topology = "abc"', 'topology = "acb"', "topology", "no topology 'acb'", "did you mean 'abc'"),
        ('topology = "abc"', 'topology = "../x"', "topology", "no topology '../x'", "known: abc"),
        (
            'outage = "50s"', 'outage = "50MiB"', "forms.long.outage",
            "is a size, but 'outage' is a duration", "'16s'",
        ),
        ('outage = "50s"', 'outage = "2s"', "forms.long.outage", "below the least", "how long C is cut off"),
        (
            'outage = "50s"', 'outag = "50s"', "forms.long.outag", "no parameter 'outag'",
            "did you mean 'outage'",
        ),
        (
            'requires = ["in-flight", "still", "exhausted"]', 'requires = ["stil"]', "judge.requires[0]",
            "none of", "'still'",
        ),
        (
            'finish = "sweep"', 'finish = "exit"', "judge.finish", "no load on 'A' can prove",
            "needs an anonymous",
        ),
        (
            'finish = "sweep"', 'finish = "sweep"\nheals = ["cute"]', "judge.heals[0]", "no fault 'cute'",
            "'cut'",
        ),
        ('stock = "recovered"', 'stock = "alive"', "expect.stock", "none of", ""),
        (
            'control = "recovered"', 'control = "recovered"\nexpect = { stock = "slow" }',
            "variants.b-silent", "is said already", "",
        ),
        ('title = ', 'titel = ', "titel", "unknown key", "did you mean 'title'"),
        ("[loads.service]", "[loads.memory]", "loads.memory", "name of a witness", ""),
    ],
)  # fmt: skip
def test_a_wrong_playbook_names_file_line_key_and_remedy(
    tmp_path: Path, old: str, new: str, at: str, says: str, hint: str
) -> None:
    text = changed(old, new)
    error = refused(tmp_path, text)
    assert error.where.endswith(f": {at}"), error.where
    assert ":" in error.where.split("test.toml")[1]
    assert says in error.message
    assert hint in error.hint


OUTAGE = '[parameters.outage]\ndefault = "16s"\nmin = "8s"\nmax = "1h"\n'


@pytest.mark.parametrize(
    ("parameter", "blamed", "says"),
    [
        ({"default": "16", "min": "8s", "max": "1h"}, "default", "'16' is a word"),
        ({"default": 16, "min": "8s", "max": "1h"}, "default", "16 is a number"),
        ({"default": "16MiB", "min": "8s", "max": "1h"}, "default", "'16MiB' is a size"),
        ({"default": "16", "min": "8s"}, "default", "all else that 'outage' can be is a duration"),
        ({"default": "16"}, "default", "'16' is a word"),
        ({"default": "16s", "min": "8", "max": "1h"}, "min", "'8' is a word, but 'outage' is a duration"),
        ({"default": "16s", "min": "8s", "max": 3600}, "max", "3600 is a number"),
    ],
)
def test_the_value_that_is_not_like_the_others_is_blamed(
    tmp_path: Path, parameter: dict[str, object], blamed: str, says: str
) -> None:
    """The forms of the flood say outages with a unit, so a default that stands alone has them against it."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in parameter.items()]
    text = changed(OUTAGE, "\n".join(["[parameters.outage]", *lines, ""]))
    error = refused(tmp_path, text)
    assert error.where.endswith(f"test.toml:{line_of(text, f'{blamed} = ')}: parameters.outage.{blamed}")
    assert says in error.message
    assert error.hint in ("as in '8s'", "as in '16s'")


def test_one_against_one_the_default_decides(tmp_path: Path) -> None:
    text = FLOOD.replace('outage = "16s"\n', "").replace('outage = "50s"\n', "")
    text = changed(OUTAGE, '[parameters.outage]\ndefault = "16s"\nmin = "8MiB"\n', text)
    assert refused(tmp_path, text).where.endswith("parameters.outage.min")


def test_the_line_is_that_of_the_key(tmp_path: Path) -> None:
    text = changed('between = ["A", "C"]', 'between = ["A", "D"]')
    assert f"test.toml:{line_of(text, 'between')}: " in refused(tmp_path, text).where


VARIANTS = [
    ('without = ["flood"]', 'without = ["floot"]', "variants.b-silent.without[0]", "did you mean 'flood'"),
    ('forever = ["cut"]', 'forever = ["flood"]', "variants.never-healed.forever[0]", "known: cut"),
    ('without = ["flood"]', 'without = ["service"]', "loads.flood.service", "known: anonymous, flood"),
]


@pytest.mark.parametrize(("old", "new", "at", "hint"), VARIANTS)
def test_a_variant_can_only_leave_out_what_there_is(
    tmp_path: Path, old: str, new: str, at: str, hint: str
) -> None:
    error = refused(
        tmp_path, changed(old, new), variant=at.split(".")[1] if at.startswith("v") else "b-silent"
    )
    assert error.where.endswith(at)
    assert hint in error.hint


def test_a_control_must_be_an_outcome(tmp_path: Path) -> None:
    error = refused(tmp_path, changed('control = "not recovered"', 'control = "not recovred"'))
    assert "no outcome 'recovred'" in error.message
    assert error.where.endswith("variants.never-healed.control")


def test_what_a_variant_adds_is_named_where_it_stands(tmp_path: Path) -> None:
    own = """
[variants.more]
description = "With a freeze."
parameters = { bound = "60s" }
loads.stop = { kind = "kill", on = "C", process = "nbd-server" }
judge = { still = "5s" }

[[variants.more.timeline]]
at = "2s"
for = "1s"
fault = "freeze"
machine = "A"
"""
    for old, new, at, says in (
        ('machine = "A"', 'machine = "X"', "variants.more.timeline[0].machine", "no machine 'X'"),
        ('machine = "A"', 'machin = "A"', "variants.more.timeline[0].machin", "unknown key"),
        ('process = "nbd', 'proces = "nbd', "variants.more.loads.stop.proces", "unknown key"),
        ('still = "5s"', "still = 5", "variants.more.judge.still", "5 has no unit"),
        ('at = "2s"', 'at = "$when"', "variants.more.timeline[0].at", "no parameter 'when'"),
    ):
        text = FLOOD + changed(old, new, own)
        error = refused(tmp_path, text, variant="more")
        assert error.where.endswith(f"test.toml:{line_of(text, new)}: {at}"), error.where
        assert says in error.message


def test_a_deed_that_nothing_can_take_back_is_not_healed(tmp_path: Path) -> None:
    panic = '[[timeline]]\nat = "1s"\nfault = "sysrq"\nmachine = "A"\nkey = "c"\n'
    for more, at in (
        ('for = "1s"\n', "timeline[2].for"),
        ('[[timeline]]\nat = "9s"\nheal = "sysrq"\n', "heal"),
    ):
        error = refused(tmp_path, FLOOD.replace("[judge]", f"{panic}{more}[judge]"))
        assert "'sysrq' can not be healed" in error.message
        assert error.where.endswith(at)


def test_a_known_answer_must_name_outcomes(tmp_path: Path) -> None:
    text = changed('control = "recovered"', 'answer = { outcome = "recoverd" }')
    error = refused(tmp_path, text)
    assert "no outcome 'recoverd'" in error.message
    assert error.where.endswith("variants.b-silent.answer.outcome")


def test_two_faults_need_two_names(tmp_path: Path) -> None:
    twice = FLOOD.replace(
        "[judge]", '[[timeline]]\nat = "1s"\nfault = "freeze"\nname = "cut"\nmachine = "C"\n[judge]'
    )
    error = refused(tmp_path, twice)
    assert "two faults are called 'cut'" in error.message
    assert error.where.endswith("timeline[2].name")


def test_what_is_not_in_force_can_not_be_healed_nor_stopped(tmp_path: Path) -> None:
    for deed, says in (('heal = "cut"', "is not in force then"), ('stop = "flood"', "does not run then")):
        text = FLOOD.replace("[judge]", f'[[timeline]]\nat = "30s"\n{deed}\n[judge]')
        assert says in refused(tmp_path, text).message


def test_heal_and_stop_may_be_said_apart(tmp_path: Path) -> None:
    text = FLOOD.replace('for = "$outage"\n', "").replace('for = "$flood"\n', "")
    text = text.replace(
        "[judge]",
        '[[timeline]]\nat = "$outage"\nheal = "cut"\n[[timeline]]\nat = "$flood"\nstop = "flood"\n[judge]',
    )
    path = tmp_path / "test.toml"
    path.write_text(text)
    file = stage.read_playbook(path)
    kernel = PlannedKernel(spec=KernelSpec(base="6.1"), digest="a" * 24)
    plan = stage.plan(stage.topology_of(file), file, stage.Kernels(kernel, kernel), "image", Choices())
    assert [event.at_s for event in plan.events] == [0, 3, 9, 16]
    assert plan.judging.heals == ("cut",)


# --- outages and the kernel's timers


def test_an_outage_beyond_the_transports_timers_is_refused(tmp_path: Path) -> None:
    error = refused(tmp_path, FLOOD, settings={"outage": "20min"})
    assert "1200 s, but after 924.6 s TCP gives the connection up" in error.message
    assert error.where.endswith("timeline[0].for")
    assert "allow_beyond_timers = true" in error.hint
    error = refused(tmp_path, FLOOD, transport="nfs3", settings={"outage": "4min"})
    assert "after 180 s sunrpc's TCP user timeout" in error.message


LONG = (PLAYBOOKS / "long-outage.toml").read_text()


@pytest.mark.parametrize(("kind", "ends_s"), [("nbd", "924.6"), ("iscsi", "3600"), ("nvme-tcp", "3600")])
def test_what_is_allowed_of_one_transport_is_not_of_another_whose_device_ends(
    tmp_path: Path, kind: str, ends_s: str
) -> None:
    error = refused(tmp_path, LONG, transport=kind, form="soak")
    assert error.message == f"'cut' lasts 14400 s, but after {ends_s} s {kind} fails all requests"
    assert f'kind = "{kind}" and allow_beyond_timers = true' in error.hint
    assert plan_of(tmp_path, LONG, transport=kind).transport is not None
    for own in ("nfs3", "nfs4"):
        assert plan_of(tmp_path, LONG, transport=own, form="soak").transport is not None


@pytest.mark.parametrize(
    ("kind", "setting", "says"),
    [
        ("nfs4", "90s", "the client's lease runs out"),
        ("nvme-tcp", "30s", "the host drops its connections for a request without an answer (io_timeout)"),
        ("iscsi", "30s", "SCSI's error handling begins (command_timeout)"),
    ],
)
def test_every_transport_allows_the_short_outage_and_names_its_shortest_timer(
    tmp_path: Path, kind: str, setting: str, says: str
) -> None:
    error = refused(tmp_path, FLOOD, transport=kind, settings={"outage": setting})
    assert f"after {setting.rstrip('s')} s {says}" in error.message
    plan_of(tmp_path, FLOOD, transport=kind)


THIN = ('cmdline = "$cmdline"\n', 'cmdline = "$cmdline"\nroot_from = "{}"\n')


@pytest.mark.parametrize(
    "cut",
    [
        'fault = "drop"\nname = "cut"\nbetween = ["A", "C"]',
        'fault = "drop"\nname = "cut"\nbetween = ["C", "A"]\ndirection = "back"',
        'fault = "freeze"\nname = "cut"\nmachine = "C"',
    ],
)
def test_an_outage_beyond_the_timers_of_a_root_is_refused(tmp_path: Path, cut: str) -> None:
    # Over UDP the swap has no timer of its own: what is refused is refused for the root.
    text = changed('fault = "drop"\nname = "cut"\nbetween = ["A", "C"]', cut)
    text = changed('kind = "nbd"', 'kind = "nfs3"\nproto = "udp"', text)
    plan_of(tmp_path, text, settings={"outage": "16min"})
    thin = changed(THIN[0], THIN[1].format("C"), text)
    plan_of(tmp_path, thin, settings={"outage": "15min"})
    error = refused(tmp_path, thin, settings={"outage": "16min"})
    assert "'cut' lasts 960 s, but after 960 s sunrpc's TCP user timeout replaces" in error.message
    assert error.message.endswith(" the connection of the root of 'A'")
    assert error.where.endswith("timeline[0].for") and "allow_beyond_timers = true" in error.hint
    allowed = changed('server = "C"', 'server = "C"\nallow_beyond_timers = true', thin)
    plan_of(tmp_path, allowed, settings={"outage": "16min"})


def test_a_root_that_an_outage_leaves_alone_has_no_part_in_it(tmp_path: Path) -> None:
    udp = changed('kind = "nbd"', 'kind = "nfs3"\nproto = "udp"')
    elsewhere = changed(THIN[0], THIN[1].format("B"), udp)
    plan_of(tmp_path, elsewhere, settings={"outage": "1h"})  # C is cut off, and A's root is B's
    flow = changed(
        'fault = "drop"\nname = "cut"\nbetween = ["A", "C"]',
        'fault = "flow"\nname = "cut"\nflow = "swap"',
        udp,
    )
    plan_of(tmp_path, changed(THIN[0], THIN[1].format("C"), flow), settings={"outage": "1h"})


def test_the_shortest_timer_is_named_be_it_the_swaps_or_the_roots(tmp_path: Path) -> None:
    thin = changed(THIN[0], THIN[1].format("C"))
    error = refused(tmp_path, thin, settings={"outage": "1h"})
    assert "after 924.6 s TCP gives the connection up" in error.message
    plan_of(tmp_path, FLOOD, variant="thin-client", form="soak")
    error = refused(tmp_path, thin, transport="nfs3", settings={"outage": "1h"})
    assert error.message.endswith("after 180 s sunrpc's TCP user timeout replaces the connection")


def test_a_disk_too_small_for_its_transport_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "test.toml"
    path.write_text(changed('size = "512MiB"', 'size = "16MiB"', ABC))
    small = load_toml(path, Topology)
    with pytest.raises(UsageError, match=r"disk 'swap' of machine 'C' is too small .* 16 MiB") as caught:
        plan_of(tmp_path, FLOOD, small, transport="nfs3")
    assert caught.value.hint == "give it 32 MiB or more in the topology"
    plan_of(tmp_path, FLOOD, small, transport="nvme-tcp", settings={"memory": "1x"})


def test_an_outage_that_is_never_healed_lasts_to_the_end_of_the_judging(tmp_path: Path) -> None:
    error = refused(tmp_path, FLOOD, variant="never-healed", settings={"bound": "16min"})
    assert "lasts 976 s" in error.message


def test_a_long_outage_may_be_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "test.toml"
    path.write_text(changed('server = "C"', 'server = "C"\nallow_beyond_timers = true'))
    file = stage.read_playbook(path)
    kernel = PlannedKernel(spec=KernelSpec(base="6.1"), digest="a" * 24)
    choices = Choices(settings={"outage": "20min"})
    plan = stage.plan(stage.topology_of(file), file, stage.Kernels(kernel, kernel), "image", choices)
    assert plan.judging.begin_at_s == 1200


# --- the command line's choices


@pytest.mark.parametrize(
    ("choices", "where", "says", "hint"),
    [
        ({"settings": {"outage": "3h"}}, "--set outage=3h", "above the most", "how long C is cut off"),
        ({"settings": {"outage": "3"}}, "--set outage=3", "is a word, but 'outage' is a duration", "'16s'"),
        (
            {"settings": {"outrage": "3s"}},
            "--set outrage=3s",
            "no parameter 'outrage'",
            "did you mean 'outage'",
        ),
        ({"nic": "e1000x"}, "--nic", "no NIC model 'e1000x'", "did you mean 'e1000'"),
        ({"transport": "nsf3"}, "--transport", "no transport of kind 'nsf3'", "did you mean 'nfs3'"),
        ({"form": "shrot"}, ": forms", "no form 'shrot'", "did you mean 'short'"),
        ({"variant": "b-silnt"}, ": variants", "no variant 'b-silnt'", "did you mean 'b-silent'"),
    ],
)
def test_a_wrong_choice_is_named(
    tmp_path: Path, choices: dict[str, object], where: str, says: str, hint: str
) -> None:
    error = refused(tmp_path, FLOOD, **choices)
    assert where in error.where
    assert says in error.message
    assert hint in error.hint


@pytest.mark.parametrize(
    ("name", "setting", "says"),
    [
        ("flood", "reserve=abc", "'abc' is a word, but 'reserve' is a number"),
        ("flood", "reserve=8", "8 is below the least that 'reserve' can be: 64"),
        ("transmit", "reserve=-5", "-5 is below the least that 'reserve' can be: 64"),
        ("transmit", "reserve=", "'' is a word, but 'reserve' is a number"),
        ("reserve-burn", "pages=junk", "'junk' is a word, but 'pages' is a number"),
        ("reserve-burn", "period=10", "'10' is a word, but 'period' is a duration"),
        ("reserve-burn", "period=20min", "20min is above the most that 'period' can be: 10min"),
        ("fragments", "room=1048576", "'1048576' is a word, but 'room' is a size"),
        ("fragments", "room=1MiB", "1MiB is below the least that 'room' can be: 3MiB"),
        ("fragments", "keep=30", "'30' is a word, but 'keep' is a duration"),
        ("tcp-limit", "tcp_mem=128 96 64", "'128 96 64' is not 3 numbers, each no less than the one before"),
        ("tcp-limit", "tcp_mem=64 96", "'64 96' is not 3 numbers"),
        ("tcp-limit", "tcp_mem=64 96 x", "'64 96 x' is not 3 numbers"),
        ("tcp-limit", "tcp_mem=0 96 128", "0 is below the least that 'tcp_mem' can be"),
    ],
)
def test_a_setting_of_the_kernel_has_a_range(tmp_path: Path, name: str, setting: str, says: str) -> None:
    text = (PLAYBOOKS / f"{name}.toml").read_text()
    key, _, value = setting.partition("=")
    error = refused(tmp_path, text, settings={key: value})
    assert (error.where, error.message[: len(says)]) == (f"--set {setting}", says)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("$outrage + 57s", "no parameter 'outrage'"),
        ("$outage + 57", "'57' is a word, but only times are added"),
        ("$rate + 57s", "'10kpps' is a packet rate, but only times are added"),
        ("$outage + 2h", "7216s is above the most that 'flood' can be: 1h"),
    ],
)
def test_a_sum_that_makes_no_sense_is_told_with_its_place(tmp_path: Path, value: str, says: str) -> None:
    error = refused(tmp_path, changed("$outage + 57s", value))
    assert error.message == says
    assert error.where.endswith("variants.flood-on.parameters.flood")


@pytest.mark.parametrize(
    ("key", "line", "says"),
    [
        ("min", 'min = "1s"', "'1s' is a duration, but 'tcp_mem' is a number"),
        ("default", 'default = "96 64 128"', "'96 64 128' is not 3 numbers"),
    ],
)
def test_several_numbers_are_bounded_one_by_one(tmp_path: Path, key: str, line: str, says: str) -> None:
    text = (PLAYBOOKS / "tcp-limit.toml").read_text()
    start = text.index(f"{key} = ")
    error = refused(tmp_path, text[:start] + line + text[text.index("\n", start) :])
    assert error.message.startswith(says) and error.where.endswith(f"parameters.tcp_mem.{key}")


def test_a_flood_of_a_service_without_tcp_has_no_connections(tmp_path: Path) -> None:
    error = refused(tmp_path, changed("tcp_port = 6900\n", ""))
    assert error.where.endswith("loads.flood.tcp_connections")
    assert error.message == "load 'service' takes no TCP connection" and "tcp_port = 6900" in error.hint


@pytest.mark.parametrize(
    ("lines", "at", "says"),
    [
        ("", "loads.flood", "it would send nothing: give it a 'rate', 'tcp_connections' or both"),
        ('tcp_connections = 1\nsizes = [{ size = "64B" }]', ".sizes", "no datagrams: give 'rate'"),
        ("tcp_connections = 1\nlone_fragments = true", ".lone_fragments", "no datagrams: give 'rate'"),
        ('rate = "1kpps"\ntcp_rate = "1kpps"', ".tcp_rate", "give 'tcp_connections', or leave this out"),
        ('rate = "1kpps"\ntcp_sizes = [{ size = "64B" }]', ".tcp_sizes", "give 'tcp_connections'"),
        ('tcp_connections = 1\ntcp_rate = "1MiB"', ".tcp_rate", "'1MiB'"),
        ('tcp_connections = 1\ntcp_sizes = [{ size = "64KiB" }]', ".tcp_sizes[0].size", "less than or equal"),
        (
            'rate = "1pps"\nsizes = [{ size = "9B", weight = 100 }, { size = "8B", weight = 100 },'
            ' { size = "7B", weight = 100 }]',
            ".sizes", "the weights sum up to 300, of at most 256",
        ),
    ],
)  # fmt: skip
def test_a_flood_that_can_not_be_names_its_place(tmp_path: Path, lines: str, at: str, says: str) -> None:
    parameter = FLOOD[FLOOD.index("[parameters.rate]") : FLOOD.index("[parameters.memory]")]
    own = FLOOD[FLOOD.index('rate = "$rate"') : FLOOD.index("# A second client of C")]
    error = refused(tmp_path, FLOOD.replace(parameter, "").replace(own, f"{lines}\n\n"))
    assert error.where.endswith(at) and says in error.message


def test_mke2fs_needs_a_transport_with_a_block_device(tmp_path: Path) -> None:
    error = refused(tmp_path, (PLAYBOOKS / "mke2fs.toml").read_text(), transport="nfs3")
    assert "brings no block device" in error.message


# --- topologies


@pytest.mark.parametrize(
    ("old", "new", "at", "says"),
    [
        ('kernel = "under-test"\n', "", "machines", "0 machines have kernel"),
        ('memory = "96MiB"', 'memory = "8MiB"', "machines.A.memory", "no guest boots"),
        ('memory = "96MiB"', "memory = 96", "machines.A.memory", "96 has no unit"),
        (
            'nics = [{ link = "data" }]', 'nics = [{ link = "dat" }]', "machines.B.nics[0].link",
            "no link 'dat'",
        ),
        ('model = "e1000e"', 'model = "e1000z"', "machines.A.nics[0].model", "no NIC model"),
        ('model = "e1000e"', 'model = "virtio-net"', "machines.A.nics[0].rx_ring", "has a fixed ring"),
        ('subnet = "10.77.1.0/24"', 'subnet = "10.77.1.1/24"', "links.data.subnet", "is no subnet"),
        ('subnet = "10.77.1.0/24"', 'subnet = "8.8.8.0/24"', "links.data.subnet", "not a private subnet"),
        ('name = "swap"', 'name = "root"', "machines.C.disks[0].name", "the name 'root' is taken"),
        ("[machines.B]", "[machines.a]", "machines", "too much alike"),
        ("[machines.B]", '[machines."B;reboot"]', "machines.B;reboot", "is not a name"),
        ("[machines.B]", "[machines.B]\nram = 1", "machines.B.ram", "unknown key"),
        (
            "[links.data]", '[links.mgmt]\nsubnet = "10.1.0.0/24"\n[links.data]', "links.mgmt",
            "the management link",
        ),
        ("[links.data]", '[links.x]\nsubnet = "10.77.0.0/16"\n[links.data]', "links.x.subnet", "overlaps"),
    ],
)  # fmt: skip
def test_a_wrong_topology_names_its_place(tmp_path: Path, old: str, new: str, at: str, says: str) -> None:
    path = tmp_path / "test.toml"
    path.write_text(changed(old, new, ABC))
    with pytest.raises(UsageError) as caught:
        stage.check_topology(load_toml(path, Topology))
    assert caught.value.where.endswith(f": {at}"), caught.value.where
    assert says in caught.value.message


def test_the_management_link_gives_way_to_the_users(tmp_path: Path) -> None:
    path = tmp_path / "test.toml"
    path.write_text(changed('subnet = "10.77.1.0/24"', 'subnet = "10.76.0.0/24"', ABC))
    kernel = PlannedKernel(spec=KernelSpec(base="6.1"), digest="a" * 24)
    plan = stage.idle(load_toml(path, Topology), stage.Kernels(kernel, kernel), "image")
    assert [link.subnet for link in plan.links] == ["10.77.0.0/24", "10.76.0.0/24"]
