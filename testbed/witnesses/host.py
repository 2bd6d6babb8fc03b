"""Owns the witnesses that ask the host: its CPUs' time, the wire, consoles, disks, and what QEMU says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from testbed.errors import TestbedFault
from testbed.machines.client import Broker
from testbed.machines.console import Console
from testbed.machines.hypervisor import Domain
from testbed.witnesses import Readings

STATES = {"unknown": 0, "running": 1, "paused": 2, "crashed": 3, "ending": 4, "off": 5}
"""`A/domain.state` as a number."""


@contextmanager
def _as_oserror() -> Iterator[None]:
    """One failure to read is forgiven by the observer, which knows it as OSError."""
    try:
        yield
    except TestbedFault as error:
        raise OSError(str(error)) from error


@dataclass(frozen=True)
class VcpuTime:
    """`A/vcpu`: how many CPUs it has, ns that they ran, and ns that they waited for one of the host's."""

    machine: str
    threads: tuple[int, ...]
    broker: Broker
    every_ticks: int = 2

    @property
    def name(self) -> str:
        return f"{self.machine}/vcpu"

    def read(self) -> Readings:
        with _as_oserror():
            times = self.broker.thread_times(self.threads).values()
        run_ns, delay_ns = (sum(time[which] for time in times) for which in (0, 1))
        return {self.name: {"run_ns": run_ns, "delay_ns": delay_ns, "vcpus": len(self.threads)}}


@dataclass(frozen=True)
class Wire:
    """`wire/FLOW` for each counted flow, and `A/tap.LINK` for each tap in `taps` (by source name)."""

    broker: Broker
    taps: Mapping[str, str]
    every_ticks: int = 1
    name: str = "wire"

    def read(self) -> Readings:
        with _as_oserror():
            counted, flows = self.broker.counters()
        readings: dict[str, Mapping[str, int]] = {f"wire/{flow}": values for flow, values in flows.items()}
        readings.update({source: counted[tap] for source, tap in self.taps.items() if tap in counted})
        return readings


@dataclass(frozen=True)
class DomainState:
    """`A/domain.state`: one of STATES."""

    machine: str
    domain: Domain
    every_ticks: int = 4

    @property
    def name(self) -> str:
        return f"{self.machine}/domain"

    def read(self) -> Readings:
        with _as_oserror():
            return {self.name: {"state": STATES[self.domain.state()]}}


@dataclass(frozen=True)
class ConsoleSize:
    """`A/console.bytes`: gives each line of the console its time."""

    machine: str
    console: Console
    every_ticks: int = 1

    @property
    def name(self) -> str:
        return f"{self.machine}/console"

    def read(self) -> Readings:
        return {self.name: {"bytes": self.console.size}}


@dataclass(frozen=True)
class DiskTraffic:
    """`C/disk.swap`: operations and bytes on a disk, as QEMU counts them."""

    machine: str
    disk: str
    block_stats: Callable[[str], Mapping[str, int]]
    every_ticks: int = 4

    @property
    def name(self) -> str:
        return f"{self.machine}/disk.{self.disk}"

    def read(self) -> Readings:
        with _as_oserror():
            return {self.name: dict(self.block_stats(self.disk))}
