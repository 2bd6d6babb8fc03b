"""Owns how measurements are shown: a plain table, the same on a terminal and in a document."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median


def show(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints the rows as a Markdown table, columns aligned."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, ["-" * width for width in widths], *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(f"| {' | '.join(cells)} |")


def spread(values: Sequence[float], unit: str, digits: int = 2) -> str:
    """`1.52 s (1.40 to 1.71, n=5)`: median, least and most."""
    words = f"{median(values):.{digits}f} {unit}"
    if len(values) == 1:
        return words
    return f"{words} ({min(values):.{digits}f} to {max(values):.{digits}f}, n={len(values)})"
