"""Owns how a build tells what it is at: `progress(stage, fraction or None)`, from any thread."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, float | None], None]


def silent(_: str, __: float | None) -> None:
    """No progress wanted."""
