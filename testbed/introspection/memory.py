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

from testbed.introspection.droppable import droppable
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
"""include/linux/mmzone.h: items of enum node_stat_item, or, in older kernels, of enum zone_stat_item."""


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
    """Pages by what they are, and of swap `swap_total` and `swap_used`; with kswapd's vain rounds.

    `swap_cache_clean` are those of the swap cache that may be dropped at once.
    """
    found = {}
    for name, item in STATES.items():
        count = reading.get(item, None, _pages_of, reading.prog, item)
        if count is not None:
            found[name] = count
    total = used = 0
    for area in reading.each("swap areas", for_each_swap_info, reading.prog, most=64):
        total += reading.get("a swap area's size", 0, lambda area: number(area.pages), area)
        used += reading.get("a swap area's use", 0, lambda area: number(swap_usage_in_pages(area)), area)
    found |= {"swap_total": total, "swap_used": used}
    clean = droppable(reading)
    if clean is not None:
        found["swap_cache_clean"] = clean
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


def _pages_of(prog: drgn.Program, item: str) -> int:
    """NR_PAGETABLE was a zone's until 5.11, and the swap cache had no item of its own until 5.12."""
    if item in _items(prog, "node_stat_item"):
        return number(global_node_page_state(prog, prog[item]))
    if item in _items(prog, "zone_stat_item"):
        return max(0, number(prog["vm_zone_stat"][prog[item]].counter))
    if item == "NR_SWAPCACHE":
        return _swap_cache(prog)
    raise LookupError(f"no {item} in enum node_stat_item, nor in enum zone_stat_item")


def _items(prog: drgn.Program, enum: str) -> frozenset[str]:
    return frozenset(item.name for item in prog.type(f"enum {enum}").enumerators or ())


def _swap_cache(prog: drgn.Program) -> int:
    """mm/swap_state.c (5.10), total_swapcache_pages(): each area has address spaces of its own."""
    spaces, counts = prog["swapper_spaces"], prog["nr_swapper_spaces"]
    return sum(
        number(spaces[area][index].nrpages)
        for area in range(spaces.type_.length or 0)
        if spaces[area]
        for index in range(number(counts[area]))
    )


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
        kept_for_lower=reading.get("lowmem_reserve", 0, lambda: max(map(number, zone.lowmem_reserve))),
        kept_for_high_order=reading.get("highatomic", 0, lambda: number(zone.nr_reserved_highatomic)),
        set_aside=reading.get("zone_emergency", 0, _set_aside, reading, node, index),
    )


def _set_aside(reading: Reading, node: Any, index: int) -> int:
    """mm/page_alloc.c of the patch set mem-reserve, zone_emergency_pages(): on top of every mark."""
    if not reading.has("zone_emergency"):
        return 0
    return number(reading.prog["zone_emergency"][number(node.node_id)][index])


def _on_cpu_lists(prog: drgn.Program, zone: Any) -> int:
    """Free pages that the processors keep for themselves: per_cpu_pageset since 5.14, pageset.pcp before."""
    newer = zone.type_.has_member("per_cpu_pageset")
    base = zone.per_cpu_pageset if newer else zone.pageset
    total = 0
    for cpu in for_each_online_cpu(prog):
        pages = per_cpu_ptr(base, cpu)
        total += number(pages.count if newer else pages.pcp.count)
    return total
