"""Owns the verdict: findings are gathered from all detectors, and the first cause in order names it."""

from __future__ import annotations

from testbed.clock import NS
from testbed.judge.case import Case, case_of
from testbed.judge.detectors import Detector, detectors
from testbed.judge.measures import measures
from testbed.judge.preconditions import preconditions
from testbed.judge.resumption import rate_after, rate_before, resumption
from testbed.judge.under import under
from testbed.judge.values import Finding, Precondition, Says, Verdict
from testbed.model import Outcome
from testbed.store import Evidence

# Ordered by cause. What a kernel has proved against itself stands even if the testbed failed
# afterwards; errors and kills may be the testbed's own doing, so a broken run comes before them.
# Doubt comes before every word on progress: no cell passes, or fails, on evidence that is weak. A busy
# host fakes slowness and silence, but no recovery with every page intact and no closed cycle that is
# seen twice: those stand before it.
ORDER: tuple[tuple[Says, Outcome], ...] = (
    ("corrupt", "corrupt"),
    ("crashed", "crashed"),
    ("broken", "inconclusive"),
    ("io-error", "io-error"),
    ("oom-killed", "oom-killed"),
    ("unknown", "inconclusive"),
    ("doubt", "inconclusive"),
    ("fragmented", "fragmented"),
    ("recovered", "recovered"),
    ("deadlocked", "deadlocked"),
    ("network-down", "network-down"),
    ("contended", "inconclusive"),
    # A second client of a server that was killed can have lost its own connection for good as well.
    ("orphaned", "io-error"),
    ("server-down", "server-down"),
    ("livelocked", "livelocked"),
    ("starved", "starved"),
    ("stalled", "stalled"),
    ("slow", "slow"),
)


UNRECOVERED: tuple[Outcome, ...] = ("deadlocked", "livelocked", "starved", "stalled")
"""Failures to recover within the time that was watched."""


def judge(evidence: Evidence) -> Verdict:
    """The verdict on the evidence, and on nothing else. Never raises for what the evidence holds."""
    try:
        case = case_of(evidence)
    except Exception as error:
        return _decide(evidence, None, (_unknown("case", error),))
    findings: list[Finding] = []
    for name, detect in detectors():
        findings += _run(name, detect, case)
    return _decide(evidence, case, tuple(findings))


def _run(name: str, detect: Detector, case: Case) -> list[Finding]:
    findings = []
    try:
        for finding in detect(case):
            findings.append(finding)
    except Exception as error:
        findings.append(_unknown(name, error))
    return findings


def _unknown(name: str, error: Exception) -> Finding:
    statement = f"The detector '{name}' failed on this evidence: {type(error).__name__}: {str(error)[:200]}"
    return Finding(detector=name, says="unknown", statement=statement)


def _decide(evidence: Evidence, case: Case | None, findings: tuple[Finding, ...]) -> Verdict:
    rank = {says: place for place, (says, _) in enumerate(ORDER)}
    ordered = tuple(sorted(findings, key=lambda finding: rank.get(finding.says, len(ORDER))))
    first = ordered[0] if ordered and ordered[0].says in rank else None
    outcome: Outcome = dict(ORDER)[first.says] if first else "inconclusive"
    verdict = Verdict(
        outcome=outcome,
        reason=first.statement if first else "No rule applies to this evidence.",
        bound_s=evidence.judging.bound_s,
        findings=ordered,
        testbed_fault=_testbed_fault(evidence, ordered),
    )
    if case is None:
        return verdict
    try:
        return verdict.model_copy(update=_measures(case, outcome))
    except Exception as error:
        if any(finding.says == "unknown" for finding in findings):
            return verdict
        return _decide(evidence, None, (*findings, _unknown("measures", error)))


def _testbed_fault(evidence: Evidence, findings: tuple[Finding, ...]) -> str | None:
    if not any(finding.says == "broken" for finding in findings):
        return None
    event = evidence.history.first("testbed.fault")
    return str(event.fields.get("message", "no message"))[:300] if event else None


def _measures(case: Case, outcome: Outcome) -> dict[str, object]:
    """The verdict's numbers. Without a fault there is nothing to recover from: that takes no time."""
    seen = resumption(case)
    recover_s = None if seen.resumed_ns is None else (seen.resumed_ns - case.heal_ns) / NS
    if recover_s is not None and case.applied_ns is None:
        recover_s = 0.0
    counts = outcome in ("recovered", "slow")
    finish = seen.finish
    swept = finish.asked_ns is not None and finish.done_ns is not None and finish.done_ns > finish.asked_ns
    met: tuple[Precondition, ...] = preconditions(case)
    return {
        "time_to_recover_s": recover_s if counts else None,
        "censored": outcome in UNRECOVERED,
        "observed_s": case.observed_s if case.came_to_end else None,
        "sweep_s": (finish.done_ns - finish.asked_ns) / NS if swept else None,  # type: ignore[operator]
        "rate_before": rate_before(case),
        "rate_after": rate_after(case, seen) if case.came_to_end else None,
        "preconditions": met,
        "examination": case.examination,
        "under": under(case),
        "measures": measures(case),
    }
