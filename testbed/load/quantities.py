"""Owns the field types of the TOML files: quantities with their unit, and the way back to text.

A field of these types takes a string with a unit and nothing else, holds a plain number, and is
written to plan.json as a string again, so that what a plan says can be read and validated anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, Strict, WithJsonSchema

from testbed.model import Value
from testbed.units import parse_bps, parse_bytes, parse_pps, parse_seconds

_SHARE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*x\s*")


class Share(Value):
    """A multiple of a machine's memory: `"1.3x"`."""

    times: float


def parse_share(text: object) -> Share:
    """`"1.3x"` -> Share. Raises ValueError with an example."""
    found = _SHARE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f'{text!r} is not a multiple of memory, as in "1.3x"')
    return Share(times=float(found.group(1)))


def parse_memory(text: object) -> int | Share:
    """A size with a unit, or a multiple of the machine's memory."""
    if isinstance(text, str) and _SHARE.fullmatch(text):
        return parse_share(text)
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise ValueError(f'{error}, or a multiple of the machine\'s memory, as in "1.3x"') from None


def parse_flag(given: object) -> bool:
    """True or false, as `yes` or `no` where a parameter, which is text, decides it."""
    if isinstance(given, bool):
        return given
    if given in ("yes", "no"):
        return given == "yes"
    raise ValueError(f'{given!r} is neither true nor false, nor "yes" or "no"')


def write_bytes(count: int) -> str:
    """The size in the largest unit that leaves no fraction: 8388608 -> `8MiB`."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count and count % size == 0:
            return f"{count // size}{unit}"
    return f"{count}B"


def write_seconds(seconds: float) -> str:
    """Exact, and without an exponent: 16.0 -> `16s`, 0.25 -> `0.25s`."""
    text = format(Decimal(repr(seconds)), "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text) + "s"


def write_memory(amount: int | Share) -> str:
    """The way back from `parse_memory`."""
    if isinstance(amount, Share):
        return write_seconds(amount.times).removesuffix("s") + "x"
    return write_bytes(amount)


def _schema(units: str, *examples: str) -> WithJsonSchema:
    pattern = rf"^\s*[0-9]+(\.[0-9]+)?\s*({units})\s*$"
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": list(examples)})


_SIZES = "B|KiB|MiB|GiB"

Bytes = Annotated[
    int, BeforeValidator(parse_bytes), PlainSerializer(write_bytes, str, "json"), _schema(_SIZES, "96MiB")
]
Seconds = Annotated[
    float,
    BeforeValidator(parse_seconds),
    PlainSerializer(write_seconds, str, "json"),
    _schema("ms|s|min|h", "40s", "250ms"),
]
Pps = Annotated[
    int,
    BeforeValidator(parse_pps),
    PlainSerializer(lambda rate: f"{rate}pps", str, "json"),
    _schema("pps|kpps", "20kpps"),
]
Bps = Annotated[
    int,
    BeforeValidator(parse_bps),
    PlainSerializer(lambda rate: f"{rate}bit/s", str, "json"),
    _schema("bit/s|kbit/s|Mbit/s|Gbit/s", "10Mbit/s"),
]
Memory = Annotated[
    int | Share,
    BeforeValidator(parse_memory),
    PlainSerializer(write_memory, str, "json"),
    _schema(f"{_SIZES}|x", "60MiB", "1.3x"),
]
Count = Annotated[int, Strict()]
Flag = Annotated[
    bool,
    BeforeValidator(parse_flag),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"enum": ["yes", "no"]}]}),
]

_DIMENSIONS: tuple[tuple[str, Callable[[object], Any]], ...] = (
    ("a size", parse_bytes),
    ("a duration", parse_seconds),
    ("a packet rate", parse_pps),
    ("a bit rate", parse_bps),
    ("a multiple", lambda text: parse_share(text).times),
)


NUMBER, WORD = "a number", "a word"
UNITLESS = (NUMBER, WORD)


@lru_cache(maxsize=4096, typed=True)
def measure(value: Hashable) -> tuple[str, float]:
    """What kind of quantity a value is, and how much: `"16s"` -> ("a duration", 16.0); words are 0."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return NUMBER, float(value)
    for dimension, parse in _DIMENSIONS:
        try:
            return dimension, float(parse(value))
        except ValueError:
            continue
    return WORD, 0.0
