"""Owns what of a guest's text may be shown as it is."""

from __future__ import annotations


def printable(text: str, besides: str = "") -> str:
    """The text with all that does not print, but for the characters `besides`, marked as replaced."""
    return "".join(
        char if char.isprintable() or char in besides else "\N{REPLACEMENT CHARACTER}" for char in text
    )
