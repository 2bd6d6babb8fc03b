"""The judge: evidence in, verdict out. Pure; it never learns a kernel's name or what is expected."""

from testbed.judge.rules import judge
from testbed.judge.values import OUTCOMES, ConsoleLine, Finding, Precondition, Verdict
from testbed.model import Outcome

__all__ = ["OUTCOMES", "ConsoleLine", "Finding", "Outcome", "Precondition", "Verdict", "judge"]
