"""Owns the quantities of the TOML files: strings with a unit in, integers and floats out."""

from __future__ import annotations

import re

PAGE_BYTES = 4096

_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SECONDS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
_RATES = {"pps": 1, "kpps": 1000}
_BIT_RATES = {"bit/s": 1, "kbit/s": 1_000, "Mbit/s": 1_000_000, "Gbit/s": 1_000_000_000}
_SHAPE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z/]+)\s*")


def _quantity(text: object, units: dict[str, float], what: str) -> float:
    example = f'{what} with a unit, as in "16{next(iter(units))}" (units: {", ".join(units)})'
    if not isinstance(text, str):
        raise ValueError(f"{text!r} has no unit: write {example}")
    found = _SHAPE.fullmatch(text)
    if found is None or found.group(2) not in units:
        raise ValueError(f"{text!r} is not {example}")
    return float(found.group(1)) * units[found.group(2)]


def parse_bytes(text: object) -> int:
    """`"96MiB"` -> 100663296. Raises ValueError with an example."""
    return round(_quantity(text, {k: float(v) for k, v in _BYTES.items()}, "a size"))


def parse_seconds(text: object) -> float:
    """`"40s"`, `"250ms"`, `"2min"` -> seconds. Raises ValueError with an example."""
    return _quantity(text, _SECONDS, "a duration")


def parse_pps(text: object) -> int:
    """`"20kpps"` -> packets a second. Raises ValueError with an example."""
    return round(_quantity(text, {k: float(v) for k, v in _RATES.items()}, "a packet rate"))


def parse_bps(text: object) -> int:
    """`"10Mbit/s"` -> bits a second. Raises ValueError with an example."""
    return round(_quantity(text, {k: float(v) for k, v in _BIT_RATES.items()}, "a bit rate"))


def show_bytes(count: int) -> str:
    """100663296 -> `96 MiB`: the largest unit that leaves at most one decimal."""
    for unit in ("GiB", "MiB", "KiB"):
        if abs(count) >= _BYTES[unit]:
            return f"{count / _BYTES[unit]:.1f}".removesuffix(".0") + f" {unit}"
    return f"{count} B"


def show_seconds(seconds: float) -> str:
    """Seconds as people write them: `0.25 s`, `16 s`, `5 min 8 s`."""
    if seconds < 10:
        return f"{seconds:.2f}".rstrip("0").rstrip(".") + " s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"
