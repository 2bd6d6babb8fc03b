"""Plans: what our playbooks become, deterministically, with their variants and overrides."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from testbed import plan as stage
from testbed.campaign.expectation import accepted
from testbed.campaign.repeats import place_of
from testbed.configuration import Outcome, Topology
from testbed.errors import UsageError
from testbed.judge import values as judge_values
from testbed.judge.detectors import detectors
from testbed.kernels import naming, patchset, resolve
from testbed.kernels.naming import PATCHES
from testbed.load import PLAYBOOKS, TOPOLOGIES, load_toml
from testbed.loads import LoadContext, load_of
from testbed.model import KernelSpec, Plan, PlannedKernel
from testbed.plan import Choices
from testbed.plan.machines import tap_name

SCENARIOS = sorted(path.stem for path in PLAYBOOKS.glob("*.toml") if path.stem != "selftest")


def kernels(spec: KernelSpec) -> stage.Kernels:
    support = stage.support_spec(spec)
    return stage.Kernels(
        PlannedKernel(spec=spec, digest="a" * 24), PlannedKernel(spec=support, digest="b" * 24)
    )


STOCK = KernelSpec(base="6.1")
VANILLA = KernelSpec(base="6.1", sets=("vanilla-2007",))
DEBIAN = KernelSpec(base="debian", prebuilt=True)
BURNER = KernelSpec(base="6.1", sets=("reserve-burner",))
KNOWN_ANSWER = KernelSpec(base="6.1", sets=("known-answer",))


def planned(name: str = "flood", spec: KernelSpec = VANILLA, **choices: object) -> Plan:
    file = stage.read_playbook(PLAYBOOKS / f"{name}.toml")
    return stage.plan(stage.topology_of(file), file, kernels(spec), "c" * 24, Choices(**choices))  # type: ignore[arg-type]


def argv(plan: Plan, name: str) -> list[str]:
    """The command that starts a load."""
    load = next(load for load in plan.loads if load.name == name)
    return load_of(load).argv(load.slot, LoadContext(plan, load))


def timeline(plan: Plan) -> list[tuple[float, str, str]]:
    return [(event.at_s, event.do, event.name) for event in plan.events]


# --- the flood


def test_the_short_flood_is_the_one_of_the_notes() -> None:
    plan = planned()
    assert timeline(plan) == [
        (0, "apply", "cut"),
        (3, "start", "flood"),
        (12, "stop", "flood"),
        (16, "revert", "cut"),
    ]
    assert plan.faults[0].options["between"] == ["A", "C"]
    assert plan.judging.begin_at_s == 16
    assert plan.judging.bound_s == 300
    assert plan.judging.heals == plan.judging.faults == ("cut",)
    assert plan.judging.progress[:2] == ("A/anonymous-1.work_units", "A/anonymous-2.work_units")
    assert plan.judging.in_flight == "A/blocksampler.in_flight_0"
    assert plan.judging.finish_loads == ("anonymous-1", "anonymous-2")
    assert plan.watched_devices == ("nbd0",)
    machine = plan.machine("A")
    assert machine.memory_bytes == 96 << 20
    assert (machine.nics[1].model, machine.nics[1].rx_ring) == ("e1000e", 64)


def test_the_long_form_lasts_longer() -> None:
    plan = planned(form="long")
    assert [at for at, _, _ in timeline(plan)] == [0, 3, 43, 50]
    assert plan.cell == "flood-long/vanilla-2007/e1000e/nbd/r1"


def test_loads_have_slots_of_their_own_and_say_when_they_start() -> None:
    plan = planned()
    assert [(load.name, load.machine, load.slot, load.start) for load in plan.loads] == [
        ("anonymous-1", "A", 3, "early"),
        ("anonymous-2", "A", 4, "early"),
        ("service", "A", 5, "early"),
        ("flood", "B", 3, "timeline"),
        ("second-client", "B", 4, "early"),
    ]


def test_a_prebuilt_kernel_gets_more_memory_and_loads_by_what_is_available() -> None:
    built, prebuilt = planned(), planned(spec=DEBIAN)
    assert built.loads[0].options | {"of": "RAM", "memory": "0.675x"} == built.loads[0].options
    assert prebuilt.loads[0].options["of"] == "MemAvailable"
    assert prebuilt.machine("A").memory_bytes == 192 << 20
    assert prebuilt.cell == "flood-short/debian/e1000e/nbd/r1"


def test_the_other_machines_run_the_base_without_sets() -> None:
    plan = planned()
    assert [plan.kernels[machine.kernel].spec.sets for machine in plan.machines] == [
        ("vanilla-2007",),
        (),
        (),
    ]


def test_hypotheses_are_labels_and_nothing_that_the_judge_sees_depends_on_the_kernel() -> None:
    plans = [
        planned(spec=spec, hypothesis=expect)
        for spec, expect in (
            (STOCK, None),
            (VANILLA, "stalled | livelocked"),
            (KernelSpec(base="6.1", sets=("complete-rx",)), "recovered"),
        )
    ]
    assert [plan.labels.expect for plan in plans] == ["recovered", "stalled | livelocked", "recovered"]
    assert plans[0].judging == plans[1].judging == plans[2].judging
    assert "vanilla" not in plans[1].judging.model_dump_json()


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_has_a_hypothesis_of_its_own(name: str) -> None:
    if name == "reserve-burn":  # stock has nothing that burns
        sets = ("recursive-reclaim", "reserve-burner")
        predicted = planned(name, KernelSpec(base="6.1", sets=sets)).labels.expect
        assert predicted is not None and accepted(predicted)
        return
    predicted = planned(name, STOCK).labels.expect
    assert predicted is not None and accepted(predicted)
    other_base = planned(name, KernelSpec(base="7.3")).labels.expect
    assert other_base == planned(name, DEBIAN).labels.expect == planned(name, STOCK).labels.expect


@pytest.mark.parametrize("name", SCENARIOS)
def test_of_a_variant_its_own_hypotheses_count_and_no_other(name: str) -> None:
    file = stage.read_playbook(PLAYBOOKS / f"{name}.toml")
    for variant, table in file.opening.variants.items():
        spec = KernelSpec(base="6.1", sets=stage.sets_needed(file, variant))
        labels = planned(name, spec, variant=variant, hypothesis="recovered").labels
        own = " | ".join(table.expect.get(spec.label, ())) or None
        assert labels.expect == (table.control or own)
        assert labels.control == (table.control is not None)


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_variant_is_a_control_or_says_what_is_predicted_of_kernels_that_there_are(name: str) -> None:
    file = stage.read_playbook(PLAYBOOKS / f"{name}.toml")
    for variant, table in file.opening.variants.items():
        assert table.control or table.expect, variant
        for kernel in table.expect:
            spec = resolve(kernel)
            assert planned(name, spec, variant=variant).labels.expect == " | ".join(table.expect[kernel])


def test_a_hypothesis_of_a_variant_is_by_kernel_on_every_base_and_no_control() -> None:
    labels = planned(spec=STOCK, variant="storm").labels
    assert (labels.expect, labels.control) == ("recovered", False)
    newer = planned(spec=KernelSpec(base="7.3", sets=("vanilla-2007",)), variant="storm").labels
    assert (newer.kernel, newer.expect) == ("vanilla-2007@7.3", "deadlocked")
    other = planned(spec=KernelSpec(base="6.1", sets=("complete-rx",)), variant="storm").labels
    assert (other.expect, other.control) == (None, False)
    assert planned(variant="b-silent").labels.control and not planned().labels.control
    assert planned("selftest", STOCK, variant="recovery-50s").labels.control


@pytest.mark.parametrize("folder", sorted(PATCHES.glob("*/set.toml")), ids=lambda path: path.parent.name)
def test_a_set_predicts_outcomes_of_playbooks_that_there_are(folder: Path) -> None:
    expect = patchset.about(folder.parent.name, PATCHES).expect
    assert set(expect) <= {path.stem for path in PLAYBOOKS.glob("*.toml")}
    assert all(accepted(outcomes) for outcomes in expect.values())


# --- variants


def test_b_silent_has_the_outage_and_no_flood() -> None:
    plan = planned(variant="b-silent")
    assert timeline(plan) == [(0, "apply", "cut"), (16, "revert", "cut")]
    assert "flood" not in {load.name for load in plan.loads}
    assert plan.judging.requires == ("in-flight", "still")
    assert plan.labels.expect == "recovered"
    assert plan.cell == "flood-short-b-silent/vanilla-2007/e1000e/nbd/r1"


def test_no_partition_has_the_flood_alone() -> None:
    plan = planned(variant="no-partition")
    assert timeline(plan) == [(3, "start", "flood"), (12, "stop", "flood")]
    assert (plan.judging.heals, plan.judging.faults, plan.judging.requires) == ((), (), ("exhausted",))
    assert plan.judging.begin_at_s == 16


def test_never_healed_is_judged_where_the_heal_would_have_been() -> None:
    plan = planned(variant="never-healed")
    assert (16, "revert", "cut") not in timeline(plan)
    assert (plan.judging.heals, plan.judging.faults) == ((), ("cut",))
    assert (plan.judging.begin_at_s, plan.judging.bound_s) == (16, 60)
    assert plan.labels.expect == "not recovered"


def test_a_variant_adds_loads_deeds_and_rules_to_the_playbook() -> None:
    plan = planned("selftest", STOCK, variant="recovery-50s")
    assert timeline(plan) == [(0, "start", "hold"), (1, "apply", "cut"), (9, "revert", "cut")]
    hold = next(load for load in plan.loads if load.name == "hold")
    assert (hold.machine, hold.page_kind, hold.start) == ("C", "deed", "timeline")
    assert hold.options["resume_after"] == "59s"
    assert plan.labels.expect == "recovered"
    locks = planned("selftest", KNOWN_ANSWER, variant="lock-cycle")
    assert locks.judging.progress == ("A/reader.reads",)
    assert (locks.judging.heals, locks.judging.begin_at_s) == ((), 9)


def test_a_variant_does_not_change_what_the_others_are(tmp_path: Path) -> None:
    text = (PLAYBOOKS / "selftest.toml").read_text()
    other = tmp_path / "selftest.toml"
    other.write_text(text.replace('rate = "1Mbit/s"', 'rate = "2Mbit/s"'))
    assert other.read_text() != text

    def hashed(path: Path, variant: str) -> str:
        file = stage.read_playbook(path)
        made = stage.plan(stage.topology_of(file), file, kernels(STOCK), "c" * 24, Choices(variant=variant))
        return made.inputs["playbook"]

    for variant, same in (("", True), ("panic", True), ("slow-link", False)):
        assert (hashed(other, variant) == hashed(PLAYBOOKS / "selftest.toml", variant)) is same


def test_every_known_answer_can_be_given() -> None:
    answers = stage.read_playbook(PLAYBOOKS / "selftest.toml").answers
    names = {name for name, _ in detectors()}
    assert len(answers) > 20
    for variant, answer in answers.items():
        assert set(answer.by) <= names, variant
        assert naming.resolve(answer.kernel).label == answer.kernel


# --- choices


def test_settings_change_parameters_and_show_in_the_labels() -> None:
    plan = planned(settings={"outage": "20s", "rate": "5kpps"})
    assert plan.judging.begin_at_s == 20
    flood = next(load for load in plan.loads if load.name == "flood")
    assert flood.options["rate"] == "5000pps"
    assert plan.labels.form == "short,outage=20s,rate=5kpps"
    assert plan.cell == "flood-short,outage=20s,rate=5kpps/vanilla-2007/e1000e/nbd/r1"


def test_the_judging_point_waits_for_a_flood_that_outlasts_the_heal() -> None:
    assert planned(settings={"flood": "40s"}).judging.begin_at_s == 43


def test_a_flood_that_outlasts_the_heal_is_what_is_judged_under() -> None:
    assert planned(variant="flood-on").judging.through == ("flood",)
    assert planned(variant="flood-on").judging.begin_at_s == 76
    assert planned().judging.through == ()
    assert planned(settings={"flood": "13s"}).judging.through == ()  # it ends with the outage
    assert planned(variant="never-healed", settings={"flood": "40s"}).judging.through == ()
    assert planned(variant="b-silent", settings={"flood": "40s"}).judging.through == ()


def test_memory_must_be_whole_where_the_playbook_says_so() -> None:
    rule = planned("fragmentation", STOCK, settings={"least": "0.8"}).judging.blocks
    assert rule is not None and (rule.order, rule.least) == (3, 0.8)
    assert planned().judging.blocks is None


def test_dirty_memory_of_mke2fs_is_a_setting() -> None:
    machine = planned("mke2fs", STOCK, settings={"dirty": "100"}).machine("A")
    assert machine.sysctl == {"vm.dirty_ratio": "100", "vm.dirty_background_ratio": "1"}


def test_nic_changes_the_subject_alone_and_drops_a_ring_that_its_driver_does_not_set() -> None:
    plan = planned(nic="virtio-net")
    nics = {machine.name: machine.nics for machine in plan.machines}
    assert [nic.model for nic in nics["A"]] == ["rtl8139", "virtio-net"]
    assert nics["A"][1].rx_ring is None
    assert nics["B"][1].model == "e1000e"
    assert plan.cell == "flood-short/vanilla-2007/virtio-net/nbd/r1"


def test_the_same_flood_over_nfs() -> None:
    plan = planned(transport="nfs3")
    assert plan.transport is not None and plan.transport.options["timeo"] == "60s"
    assert plan.watched_devices == ()
    assert plan.judging.in_flight == "A/vmsampler.rpc_in_flight"
    assert plan.judging.progress[-1] == "A/vmsampler.rpc_data_done"
    assert plan.cell == "flood-short/vanilla-2007/e1000e/nfs3/r1"


def test_repeats_differ_in_seed_and_name() -> None:
    first = planned(seed=7)
    second = stage.repeated(first, 2)
    assert (first.seed, second.seed) == (7, 8)
    assert first.cell != second.cell


def test_another_base_shows_in_the_label() -> None:
    assert planned(spec=KernelSpec(base="5.10")).labels.kernel == "stock@5.10"


# --- mke2fs, the idle lab, all files


def test_mke2fs_watches_both_members_and_ends_by_its_exit() -> None:
    plan = planned("mke2fs", STOCK)
    assert plan.watched_devices == ("nbd0", "vdc")
    assert plan.judging.progress == (
        "A/blocksampler.writes_completed_1",
        "A/blocksampler.writes_completed_0",
        "A/blocksampler.reads_completed_0",
    )
    assert (plan.judging.finish, plan.judging.finish_loads) == ("exit", ("mke2fs",))
    assert timeline(plan) == [(0, "start", "mke2fs"), (1.5, "apply", "cut"), (11.5, "revert", "cut")]
    assert (plan.loads[0].kind, plan.loads[0].page_kind) == ("mke2fs", "job")


def test_the_reserve_is_burnt_without_a_fault_and_judged_when_the_burning_is_over() -> None:
    plan = planned("reserve-burn", BURNER)
    settings = [(0, "start", "period"), (0, "start", "pages")]
    assert timeline(plan) == [*settings, (0.5, "start", "burn"), (32, "start", "end")]
    assert (plan.judging.requires, plan.judging.begin_at_s) == (("burned",), 32)


def test_every_way_to_burn_the_reserve_that_the_set_counts_is_asked_for_by_some_variant() -> None:
    """A counter that no playbook can move says nothing of its code."""
    base = planned("reserve-burn", BURNER)
    atomic = planned("reserve-burn", BURNER, variant="atomic")
    assert [event.at_s for event in atomic.events] == [event.at_s for event in base.events]
    assert atomic.judging.begin_at_s == 32
    written = [{str(load.options.get("file")) for load in plan.loads} for plan in (base, atomic)]
    for counter in patchset.about("reserve-burner", PATCHES).counters:
        way = Path("/sys/kernel/debug", counter).parent
        assert sum(str(way / "burn") in files for files in written) == 1, counter


@pytest.mark.parametrize(("form", "end_s"), [("short", 32), ("long", 1800), ("soak", 4 * 3600)])
def test_nothing_burnt_is_judged_when_the_burning_would_have_been_over(form: str, end_s: float) -> None:
    plan = planned("reserve-burn", BURNER, variant="no-burn", form=form)
    assert plan.judging.begin_at_s == planned("reserve-burn", BURNER, form=form).judging.begin_at_s == end_s
    assert [load.machine for load in plan.loads if load.kind == "write"] == ["B"]


@pytest.mark.parametrize(("form", "written"), [("short", "10000"), ("soak", "120000")])
def test_the_reserve_is_burnt_every_so_often(form: str, written: str) -> None:
    plan = planned("reserve-burn", BURNER, form=form)
    assert argv(plan, "period")[-2:] == ["--text", written]
    assert argv(plan, "pages")[-2:] == ["--text", "3000"]


@pytest.mark.parametrize("form", stage.read_playbook(PLAYBOOKS / "flood.toml").forms)
def test_the_flood_that_goes_on_ends_a_minute_after_the_heal_in_every_form(form: str) -> None:
    at = {(do, name): at_s for at_s, do, name in timeline(planned(form=form, variant="flood-on"))}
    assert at["stop", "flood"] == at["revert", "cut"] + 60


def test_what_is_given_counts_for_a_sum_and_in_place_of_it() -> None:
    later = planned(variant="flood-on", settings={"outage": "30s"})
    assert timeline(later)[-1] == (90, "stop", "flood")
    other = planned(variant="flood-on", settings={"flood": "20s"})
    assert timeline(other)[-1] == (23, "stop", "flood")


def test_what_is_written_into_the_kernel_has_its_unit_in_the_playbook() -> None:
    fragments = planned("fragments", STOCK)
    assert argv(fragments, "room")[-1] == str(256 << 20) and argv(fragments, "keep")[-1] == "30"
    own = planned("fragments", STOCK, variant="kernels-own-limit")
    assert argv(own, "room")[-1] == str(4 << 20)
    assert argv(planned("transmit", STOCK), "reserve")[-1] == "256"
    assert argv(planned("tcp-limit", STOCK), "limit")[-1] == "64 96 128"
    assert planned().machine("A").sysctl.get("vm.min_free_kbytes") is None
    reserve = planned(settings={"reserve": "9830"})
    assert (reserve.machine("A").sysctl["vm.min_free_kbytes"], reserve.labels.form) == (
        "9830",
        "short,reserve=9830",
    )


@pytest.mark.parametrize("variant", ["", "b-silent"])
def test_tcp_is_at_its_limit_before_anybody_swaps(variant: str) -> None:
    plan = planned("tcp-limit", STOCK, variant=variant)
    starts = {load.name: load.start for load in plan.loads}
    assert starts["anonymous-1"] == starts["anonymous-2"] == "timeline"
    at = {(do, name): at_s for at_s, do, name in timeline(plan)}
    if variant == "":
        assert at["start", "limit"] < at["start", "flood"] < at["start", "anonymous-1"]
    assert plan.judging.begin_at_s >= 30 > at["start", "anonymous-1"]
    assert plan.judging.slow_share == 0


def test_readers_whose_memory_is_swapped_out_need_swap_from_before_on() -> None:
    plan = planned("tcp-limit", STOCK, variant="swapped-readers")
    assert {load.start for load in plan.loads if load.kind == "anonymous"} == {"early"}
    assert (plan.judging.finish_loads, plan.judging.slow_share) == (("early-1", "early-2"), 0.25)


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_has_a_short_form_and_one_of_hours(name: str) -> None:
    spec = BURNER if name == "reserve-burn" else STOCK
    short, soak = (planned(name, spec, form=form).judging for form in ("short", "soak"))
    assert short.begin_at_s + short.bound_s < 15 * 60
    assert soak.begin_at_s + soak.bound_s >= 4 * 3600


def test_the_server_may_be_slow_in_place_of_gone() -> None:
    plan = planned(variant="slow")
    assert [fault.kind for fault in plan.faults] == ["rate"]
    assert timeline(plan)[0] == (0, "apply", "slow") and timeline(plan)[-1] == (16, "revert", "slow")
    assert (plan.judging.heals, plan.judging.requires) == (("slow",), ("in-flight", "exhausted"))


@pytest.mark.parametrize("form", ["short", "long", "soak"])
@pytest.mark.parametrize(("variant", "kind"), [("server-down", "server-kill"), ("server-frozen", "freeze")])
def test_the_server_itself_may_be_gone_for_as_long_as_the_link(variant: str, kind: str, form: str) -> None:
    plan, cut = (planned("long-outage", STOCK, form=form, variant=name) for name in (variant, ""))
    assert [(fault.kind, fault.options["machine"]) for fault in plan.faults] == [(kind, "C")]
    assert [event.at_s for event in plan.events] == [event.at_s for event in cut.events]
    assert plan.judging.begin_at_s == cut.judging.begin_at_s
    assert plan.judging.heals == (plan.faults[0].name,)


def test_the_way_to_the_server_may_be_another() -> None:
    direct, more = (planned(variant=name) for name in ("direct-export", "connections"))
    assert direct.transport is not None and more.transport is not None
    assert (direct.transport.options["program"], direct.transport.options["direct"]) == ("qemu-nbd", True)
    assert (more.transport.options["connections"], more.machine("A").vcpus) == (2, 2)


def test_fragments_may_meet_swap_over_datagrams() -> None:
    plan = planned("fragments", STOCK, variant="nfs-udp")
    assert plan.transport is not None
    assert (plan.transport.kind, plan.transport.options["proto"]) == ("nfs3", "udp")


def test_an_idle_plan_has_machines_and_nothing_else() -> None:
    plan = stage.idle(load_toml(TOPOLOGIES / "abc.toml", Topology), kernels(STOCK), "c" * 24)
    assert plan.cell == "abc/stock/e1000e"
    assert (plan.transport, plan.loads, plan.events) == (None, (), ())


@pytest.mark.parametrize("path", sorted(PLAYBOOKS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_playbook_of_ours_can_be_played_in_every_form_and_variant(path: Path) -> None:
    file = stage.read_playbook(path)
    assert stage.check_playbook(file, stage.topology_of(file)) >= 2


def on_topology(chosen: str | None, name: str = "flood", **choices: object) -> Plan:
    file = stage.read_playbook(PLAYBOOKS / f"{name}.toml")
    made = Choices(topology=chosen, **choices)  # type: ignore[arg-type]
    return stage.plan(stage.topology_of(file, chosen), file, kernels(VANILLA), "c" * 24, made)


def test_another_topology_has_its_own_machines_and_is_another_cell() -> None:
    plan, usual = on_topology("abc-nics", settings={"outage": "20s"}), on_topology(None)
    assert {machine.name: machine.nics[-1].model for machine in plan.machines} != {
        machine.name: machine.nics[-1].model for machine in usual.machines
    }
    assert (plan.machine("A").vcpus, usual.machine("A").vcpus) == (2, 1)
    assert plan.labels.form == "short,topology=abc-nics,outage=20s"
    assert plan.cell == "flood-short,topology=abc-nics,outage=20s/vanilla-2007/virtio-net/nbd/r1"
    same_nic = on_topology("abc-nics", nic="e1000e")
    assert place_of(same_nic.labels) != place_of(usual.labels)
    assert same_nic.inputs["topology"] != usual.inputs["topology"]


def test_the_playbooks_own_topology_is_no_other_one() -> None:
    assert on_topology("abc") == on_topology(None) == planned()


def test_a_topology_that_there_is_not_or_that_lacks_a_disk_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        on_topology("abc-nic")
    assert caught.value.where == "--topology" and "'abc-nics'" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        on_topology("../topologies/abc")
    assert caught.value.where == "--topology"
    with pytest.raises(UsageError, match="disk"):
        on_topology("abc-nics", "mke2fs")


@pytest.mark.parametrize("path", sorted(TOPOLOGIES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_topology_of_ours_is_sound(path: Path) -> None:
    stage.check_topology(load_toml(path, Topology))


# --- properties of every plan


@pytest.mark.parametrize("variant", ["", "b-silent", "no-partition", "never-healed"])
def test_plans_are_deterministic_and_survive_json(variant: str) -> None:
    plan = planned(variant=variant)
    assert plan == planned(variant=variant)
    assert Plan.model_validate_json(plan.model_dump_json()) == plan


def test_addresses_macs_and_taps_are_unique_and_fit_the_kernel() -> None:
    plan = planned()
    nics = [nic for machine in plan.machines for nic in machine.nics]
    for field in ("mac", "address", "tap"):
        assert len({getattr(nic, field) for nic in nics}) == len(nics)
    assert all(re.fullmatch(r"52:54:00(:[0-9a-f]{2}){3}", nic.mac) for nic in nics)
    assert all(len(nic.tap) <= 15 for nic in nics)
    assert all(machine.nics[0].model == "rtl8139" for machine in plan.machines)
    assert plan.links[0].management and plan.links[0].host_address == "10.76.0.254/24"
    assert not plan.links[1].management and plan.links[1].host_address is None


def test_long_names_make_short_taps_that_differ() -> None:
    one, other = tap_name("storage-one", "backbone-a"), tap_name("storage-one", "backbone-b")
    assert len(one) <= 15 and len(other) <= 15 and one != other


def test_layout_and_comments_do_not_change_what_a_file_is(tmp_path: Path) -> None:
    text = (PLAYBOOKS / "flood.toml").read_text()
    path = tmp_path / "flood.toml"
    path.write_text("# another comment\n\n" + text)
    same = stage.read_playbook(path).source.digest
    path.write_text(text.replace('default = "10kpps"', 'default = "11kpps"'))
    assert same == stage.read_playbook(PLAYBOOKS / "flood.toml").source.digest
    assert same != stage.read_playbook(path).source.digest


def test_the_outcomes_to_expect_are_the_judges() -> None:
    assert set(Outcome.__args__) == set(judge_values.OUTCOMES)  # type: ignore[attr-defined]
