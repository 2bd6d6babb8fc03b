"""Owns what a rule looks for in a cell: whether it was measured there, and whether the cell shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from testbed.campaign.kept import Found
from testbed.campaign.outcomes import SORTS, Sort
from testbed.model import Outcome

Sign = (
    Sort
    | Literal["left memory whole", "spared softirqs", "had calls fail", "read packets", "wrote", "got pages"]
    | Literal["broke"]
)
"""What a rule looks for in a cell: how it came out, that free memory was not in pieces when it was over, that
reclaim never held a softirq up for SOFTIRQ_NS, that a call of the storm failed for want of memory during the
outage, that a packet of the flood was read by whom it was for, that a job wrote to the transport's device,
that a burn of the reserve got a page, or that the kernel crashed or lost what it was given."""

SOFTIRQ_NS = 2_000_000
"""So long softirqs run before what is left of them must wait for ksoftirqd (6.1, kernel/softirq.c,
MAX_SOFTIRQ_TIME)."""

BROKEN: tuple[Outcome, ...] = ("crashed", "corrupt")
IN_SOFTIRQ = "atomic-reclaim/softirq"
"""Where the set counts its tries in softirq, and times them."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Of which measures or counters a rate is made: `hits` for each `of`. `words` are of 1,000 times that."""

    hits: str
    of: str
    words: str


RATES: dict[Sign, Rate] = {
    "had calls fail": Rate("outage_calls_failed", "outage_calls", "of 1,000 calls failed"),
    "read packets": Rate("flood_read", "flood_sent", "of 1,000 packets were read"),
    "got pages": Rate(
        "reserve-burner/reclaim/pages_got", "reserve-burner/reclaim/burns", "pages by 1,000 burns"
    ),
    "wrote": Rate("job_kib", "job_ms", "KiB a second were written"),
}
"""The signs of which it matters how often a cell shows them, and not only whether."""


def number(cell: Found, name: str) -> float:
    """A measure of the judge's, or a counter of a set's at the last look."""
    return cell.observation.measures.get(name) or (cell.counters or {}).get(name, 0)


def shows(cell: Found, sign: Sign, *, under: bool = False) -> bool:
    """Whether a cell shows what a rule looks for, in the first of its two judgements or in its verdict."""
    one = cell.observation
    if sign in RATES:
        return number(cell, RATES[sign].hits) > 0
    if sign == "broke":
        return one.outcome in BROKEN
    if sign == "left memory whole":
        return one.outcome != "fragmented"
    if sign == "spared softirqs":
        return (cell.counters or {}).get(f"{IN_SOFTIRQ}/ns_max", 0) < SOFTIRQ_NS
    if under:  # who was killed or lost data later did not go on, whatever it did under the flood
        went_on = one.under != "stood still" and SORTS[one.outcome] != "failed otherwise"
        return {"went on": went_on, "wedged": one.under == "stood still"}.get(sign, False)
    return SORTS[one.outcome] == sign


def measured(cell: Found, sign: Sign) -> bool:
    """Whether a cell that counts can show the sign at all."""
    one = cell.observation
    if sign == "broke":  # or nothing was there that it could break of
        return one.outcome in BROKEN or number(cell, RATES["had calls fail"].hits) > 0
    if sign in RATES:
        return number(cell, RATES[sign].of) > 0
    if sign == "left memory whole":  # who wedged has its memory in use: that is not in pieces
        asked = SORTS[one.outcome] == "went on" or one.outcome == "fragmented"
        return asked and {"whole_before", "whole_after"} <= one.measures.keys()
    if sign == "spared softirqs":
        return (cell.counters or {}).get(f"{IN_SOFTIRQ}/calls", 0) > 0
    return True
