"""Owns how long vCPUs waited for a core of the host: who kept waiting looks slow, or dead."""

from __future__ import annotations

from testbed.judge.case import Case

MOST_DELAYED_SHARE = 0.20


def delayed(case: Case, until_ns: int) -> dict[str, float | None]:
    """By machine that can fake slowness: the share of the time since the heal that its vCPU waited.

    None where that was not recorded.
    """
    shares: dict[str, float | None] = {}
    for machine in (case.subject, case.rules.server):
        if machine is not None:
            delay_ns = case.growth(f"{machine}/vcpu.delay_ns", case.heal_ns, until_ns)
            window_ns = max(1, until_ns - case.heal_ns) * case.vcpus(machine)
            shares[machine] = None if delay_ns is None else delay_ns / window_ns
    return shares
