"""Owns the registry of detectors: each module here with a function `detect(case)` is one.

A detector reads the case and yields findings; it never looks at another's. To add one, drop a
file in.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from functools import cache

from testbed.judge.case import Case
from testbed.judge.values import Finding

Detector = Callable[[Case], Iterable[Finding]]


@cache
def detectors() -> tuple[tuple[str, Detector], ...]:
    """Name and function of every detector, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return tuple((name, importlib.import_module(f"{__name__}.{name}").detect) for name in names)
