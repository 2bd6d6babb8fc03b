"""What a playbook has otherwise of its topology's machines: CPUs, settings, words for the kernel, disks."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_plan_errors import ABC, FLOOD, changed, line_of, plan_of, refused

from testbed.configuration import Topology
from testbed.load import load_toml
from testbed.model import Plan


def a_of(plan: Plan) -> dict[str, object]:
    machine = plan.machine("A")
    disks = tuple(disk.name for disk in machine.disks)
    return {"vcpus": machine.vcpus, "cmdline": machine.cmdline, "sysctl": machine.sysctl, "disks": disks}


def test_parameters_reach_the_machine_and_nothing_else(tmp_path: Path) -> None:
    plain = plan_of(tmp_path, FLOOD)
    set_ = {"vcpus": "4", "reserve": "9830", "cmdline": "threadirqs nosmt"}
    plan = plan_of(tmp_path, FLOOD, settings=set_)
    assert a_of(plain)["vcpus"] == 1 and a_of(plain)["cmdline"] == ""
    assert "vm.min_free_kbytes" not in plain.machine("A").sysctl  # an empty one stays as the kernel has it
    machine = plan.machine("A")
    assert (machine.vcpus, machine.cmdline) == (4, "threadirqs nosmt")
    assert machine.sysctl == plain.machine("A").sysctl | {"vm.min_free_kbytes": "9830"}
    assert plan.machine("C") == plain.machine("C")
    assert plan.labels.form == "short,cmdline=threadirqs nosmt,reserve=9830,vcpus=4"


def test_a_machine_of_the_topology_may_have_words_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "abc.toml"
    path.write_text(changed('kernel = "under-test"', 'kernel = "under-test"\ncmdline = "psi=1"', ABC))
    topology = load_toml(path, Topology)
    silent = changed('cmdline = "$cmdline"\n', "", changed('[parameters.cmdline]\ndefault = ""\n', "", FLOOD))
    silent = changed('help = "words for the command line of A\'s kernel, as threadirqs"\n', "", silent)
    assert plan_of(tmp_path, silent, topology).machine("A").cmdline == "psi=1"
    assert plan_of(tmp_path, FLOOD, topology).machine("A").cmdline == "psi=1"
    both = plan_of(tmp_path, FLOOD, topology, settings={"cmdline": "threadirqs"})
    assert both.machine("A").cmdline == "psi=1 threadirqs"


def test_a_setting_comes_in_the_place_of_the_topologys(tmp_path: Path) -> None:
    text = changed(
        '"vm.min_free_kbytes" = "$reserve"', '"net.core.rmem_max" = 4096\n"vm.x" = "$reserve"', FLOOD
    )
    sysctl = plan_of(tmp_path, text).machine("A").sysctl
    assert sysctl["net.core.rmem_max"] == "4096" and "net.ipv4.tcp_mem" in sysctl


def test_a_variant_changes_a_machine_key_by_key(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, FLOOD, variant="mixed", settings={"vcpus": "2"})
    assert a_of(plan)["vcpus"] == 2 and a_of(plan)["disks"] == ("cache",)
    assert a_of(plan_of(tmp_path, FLOOD))["disks"] == ()
    load = next(load for load in plan.loads if load.name == "anonymous-1")
    assert (load.options["mapped"], load.options["disk"]) == (0.3, "cache")


@pytest.mark.parametrize(
    ("old", "new", "at", "says", "hint"),
    [
        ("[machines.A]", "[machines.D]", "machines.D", "no machine 'D' in the topology", "known: A, B, C"),
        ('vcpus = "$vcpus"', 'vcpu = "$vcpus"', "machines.A.vcpu", "unknown key", "did you mean 'vcpus'"),
        ('vcpus = "$vcpus"', 'vcpus = "$vcpus"\nmemory = 96', "machines.A.memory", "96 has no unit", ""),
        (
            '[machines.A.sysctl]\n', '[machines.A.sysctl]\n"vm/x" = 1\n', "machines.A.sysctl",
            "is no sysctl", "",
        ),
        (
            'cmdline = "$cmdline"', 'cmdline = "$cmdline"\ndisks = [{ name = "root", size = "1MiB" }]',
            "machines.A.disks[0].name", "has a disk 'root' already", "",
        ),
    ],
)  # fmt: skip
def test_what_no_machine_can_have_is_refused_with_its_place(
    tmp_path: Path, old: str, new: str, at: str, says: str, hint: str
) -> None:
    text = changed(old, new)
    error = refused(tmp_path, text)
    assert says in error.message
    assert hint in (error.hint or "")
    line = new.splitlines()[0 if at.endswith("sysctl") else -1]  # of a table the place is its head
    assert f":{line_of(text, line)}: {at}" in error.where


def test_a_variants_mistake_is_told_where_the_variant_makes_it(tmp_path: Path) -> None:
    text = changed(
        "parameters = { mapped = 0.3 }\nmachines.A.disks", "parameters = { mapped = 0.3 }\nmachines.A.disk"
    )
    error = refused(tmp_path, text, variant="mixed")
    assert error.message.startswith("unknown key") and "variants.mixed.machines.A.disk" in error.where


def test_a_variants_sysctl_leaves_the_others_as_the_playbook_has_them(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, FLOOD, variant="writer", settings={"reserve": "9830"})
    sysctl = plan.machine("A").sysctl
    assert sysctl["vm.dirty_bytes"] == "1048576" and sysctl["vm.min_free_kbytes"] == "9830"
    text = changed('machines.A.sysctl = { "vm.dirty_bytes" = ', 'machines.A.sysctl = { "vm.dirty/bytes" = ')
    error = refused(tmp_path, text, variant="writer")
    assert "is no sysctl" in error.message
    text = changed('"vm.min_free_kbytes" = "$reserve"', '"vm/min_free_kbytes" = "$reserve"')
    assert f":{line_of(text, '[machines.A.sysctl]')}: " in refused(tmp_path, text, variant="writer").where


def test_a_setting_that_the_variant_does_not_use_is_refused(tmp_path: Path) -> None:
    error = refused(tmp_path, FLOOD, settings={"request": "64KiB"})
    assert error.message == "'request' is used by other variants alone"
    assert error.hint == "it is by: small-requests" and error.where == "--set request=64KiB"
    plan_of(tmp_path, FLOOD, variant="small-requests", settings={"request": "64KiB"})


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"vcpus": "9"}, "above the most"),
        ({"mapped": "0.95"}, "above the most"),
        ({"cmdline": "two  blanks"}, "should match pattern"),
        ({"mapped": "0.3"}, "no disk 'cache' on machine 'A'"),
        ({"order": "sideways"}, "'sideways' is none of 'random', 'linear' or 'exchange'"),
    ],
)
def test_settings_that_can_not_be_are_refused(tmp_path: Path, settings: dict[str, str], says: str) -> None:
    assert says in refused(tmp_path, FLOOD, settings=settings).message
