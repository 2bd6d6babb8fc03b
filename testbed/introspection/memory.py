"""Owns reading memory: zones with their watermarks, and where the pages have gone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import drgn
from drgn.helpers.linux.cpumask import for_each_online_cpu
from drgn.helpers.linux.mmzone import for_each_online_pgdat
from drgn.helpers.linux.percpu import per_cpu_ptr
from drgn.helpers.linux.swap import for_each_swap_info, swap_usage_in_pages
from drgn.helpers.linux.vmstat import global_node_page_state

from testbed.introspection.reading import Reading, number, text
from testbed.snapshot import Zone

STATES = {
    "inactive_anon": "NR_INACTIVE_ANON",
    "active_anon": "NR_ACTIVE_ANON",
    "inactive_file": "NR_INACTIVE_FILE",
    "active_file": "NR_ACTIVE_FILE",
    "unevictable": "NR_UNEVICTABLE",
    "slab_reclaimable": "NR_SLAB_RECLAIMABLE_B",
    "slab_unreclaimable": "NR_SLAB_UNRECLAIMABLE_B",
    "isolated_anon": "NR_ISOLATED_ANON",
    "isolated_file": "NR_ISOLATED_FILE",
    "file": "NR_FILE_PAGES",
    "dirty": "NR_FILE_DIRTY",
    "writeback": "NR_WRITEBACK",
    "mapped_file": "NR_FILE_MAPPED",
    "swap_cache": "NR_SWAPCACHE",
    "kernel_stack_kib": "NR_KERNEL_STACK_KB",
    "page_tables": "NR_PAGETABLE",
}
"""include/linux/mmzone.h, enum node_stat_item."""


def read_zones(reading: Reading) -> tuple[Zone, ...]:
    """Every zone that has pages."""
    found = []
    for node in _nodes(reading):
        for index in range(reading.get("zones", 0, lambda node: number(node.nr_zones), node)):
            one = reading.get("a zone", None, _zone, reading, node, index)
            if one is not None and one.managed:
                found.append(one)
    return tuple(found)


def read_pages(reading: Reading) -> dict[str, int]:
    """Pages by what they are, and of swap `swap_total` and `swap_used`; with kswapd's vain rounds."""
    found = {}
    for name, item in STATES.items():
        count = reading.get(item, None, _node_pages, reading.prog, item)
        if count is not None:
            found[name] = count
    total = used = 0
    for area in reading.each("swap areas", for_each_swap_info, reading.prog, most=64):
        total += reading.get("a swap area's size", 0, lambda area: number(area.pages), area)
        used += reading.get("a swap area's use", 0, lambda area: number(swap_usage_in_pages(area)), area)
    found |= {"swap_total": total, "swap_used": used}
    for node in _nodes(reading):
        failures = reading.get("kswapd's failures", 0, _failures, node)
        found["kswapd_failures"] = max(failures, found.get("kswapd_failures", 0))
    return found


def _failures(node: Any) -> int:
    """A number, and an atomic_t from 7.x on (include/linux/mmzone.h)."""
    failures = node.kswapd_failures
    return number(failures.counter if isinstance(failures.value_(), dict) else failures)


def _nodes(reading: Reading) -> Iterator[Any]:
    return reading.each("nodes", for_each_online_pgdat, reading.prog, most=64)


def _node_pages(prog: drgn.Program, item: str) -> int:
    return number(global_node_page_state(prog, prog[item]))


def _zone(reading: Reading, node: Any, index: int) -> Zone:
    zone = node.node_zones[index]
    prog = reading.prog
    marks = [number(zone._watermark[prog[name]]) for name in ("WMARK_MIN", "WMARK_LOW", "WMARK_HIGH")]
    return Zone(
        name=text(zone.name),
        free=number(zone.vm_stat[prog["NR_FREE_PAGES"]].counter),
        minimum=marks[0],
        low=marks[1],
        high=marks[2],
        boost=reading.get("watermark boost", 0, lambda: number(zone.watermark_boost)),
        managed=number(zone.managed_pages.counter),
        on_cpu_lists=reading.get("per-CPU lists", 0, _on_cpu_lists, prog, zone),
    )


def _on_cpu_lists(prog: drgn.Program, zone: Any) -> int:
    """Free pages that the processors keep for themselves: per_cpu_pageset since 5.14, pageset.pcp before."""
    newer = zone.type_.has_member("per_cpu_pageset")
    base = zone.per_cpu_pageset if newer else zone.pageset
    total = 0
    for cpu in for_each_online_cpu(prog):
        pages = per_cpu_ptr(base, cpu)
        total += number(pages.count if newer else pages.pcp.count)
    return total
