"""Transports and loads: the commands they give to guests, on a guest that only takes notes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from testbed import plan as stage
from testbed import plugins
from testbed.errors import TestbedFault, UsageError
from testbed.faults import Fault
from testbed.load import PLAYBOOKS
from testbed.loads import Load, LoadContext, load_class, load_of
from testbed.model import KernelSpec, Plan, PlannedKernel
from testbed.plan import Choices
from testbed.proc import Completed
from testbed.transports import Ends, Transport, transport_of

LISTENING = "  0: 00000000:{port:04X} 00000000:0000 0A 00000000:00000000 00:00000000"


class Notebook:
    """A guest that answers every command and listens on whatever port it is asked for."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.lines: list[str] = []
        self.files: dict[str, str] = {}

    def run(self, argv: Sequence[str], *, timeout_s: float, check: bool = True) -> Completed:
        assert timeout_s > 0
        if argv[0] != "cat":
            self.lines.append(" ".join(argv))
        return Completed(tuple(argv), 0, LISTENING.format(port=self.port), "")

    def put(self, path: str, data: bytes) -> None:
        self.files[path] = data.decode()


def planned(name: str = "flood", *, prebuilt: bool = False, **choices: Any) -> Plan:
    file = stage.read_playbook(PLAYBOOKS / f"{name}.toml")
    kernel = PlannedKernel(spec=KernelSpec(base="6.1", prebuilt=prebuilt), digest="a" * 24)
    return stage.plan(
        stage.topology_of(file), file, stage.Kernels(kernel, kernel), "image", Choices(**choices)
    )


def attached(plan: Plan) -> tuple[Notebook, Notebook]:
    assert plan.transport is not None
    transport = transport_of(plan.transport)
    server, client = Notebook(transport.swap_flow.port), Notebook()
    transport.serve(server, Ends.of(plan))
    transport.attach(client, Ends.of(plan))
    return server, client


def argv(plan: Plan, name: str, available_bytes: int | None = None) -> str:
    load = next(load for load in plan.loads if load.name == name)
    return " ".join(load_of(load).argv(load.slot, LoadContext(plan, load, available_bytes)))


def test_every_plugin_keeps_its_protocol() -> None:
    assert set(plugins.collect("testbed.transports", Transport)) == {"nbd", "nfs3"}
    loads = {"anonymous", "service", "flood", "job", "mke2fs", "kill", "write", "clock", "reader"}
    assert loads <= set(plugins.collect("testbed.loads", Load))
    faults = plugins.collect("testbed.faults", Fault)
    assert {"sysrq", "bitflip", "starve"} <= set(faults)
    assert [kind for kind, fault in faults.items() if not fault.lasting] == ["sysrq"]


def test_nbd_serves_a_disk_and_is_swapped_to() -> None:
    server, client = attached(planned())
    assert server.lines == [
        "env LD_PRELOAD=/usr/lib/testbed/no-dh.so nbd-server -C /run/nbd-server.conf -p /run/nbd-server.pid"
    ]
    assert server.files["/run/nbd-server.conf"] == (
        "[generic]\nport = 10809\nlistenaddr = 10.77.1.3\n[swap]\nexportname = /dev/testbed/swap\n"
        "[lent]\nexportname = /run/lent\nreadonly = true\n"
    )
    assert client.lines == [
        "nbd-client 10.77.1.3 10809 /dev/nbd0 -N swap -b 4096 -swap",
        "mkswap /dev/nbd0",
        "swapon /dev/nbd0",
    ]


def test_a_bare_nbd_device_is_not_swapped_to() -> None:
    _, client = attached(planned("mke2fs"))
    assert client.lines == ["nbd-client 10.77.1.3 10809 /dev/nbd0 -N swap -b 4096"]


def test_a_second_client_borrows_what_is_not_the_swap() -> None:
    plan = planned()
    assert plan.transport is not None
    client = Notebook()
    transport_of(plan.transport).borrow(client, Ends.of(plan))
    assert client.lines[0] == "nbd-client 10.77.1.3 10809 /dev/nbd0 -N lent -b 4096"
    assert client.lines[-1] == "ln -sf /dev/nbd0 /run/testbed/lent"


def test_nfs_serves_a_file_without_holes_to_the_link() -> None:
    server, client = attached(planned(transport="nfs3"))
    assert f"fallocate -l {(512 - 16) << 20} /srv/swap/file" in server.lines
    assert server.lines[-1] == "/usr/lib/testbed/nfs-serve /srv/swap 10.77.1.0/24"
    options = "vers=3,proto=tcp,mountproto=tcp,nolock,hard,timeo=600,retrans=2"
    assert client.lines[1] == f"mount -t nfs -o {options} 10.77.1.3:/srv/swap /run/swap"
    assert client.lines[-1] == "swapon /run/swap/file"


def test_a_server_that_never_listens_is_a_fault_of_the_testbed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("testbed.transports.COMMAND_S", 0.05)
    plan = planned()
    assert plan.transport is not None
    with pytest.raises(TestbedFault, match="a listener on TCP port 10809"):
        transport_of(plan.transport).serve(Notebook(port=1), Ends.of(plan))


def test_the_anonymous_load_is_a_share_of_ram_or_of_what_is_available() -> None:
    built = argv(planned(), "anonymous-1")
    assert built.startswith("/usr/lib/testbed/agent anonymous --slot 3 --detach --bytes ")
    assert f"--bytes {int((96 << 20) * 0.675) // 4096 * 4096} " in built
    prebuilt = planned(prebuilt=True)
    assert f"--bytes {int((100 << 20) * 0.675) // 4096 * 4096} " in argv(prebuilt, "anonymous-1", 100 << 20)
    with pytest.raises(TestbedFault, match="MemAvailable of 'A' was not measured"):
        argv(prebuilt, "anonymous-1")


