"""Owns the machine with another address: the old one answers no more, what it sends comes from the new."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import ClassVar

from pydantic import field_validator

from testbed.faults import Block, FaultTarget, OnMachine


class Readdress(Block, OnMachine):
    """`machine = "C"`, `address = "10.77.1.99"`: what it has on `link` for all others, ARP included.

    The machine is not told, and can be reached at the new address by who knows it. Nobody may take it
    for the old one: a connection to that hears nothing more. It cuts no counted flow, since those go by port.
    """

    kind: ClassVar[str] = "readdress"
    lasting: ClassVar[bool] = True

    address: str
    link: str = "data"

    @field_validator("address")
    @classmethod
    def _is_one(cls, value: str) -> str:
        return str(IPv4Address(value))

    def apply(self, target: FaultTarget) -> None:
        tap = target.tap(self.machine, self.link)
        target.network.readdress(self.block, tap, target.addresses[self.machine, self.link], self.address)

    @property
    def holds(self) -> str:
        return f"the address of '{self.machine}' on '{self.link}'"

    @property
    def block(self) -> str:
        return ".".join(("readdress", self.link, self.machine, self.address))
