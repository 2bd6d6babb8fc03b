"""Owns the rules on configurations under which a result says nothing, each with its reason."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from testbed.errors import BuildError


@dataclass(frozen=True, slots=True)
class Rule:
    """`option` voids results in one of `states`; a module counts only where "m" is among them.

    `enabled_by`: without that option it is built in, but off at boot. `unless`: what on the command line
    takes it away.
    """

    option: str
    reason: str
    states: tuple[str, ...] = ("y",)
    enabled_by: str = ""
    unless: str = ""


RULES = (
    Rule("CONFIG_SLOB", "the SLOB allocator ignores pfmemalloc, so the reserve leaks to every socket"),
    Rule("CONFIG_SLUB_TINY", "a tiny SLUB keeps no slabs by CPU, so it uses the reserve in another way"),
    Rule("CONFIG_SLAB", "patch sets and readings are made for SLUB"),
    Rule(
        "CONFIG_TRANSPARENT_HUGEPAGE",
        "huge pages change what reclaim frees and what a fault asks for",
        unless="transparent_hugepage=never",
    ),
    Rule(
        "CONFIG_LRU_GEN",
        "multi-generational LRU is another reclaim than the one under discussion",
        enabled_by="CONFIG_LRU_GEN_ENABLED",
    ),
    Rule(
        "CONFIG_ZSWAP",
        "zswap compresses into memory what must go over the network",
        enabled_by="CONFIG_ZSWAP_DEFAULT_ON",
    ),
    Rule("CONFIG_ZRAM", "zram offers swap in memory"),
    Rule("CONFIG_ZONE_DMA", "its lowmem_reserve is a hidden reserve that PF_MEMALLOC may use"),
    Rule("CONFIG_NF_CONNTRACK", "connection tracking allocates memory for what it receives", ("y", "m")),
)


def _state(rule: Rule, config: dict[str, str]) -> str:
    if config[rule.option] == "m":
        return "is there as a module, which nothing of the testbed loads"
    if rule.enabled_by and config.get(rule.enabled_by) != "y":
        return "is built in, though off at boot"
    return "is built in"


def confounders(config: dict[str, str], cmdline: Collection[str] = ()) -> tuple[str, ...]:
    """What of a configuration clouds a result, as plain sentences; not what the command line takes away."""
    found = [
        f"{rule.option} {_state(rule, config)}: {rule.reason}"
        for rule in RULES
        if config.get(rule.option) in rule.states and rule.unless not in cmdline
    ]
    if config.get("CONFIG_SLUB") != "y" and not {"CONFIG_SLOB", "CONFIG_SLAB"} & config.keys():
        found.insert(0, "CONFIG_SLUB is off: only SLUB is known to keep the reserve apart")
    return tuple(found)


def refuse_voiding(config: dict[str, str]) -> None:
    """Raises BuildError with the reasons if a configuration of ours deviates."""
    found = confounders(config)
    if found:
        raise BuildError(
            "this configuration voids every result:\n" + "\n".join(f"- {text}" for text in found),
            hint="mend testbed/kernels/guest.config; there is no way to ask for one on purpose",
        )