def test_loads_of_one_plan_differ_in_seed() -> None:
    plan = planned()
    assert argv(plan, "anonymous-1").split("--seed ")[1] != argv(plan, "anonymous-2").split("--seed ")[1]


@pytest.mark.parametrize(
    ("variant", "load", "command"),
    [
        (
            "recovery-50s",
            "hold",
            "deed-kill --slot 3 --detach --signal 19 --process nbd-server --resume-after-ms 59000",
        ),
        ("server-killed", "kill", "deed-kill --slot 3 --detach --signal 9 --process nbd-server"),
        ("agent-killed", "kill", "deed-kill --slot 5 --detach --signal 9 --victim 0"),
        ("console-silent", "mute", "deed-write --slot 5 --detach --file /proc/sys/kernel/printk --text 1"),
        ("clock-jumping", "clock", "deed-clock --slot 5 --detach --step-s 3600 --every-ms 1000"),
        (
            "lock-cycle",
            "reader",
            "reader --slot 5 --detach --file /sys/kernel/debug/known-answer/locked --pause-ms 20",
        ),
    ],
)
def test_deeds_are_given_to_the_agent(variant: str, load: str, command: str) -> None:
    assert argv(planned("selftest", variant=variant), load) == f"/usr/lib/testbed/agent {command}"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "exactly one of 'process' and 'witness'"),
        ({"process": "x", "witness": "heartbeat"}, "exactly one of 'process' and 'witness'"),
        ({"process": "x", "resume_after": "1s"}, "only what was stopped can go on"),
        ({"process": "a/b"}, "should match pattern"),
        ({"witness": "me"}, "'heartbeat', 'blocksampler' or 'vmsampler'"),
    ],
)
def test_a_deed_needs_one_victim(options: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        load_class("kill").model_validate(options)


@pytest.mark.parametrize("file", ["/etc/passwd", "proc/x", "/proc/\n", "/sys/"])
def test_a_word_is_written_to_the_kernels_files_alone(file: str) -> None:
    with pytest.raises(ValueError, match="should match pattern"):
        load_class("write").model_validate({"file": file, "text": "1"})


def test_a_lone_fragment_is_one_frame() -> None:
    flood = {"to": "A", "service": "service", "rate": "1pps", "lone_fragments": True}
    load_class("flood").model_validate(flood | {"sizes": [{"size": "1480B"}]})
    with pytest.raises(ValidationError, match="at most 1480B"):
        load_class("flood").model_validate(flood | {"sizes": [{"size": "1481B"}]})


def test_service_and_flood_agree_on_ports() -> None:
    plan = planned()
    assert argv(plan, "service") == (
        "/usr/lib/testbed/agent service --slot 5 --detach --port 7000 --sockets 64 --rcvbuf 8388608 "
        "--memory 8388608 --consumers 4 --tcp-port 6900"
    )
    assert argv(plan, "flood") == (
        "/usr/lib/testbed/agent flood --slot 3 --detach --to 10.77.1.1 --port 7000 --ports 64 --rate 10000 "
        "--sizes 1400:9,64:1 --tcp-port 6900 --tcp-connections 4"
    )


def test_mke2fs_makes_the_mirror_before_it_is_asked_to_run() -> None:
    plan, guest = planned("mke2fs"), Notebook()
    load = plan.loads[0]
    load_of(load).prepare(guest, LoadContext(plan, load))
    assert guest.lines[0].endswith("--raid-devices=2 /dev/testbed/local /dev/nbd0")
    assert argv(plan, "mke2fs").endswith(
        "-- mke2fs -F -j -i 4096 -E nodiscard,lazy_itable_init=0,lazy_journal_init=0 /dev/md0"
    )


def test_options_of_a_plan_are_validated_anew() -> None:
    plan = planned()
    broken = plan.loads[2].model_copy(update={"options": plan.loads[2].options | {"rcvbuf": 8}})
    with pytest.raises(ValueError, match="has no unit"):
        load_of(broken)


# --- schemas


def test_the_schemas_know_every_plugins_keys() -> None:
    found = stage.schema("playbook")
    loads = {option["title"]: option for option in found["$defs"]["LoadTable"]["oneOf"]}
    assert {"rcvbuf", "kind", "on"} <= set(loads["service"]["properties"])
    faults = {option["title"] for option in found["$defs"]["Deed"]["oneOf"]}
    assert {"drop", "carrier", "freeze", "rate", "reset", "corrupt", "server-kill", "readdress"} <= faults
    reset = next(option for option in found["$defs"]["Deed"]["oneOf"] if option["title"] == "reset")
    assert {"flow", "between", "direction", "at", "for", "on", "off"} <= set(reset["properties"])
    assert reset["required"] == ["at", "fault"] and not reset["additionalProperties"]
    rate = loads["flood"]["properties"]["rate"]["anyOf"]
    assert rate[1]["pattern"].startswith(r"^\$")


def test_schemas_are_json_and_wrong_names_are_refused() -> None:
    for kind in stage.KINDS:
        assert json.loads(json.dumps(stage.schema(kind)))["type"] == "object"
    with pytest.raises(UsageError) as caught:
        stage.schema("playbok")
    assert "did you mean 'playbook'?" in caught.value.hint
