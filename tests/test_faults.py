"""Faults without a lab: what they ask of the hypervisor and of the broker, and what they believe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from testbed.errors import TestbedFault, UsageError
from testbed.faults import Fault, FaultTarget, fault_class, fault_of
from testbed.faults.slow_disk import SlowDisk
from testbed.faults.starve import Starve
from testbed.faults.sysrq import Sysrq
from testbed.model import PlannedFault


class Guest:
    """A guest with two CPUs that answers to SysRq, or not, and whose disks are limited, or not."""

    def __init__(self, answers: bool = True, limits: bool = True) -> None:
        self.answers, self.limits = answers, limits
        self.pressed: list[str] = []
        self.limit: dict[str, int] = {}

    def limit_disk(self, disk: str, bytes_per_s: int) -> None:
        if self.limits:
            self.limit[disk] = bytes_per_s

    def disk_limit(self, disk: str) -> int:
        return self.limit.get(disk, 0)

    def sysrq(self, key: str) -> bool:
        self.pressed.append(key)
        return self.answers

    def vcpu_threads(self) -> tuple[int, ...]:
        return (71, 72)


class Broker:
    """Crowds that lose `lost` of their spinners."""

    def __init__(self, lost: int = 0) -> None:
        self.lost = lost
        self.crowded: dict[str, tuple[tuple[int, ...], int]] = {}

    def crowd(self, name: str, threads: Sequence[int], spinners: int) -> None:
        self.crowded[name] = (tuple(threads), spinners)

    def disperse(self, name: str) -> None:
        self.crowded.pop(name, None)

    def crowds(self) -> dict[str, int]:
        return {name: spinners - self.lost for name, (_, spinners) in self.crowded.items()}


def target(broker: Broker | None = None, **guests: Guest) -> FaultTarget:
    known: Any = guests
    network: Any = broker or Broker()
    return FaultTarget(network, known, {})


def test_a_pressed_key_must_be_answered() -> None:
    guest = Guest()
    fault = Sysrq(machine="A", key="c")
    fault.apply(target(A=guest))
    assert guest.pressed == ["c"]
    with pytest.raises(TestbedFault, match="'A' did not answer to SysRq-c"):
        fault.apply(target(A=Guest(answers=False)))


@pytest.mark.parametrize("key", ["", "C", "cc", "\n"])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="should match pattern"):
        Sysrq(machine="A", key=key)


def test_a_starved_machine_shares_its_core_until_it_is_reverted() -> None:
    broker = Broker()
    where = target(broker, A=Guest())
    fault = Starve(machine="A", spinners=3)
    assert not fault.in_force(where)
    fault.apply(where)
    assert broker.crowded == {"A": ((71, 72), 3)}
    assert fault.in_force(where)
    broker.lost = 1
    assert not fault.in_force(where)
    fault.revert(where)
    assert broker.crowded == {} and not fault.in_force(where)


def test_a_slow_disk_is_what_its_hypervisor_says_of_it() -> None:
    guest = Guest()
    fault = SlowDisk.model_validate({"machine": "A", "disk": "swap", "rate": "8Mbit/s"})
    assert not fault.in_force(target(A=guest))
    fault.apply(target(A=guest))
    assert guest.limit == {"swap": 1_000_000} and fault.in_force(target(A=guest))
    fault.revert(target(A=guest))
    assert guest.limit == {"swap": 0} and not fault.in_force(target(A=guest))
    deaf = target(A=Guest(limits=False))
    fault.apply(deaf)
    assert not fault.in_force(deaf)
    with pytest.raises(ValueError, match="greater than or equal to 8"):
        SlowDisk.model_validate({"machine": "A", "disk": "swap", "rate": "7bit/s"})


def test_a_wrong_machine_is_named() -> None:
    for fault in (Sysrq(machine="X", key="c"), Starve(machine="X")):
        with pytest.raises(UsageError, match="no machine 'X'"):
            fault.apply(target(A=Guest()))


@pytest.mark.parametrize("kind", ["sysrq", "bitflip", "starve"])
def test_a_fault_survives_its_plan(kind: str) -> None:
    options = {"machine": "A"} | ({"key": "f"} if kind == "sysrq" else {})
    made: Fault = fault_class(kind).model_validate(options)
    planned = PlannedFault(name="x", kind=kind, options=made.model_dump(mode="json"))  # type: ignore[attr-defined]
    assert fault_of(planned) == made
    assert made.machines == ("A",) and made.cuts(target()) == ()


@pytest.mark.parametrize("kind", ["server-kill", "reboot"])
def test_what_is_served_has_one_fault_at_a_time(kind: str) -> None:
    full, other = (fault_class(name).model_validate({"machine": "C"}) for name in ("disk-full", kind))
    assert full.holds == other.holds == "what 'C' serves"
