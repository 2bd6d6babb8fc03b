"""The claims of the thread: a table of what was said, where it is asked, and what results make of it."""

from testbed.campaign.claims.assessment import Answer, Assessed, Tried, assess
from testbed.campaign.claims.missing import Wanted, wanted
from testbed.campaign.claims.rules import RULES, Difference, Rule, State
from testbed.campaign.claims.table import Arm, Claim, read

__all__ = [
    "RULES",
    "Answer",
    "Arm",
    "Assessed",
    "Claim",
    "Difference",
    "Rule",
    "State",
    "Tried",
    "Wanted",
    "assess",
    "read",
    "wanted",
]
