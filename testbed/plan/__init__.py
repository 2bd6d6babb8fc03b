"""The plan stage: pure. Topology, playbook and kernels become one cell, absolute, before anything boots."""

from testbed.plan.cell import Kernels, idle, plan, repeated, support_spec
from testbed.plan.check import check_playbook, check_topology
from testbed.plan.labels import Choices
from testbed.plan.needs import check_needs, sets_needed
from testbed.plan.options import check_options
from testbed.plan.playbook import PlaybookFile, is_topology, read_playbook, topology_of
from testbed.plan.schema import KINDS, schema

__all__ = [
    "KINDS",
    "Choices",
    "Kernels",
    "PlaybookFile",
    "check_needs",
    "check_options",
    "check_playbook",
    "check_topology",
    "idle",
    "is_topology",
    "plan",
    "read_playbook",
    "repeated",
    "schema",
    "sets_needed",
    "support_spec",
    "topology_of",
]
