"""The fault of docs/extending.md on a real bridge: it acts, reads itself back, and ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.faults import Fault, fault_class
from testbed.machines.sandbox import Sandbox
from tests import newcomer
from tests.namespace.conftest import send
from tests.namespace.test_network import BACK, FLOOD, FORTH, OTHER, target

pytestmark = pytest.mark.namespace


def test_the_pages_fault_mutes_a_machine_toward_one_other(lab: Sandbox, tmp_path: Path) -> None:
    with newcomer.dropped_in(tmp_path):
        fault: Fault = fault_class("mute").model_validate({"machine": "A", "toward": "C"})
    where, wishes = target(lab), (FORTH, BACK, FLOOD, OTHER)
    assert not fault.in_force(where)
    assert fault.cuts(where) == ("swap.requests",)
    fault.apply(where)
    assert fault.in_force(where)
    assert send(lab, *wishes) == [0, 5, 5, 5]
    fault.revert(where)
    assert not fault.in_force(where)
    assert send(lab, *wishes) == [5, 5, 5, 5]
    fault.revert(where)
