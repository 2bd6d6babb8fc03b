"""Owns understanding what a guest's kernel says on its console, from bytes to reports with their facts.

A console is hostile input. Nothing here knows of a cell or a verdict: the run stage may feed it live,
the judge reads it afterwards. `signs` is the table, `reader` the way through it, `cause` the one name.
"""

from testbed.consoles.cause import Cause, cause_of
from testbed.consoles.facts import Facts
from testbed.consoles.reader import Reader, Reading, read
from testbed.consoles.recognition import sign_of
from testbed.consoles.report import KernelReport
from testbed.consoles.sign import Sign
from testbed.consoles.signs import KINDS, SIGNS
from testbed.consoles.text import MAX_TEXT, clean, lines

__all__ = [
    "KINDS", "MAX_TEXT", "SIGNS", "Cause", "Facts", "KernelReport", "Reader", "Reading", "Sign",
    "cause_of", "clean", "lines", "read", "sign_of",
]  # fmt: skip
