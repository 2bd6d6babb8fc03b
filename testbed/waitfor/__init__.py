"""Who waits for whom: snapshots in, a graph with its cycle or its chance out. Pure.

Run and judge both ask it: the run whether it may stop
waiting, the judge, later and from the saved files, what is proved.
"""

from testbed.waitfor.examination import (
    Condition,
    Examination,
    examine,
    next_retransmission_ns,
    single_cycle,
    strength,
    wait_for_graph,
)
from testbed.waitfor.graph import Edge, Graph, Node

__all__ = [
    "Condition",
    "Edge",
    "Examination",
    "Graph",
    "Node",
    "examine",
    "next_retransmission_ns",
    "single_cycle",
    "strength",
    "wait_for_graph",
]
