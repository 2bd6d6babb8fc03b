"""What can not be played between these machines, on these kernels: said before they boot, with a remedy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast, get_args

import pytest

from testbed import plan as stage
from testbed.configuration import Topology
from testbed.errors import UsageError
from testbed.history import Writer
from testbed.kernels.builder import FRAGMENT
from testbed.kernels.config import Configured, config_text, parse_config, parse_fragment
from testbed.load import PLAYBOOKS, TOPOLOGIES, load_toml
from testbed.machines.nics import MODELS
from testbed.model import KernelSpec, Plan, PlannedKernel
from testbed.plan import Choices, check_options
from testbed.proc import Completed
from testbed.run import provision
from testbed.run.lab import Lab
from testbed.transports import Ends, stacks, transport_of
from tests.test_plan_plugins import Notebook
from tests.test_plan_plugins import planned as planned_here

FLOOD = (PLAYBOOKS / "flood.toml").read_text()
ABC = (TOPOLOGIES / "abc.toml").read_text()
NICS = (TOPOLOGIES / "abc-nics.toml").read_text()
FILE_SYSTEM = Path(__file__).parent / "data" / "file-system.toml"
REMOTE = ("nbd", "nfs3", "nfs4", "nvme-tcp", "iscsi")
BUILT = parse_config(config_text(parse_fragment(FRAGMENT.read_text(), FRAGMENT)))


def changed(text: str, *changes: tuple[str, str]) -> str:
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def planned(folder: Path, text: str = FLOOD, topology: str = ABC, **choices: Any) -> Plan:
    (folder / "test.toml").write_text(text)
    (folder / "topology.toml").write_text(topology)
    file = stage.read_playbook(folder / "test.toml")
    kernel = PlannedKernel(spec=KernelSpec(base="6.1"), digest="a" * 24)
    kernels = stage.Kernels(kernel, kernel)
    machines = load_toml(folder / "topology.toml", Topology)
    return stage.plan(machines, file, kernels, "image", Choices(**choices))


def refused(folder: Path, text: str = FLOOD, topology: str = ABC, **choices: Any) -> UsageError:
    with pytest.raises(UsageError) as caught:
        planned(folder, text, topology, **choices)
    assert caught.value.hint and caught.value.where, "it says where, and what to do"
    return caught.value


# --- an option that is off


def refused_by(plan: Plan, without: Sequence[str] = (), **more: str) -> UsageError:
    """The plan on kernels as they are built here, without these options."""
    options = {name: value for name, value in BUILT.items() if name not in without} | more
    kernel = Configured(options, modules=False, where="cache/config")
    with pytest.raises(UsageError) as caught:
        check_options(plan, {"under-test": kernel, "support": kernel})
    assert caught.value.where == "cache/config" and "another kernel" in caught.value.hint
    return caught.value


NOT_OVER = {
    ("flood-udp", "nfs4"): "NFS version 4 does not go over UDP",
    **{
        ("local-daemon", transport): f"'A' is client and server of {transport}, which is for two machines"
        for transport in REMOTE
    },
    **{
        (name, transport): "the transport brings no block device to work on"
        for name in ("mke2fs", "mke2fs-crossed")
        for transport in ("nfs3", "nfs4")
    },
}
"""What of our playbooks can not be played over what, and why."""


@pytest.mark.parametrize("playbook", sorted(PLAYBOOKS.glob("*.toml")), ids=lambda path: path.stem)
@pytest.mark.parametrize("transport", [None, *REMOTE])
def test_what_is_built_here_has_all_that_our_playbooks_need(playbook: Path, transport: str | None) -> None:
    file = stage.read_playbook(playbook)
    spec = KernelSpec(base="6.1", sets=stage.sets_needed(file, ""))
    kernel = PlannedKernel(spec=spec, digest="a" * 24)
    choices = Choices(transport=transport, form=(*file.forms, "")[0])

    def made() -> Plan:
        return stage.plan(stage.topology_of(file), file, stage.Kernels(kernel, kernel), "image", choices)

    if why := NOT_OVER.get((playbook.stem, transport or "")):
        with pytest.raises(UsageError, match=why):
            made()
        return
    plan, built = made(), Configured(BUILT, modules=False)
    check_options(plan, {"under-test": built, "support": built})


@pytest.mark.parametrize(
    ("transport", "option", "machine"),
    [
        ("nbd", "CONFIG_BLK_DEV_NBD", "A"),
        ("nfs3", "CONFIG_NFS_SWAP", "A"),
        ("nfs3", "CONFIG_NFS_V3", "A"),
        ("nfs3", "CONFIG_NFSD", "C"),
        ("nfs4", "CONFIG_NFS_V4", "A"),
        ("nfs4", "CONFIG_NFSD_V4", "C"),
        ("nvme-tcp", "CONFIG_NVME_TCP", "A"),
        ("nvme-tcp", "CONFIG_NVME_TARGET_TCP", "C"),
        ("iscsi", "CONFIG_ISCSI_TCP", "A"),
        ("iscsi", "CONFIG_TCM_IBLOCK", "C"),
    ],
)
def test_a_transport_whose_option_is_off_is_refused(
    tmp_path: Path, transport: str, option: str, machine: str
) -> None:
    error = refused_by(planned(tmp_path, transport=transport), [option])
    assert f"kernel 'stock' of machine '{machine}' lacks {option}" in error.message
    assert f"the transport {transport} can not be played" in error.message
    planned_without = planned(tmp_path, transport="nbd" if transport != "nbd" else "nfs3")
    others = Configured({name: value for name, value in BUILT.items() if name != option}, modules=False)
    check_options(planned_without, {"under-test": others, "support": others})


def test_who_borrows_from_the_server_needs_what_its_client_needs(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    whole = Configured(BUILT, modules=False)
    lacking = Configured({n: v for n, v in BUILT.items() if n != "CONFIG_BLK_DEV_NBD"}, modules=False)
    with pytest.raises(UsageError, match="machine 'B' lacks CONFIG_BLK_DEV_NBD"):
        check_options(plan, {"under-test": whole, "support": lacking})


@pytest.mark.parametrize("version", ["4.1", "4.2"])
def test_a_version_of_nfs_that_the_kernel_does_not_have_is_refused(tmp_path: Path, version: str) -> None:
    text = changed(FLOOD, ('kind = "nbd"\n', f'kind = "nfs4"\nversion = "{version}"\n'))
    error = refused_by(planned(tmp_path, text))
    assert "lacks CONFIG_PNFS_FILE_LAYOUT" in error.message
    if version == "4.2":
        without = ("CONFIG_NFS_V4_2",)
        error = refused_by(planned(tmp_path, text), without, CONFIG_PNFS_FILE_LAYOUT="y")
        assert "lacks CONFIG_NFS_V4_2" in error.message


@pytest.mark.parametrize(("release", "refused"), [("5.10.223", True), ("5.17.0", True), ("6.1.192", False)])
@pytest.mark.parametrize("kind", ["nfs3", "nfs4"])
def test_swap_over_nfs_is_refused_on_kernels_that_never_write_it(
    tmp_path: Path, kind: str, release: str, refused: bool
) -> None:
    kernel = Configured(BUILT, modules=False, where="cache/config", release=release)
    kernels = {"under-test": kernel, "support": Configured(BUILT, modules=False, release="6.1.192")}
    plan = planned(tmp_path, transport=kind)
    if not refused:
        check_options(plan, kernels)
        return
    with pytest.raises(UsageError, match=f"is {release}: swap over {kind} can not be played") as error:
        check_options(plan, kernels)
    assert "before 5.18" in error.value.message
    assert error.value.where == "cache/config" and "later base" in error.value.hint
    check_options(planned(tmp_path, transport="nbd"), kernels)
    check_options(planned(tmp_path, FILE_SYSTEM.read_text(), transport=kind), kernels)


def test_what_must_be_off_is_refused_where_it_is_on(tmp_path: Path) -> None:
    text = changed(FLOOD, ('kind = "nbd"\n', 'kind = "nfs3"\nproto = "udp"\n'))
    error = refused_by(planned(tmp_path, text), CONFIG_NFS_DISABLE_UDP_SUPPORT="y")
    assert "machine 'A' has CONFIG_NFS_DISABLE_UDP_SUPPORT: the transport nfs3" in error.message


def test_a_module_counts_only_where_it_is_loaded(tmp_path: Path) -> None:
    options = BUILT | {"CONFIG_BLK_DEV_NBD": "m"}
    plan = planned(tmp_path)
    loads = Configured(options, modules=True)
    check_options(plan, {"under-test": loads, "support": loads})
    assert "lacks CONFIG_BLK_DEV_NBD" in refused_by(plan, CONFIG_BLK_DEV_NBD="m").message


@pytest.mark.parametrize("model", MODELS)
def test_a_nic_whose_driver_is_off_is_refused(tmp_path: Path, model: str) -> None:
    error = refused_by(planned(tmp_path, nic=model), [MODELS[model].option])
    assert f"lacks {MODELS[model].option}: the NIC {model}" in error.message


def test_a_load_whose_option_is_off_is_refused() -> None:
    file = stage.read_playbook(PLAYBOOKS / "mke2fs.toml")
    kernel = PlannedKernel(spec=KernelSpec(base="6.1"), digest="a" * 24)
    kernels = stage.Kernels(kernel, kernel)
    plan = stage.plan(stage.topology_of(file), file, kernels, "image", Choices(form=file.forms[0]))
    assert "the load mke2fs" in refused_by(plan, ["CONFIG_MD_RAID1"]).message


@pytest.mark.parametrize(
    ("name", "variant", "option", "what"),
    [
        ("local-daemon", "dm", "CONFIG_BLK_DEV_DM", 'the layer "dm" of the stack'),
        ("local-daemon", "loop", "CONFIG_BLK_DEV_LOOP", 'the layer "loop" of the stack'),
        ("local-daemon", "mirror", "CONFIG_MD_RAID1", 'the layer "raid1" of the stack'),
        ("local-daemon", "file-system", "CONFIG_EXT4_FS", 'the layer "ext4" of the stack'),
        ("local-daemon", "capped", "CONFIG_MEMCG", "the daemon's memory_cap"),
        ("flood", "failing", "CONFIG_FAILSLAB", "the load write"),
        ("flood", "failing", "CONFIG_FAIL_PAGE_ALLOC", "the load write"),
        ("flood", "failing", "CONFIG_FAULT_INJECTION_DEBUG_FS", "the load write"),
        ("flood", "failing", "CONFIG_DEBUG_FS", "the load write"),
    ],
)
def test_what_a_variant_adds_and_the_kernel_lacks_is_refused(
    name: str, variant: str, option: str, what: str
) -> None:
    plan = planned_here(name, variant=variant)
    error = refused_by(plan, [option])
    assert error.message == (f"kernel 'stock' of machine 'A' lacks {option}: {what} can not be played on it")
    without = Configured({key: value for key, value in BUILT.items() if key != option}, modules=False)
    usual = planned_here(name)
    check_options(usual, {"under-test": without, "support": without})


def test_who_borrows_has_no_stack_on_its_device(tmp_path: Path) -> None:
    plan = planned(tmp_path, changed(FLOOD, ('kind = "nbd"\n', 'kind = "nbd"\nstack = ["dm"]\n')))
    whole = Configured(BUILT, modules=False)
    lacking = Configured({n: v for n, v in BUILT.items() if n != "CONFIG_BLK_DEV_DM"}, modules=False)
    check_options(plan, {"under-test": whole, "support": lacking})


def test_every_layer_of_a_stack_asks_for_an_option() -> None:
    assert stacks.OPTIONS.keys() == set(get_args(stacks.Layer))


@pytest.mark.parametrize("playbook", sorted(PLAYBOOKS.glob("*.toml")), ids=lambda path: path.stem)
def test_what_is_built_here_has_all_that_our_variants_need(playbook: Path) -> None:
    built = Configured(BUILT, modules=False)
    for variant in stage.read_playbook(playbook).opening.variants:
        check_options(planned_here(playbook.stem, variant=variant), {"under-test": built, "support": built})


# --- server and export


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    error = refused(tmp_path, changed(FLOOD, ('server = "C"', 'server = "D"')))
    assert "no machine 'D'" in error.message and "known: A, B, C" in error.hint
    assert error.where.endswith(": transport.server")


@pytest.mark.parametrize(
    ("transport", "disk", "swap"), [("nbd", "16MiB", "16 MiB"), ("nfs3", "40MiB", "24 MiB")]
)
def test_an_export_that_is_too_small_for_the_loads_is_refused(
    tmp_path: Path, transport: str, disk: str, swap: str
) -> None:
    small = changed(ABC, ('size = "512MiB"', f'size = "{disk}"'))
    error = refused(tmp_path, topology=small, transport=transport)
    assert "the loads of 'A' want 129.6 MiB of memory: it has 96 MiB" in error.message
    assert f"and {swap} of swap by {transport}" in error.message
    assert error.where.endswith(": transport.disk") and "disk 'swap' of 'C'" in error.hint
    planned(tmp_path, topology=small, transport=transport, settings={"memory": "1.1x"})


def test_without_swap_the_loads_must_fit_into_memory(tmp_path: Path) -> None:
    bare = changed(FLOOD, ('server = "C"', 'server = "C"\nswap = false'))
    assert "and 0 B of swap" in refused(tmp_path, bare).message


@pytest.mark.parametrize(("port", "taken"), [(22, True), (21, True), (23, False)])
def test_a_port_that_is_the_testbeds_own_is_refused(tmp_path: Path, port: int, taken: bool) -> None:
    text = changed(FLOOD, ('kind = "nbd"\n', f'kind = "nbd"\nprogram = "nbdkit"\nport = {port}\n'))
    if not taken:
        planned(tmp_path, text)
        return
    error = refused(tmp_path, text)
    assert "port 22 of 'C' is taken by SSH" in error.message
    assert error.where.endswith(": transport.port")


class Kept(Writer):
    def __init__(self) -> None:
        pass


def test_a_port_that_somebody_has_is_refused_before_it_is_served(tmp_path: Path) -> None:
    class Page:
        def read(self, slot: int, kind: str) -> dict[str, int]:
            return {"mem_available_kib": 1}

    guests = {"A": Notebook(), "B": Notebook(), "C": Notebook(10809)}
    made = SimpleNamespace(cpu_scale=1.0, pages=dict.fromkeys("ABC", Page()), guests=guests)
    with pytest.raises(UsageError, match="TCP port 10809 of 'C' is taken before nbd is served") as caught:
        provision.attach(planned(tmp_path), cast(Lab, made), Kept())
    assert "another 'port'" in caught.value.hint
    assert not any(guest.lines for guest in guests.values())


def test_swap_that_the_kernel_refuses_is_told_in_its_own_words(tmp_path: Path) -> None:
    class Refusing(Notebook):
        def run(self, argv: Sequence[str], *, timeout_s: float, check: bool = True) -> Completed:
            done = super().run(argv, timeout_s=timeout_s, check=check)
            if argv[0] == "swapon":
                return Completed(
                    done.argv, 255, "", "swapon: /run/swap/file: swapon failed: Invalid argument\n"
                )
            log = "[1.0] hello\n[2.0] one\n[2.1] two\n[2.2] swap activate: swapfile has holes\n"
            return Completed(done.argv, 0, log, "") if argv[0] == "dmesg" else done

    plan = planned(tmp_path, transport="nfs3")
    assert plan.transport is not None
    with pytest.raises(UsageError, match=r"does not swap to /run/swap/file: .* Invalid argument") as caught:
        transport_of(plan.transport).attach(Refusing(), Ends.of(plan))
    assert caught.value.hint.endswith("[2.0] one | [2.1] two | [2.2] swap activate: swapfile has holes")


@pytest.mark.parametrize(
    ("kind", "keys", "at", "says"),
    [
        ("nfs4", 'version = "4.3"', "transport.version", "'4.0', '4.1' or '4.2'"),
        ("nfs3", 'version = "4.0"', "transport.version", "unknown key"),
        ("nfs4", 'proto = "udp"', "transport.proto", "version 4 does not go over UDP"),
        ("nfs3", 'proto = "sctp"', "transport.proto", "'tcp' or 'udp'"),
    ],
)
def test_a_wrong_version_or_carrier_of_nfs_names_its_place(
    tmp_path: Path, kind: str, keys: str, at: str, says: str
) -> None:
    (tmp_path / "test.toml").write_text(changed(FLOOD, ('kind = "nbd"\n', f'kind = "{kind}"\n{keys}\n')))
    with pytest.raises(UsageError) as caught:
        planned(tmp_path, (tmp_path / "test.toml").read_text())
    assert says in str(caught.value), str(caught.value)
    assert caught.value.where.endswith(f": {at}")


# --- NICs


@pytest.mark.parametrize(
    ("old", "new", "at", "says"),
    [
        ('"e1000"', '"e1000", queues = 2', "machines.B.nics[0].queues", "one pair of queues"),
        ("queues = 2", "queues = 4", "machines.A.nics[0].queues", "of which 2 would be used"),
        ('"rtl8139"', '"rtl8139", rx_ring = 64', "machines.C.nics[0].rx_ring", "has a fixed ring"),
        ('"e1000"', '"e1000", mtu = 9000', "machines.B.nics[0].mtu", "whose MTU is 1500"),
        ('.0/24"', '.0/24"\nmtu = 9000', "links.data.mtu", "of model 'rtl8139' takes: 4096 at most"),
        ('.0/24"', '.0/24"\nmtu = 100', "links.data.mtu", "greater than or equal to 576"),
    ],
)
def test_what_a_nic_can_not_have_is_refused(tmp_path: Path, old: str, new: str, at: str, says: str) -> None:
    (tmp_path / "test.toml").write_text(changed(NICS, (old, new)))
    with pytest.raises(UsageError) as caught:
        stage.check_topology(load_toml(tmp_path / "test.toml", Topology))
    assert says in caught.value.message
    assert caught.value.where.endswith(f": {at}")


@pytest.mark.parametrize(
    ("key", "other", "says"),
    [
        ("D", "", "no other machine 'D'"),
        ("A", "", "no other machine 'A'"),
        ("C", 'root_from = "B"\n', "has no root of its own to serve"),
    ],
)
def test_a_root_that_nobody_serves_is_refused(tmp_path: Path, key: str, other: str, says: str) -> None:
    text = changed(NICS, ('kernel = "under-test"', f'kernel = "under-test"\nroot_from = "{key}"'))
    (tmp_path / "test.toml").write_text(changed(text, ("[machines.C]\n", f"[machines.C]\n{other}")))
    with pytest.raises(UsageError) as caught:
        stage.check_topology(load_toml(tmp_path / "test.toml", Topology))
    assert says in caught.value.message
    assert caught.value.where.endswith(": machines.A.root_from")


def test_every_machine_may_have_another_nic_and_one_of_several_queues(tmp_path: Path) -> None:
    plan = planned(tmp_path, topology=NICS)
    data = {
        machine.name: next(nic for nic in machine.nics if nic.link == "data") for machine in plan.machines
    }
    assert {name: nic.model for name, nic in data.items()} == {
        "A": "virtio-net",
        "B": "e1000",
        "C": "rtl8139",
    }
    assert [nic.queues for nic in data.values()] == [2, None, None]
    assert plan.labels.nic == "virtio-net"


def test_another_model_for_a_leaves_its_queues_and_the_others_nics(tmp_path: Path) -> None:
    plan = planned(tmp_path, topology=NICS, nic="e1000e")
    nics = [next(nic for nic in machine.nics if nic.link == "data") for machine in plan.machines]
    assert [nic.model for nic in nics] == ["e1000e", "e1000", "rtl8139"]
    assert [nic.queues for nic in nics] == [None, None, None]


def test_all_on_a_link_have_its_mtu_and_a_nic_may_say_so(tmp_path: Path) -> None:
    larger = changed(NICS, ('.0/24"', '.0/24"\nmtu = 4096'), ('"e1000"', '"e1000", mtu = 4096'))
    plan = planned(tmp_path, topology=larger)
    assert [link.mtu for link in plan.links] == [None, 4096]
