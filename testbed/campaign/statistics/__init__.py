"""Owns the numbers of a table: pure functions of counts and times, which know nothing of cells.

scipy, statsmodels and lifelines are imported where a function needs them, never with the module: they
take seconds, and most commands make no table.
"""

from __future__ import annotations

CONFIDENCE = 0.95
"""Of every interval, and what is left of it is the level of every test."""

LEVEL = round(1 - CONFIDENCE, 12)
