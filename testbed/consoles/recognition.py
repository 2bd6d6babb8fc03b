"""Owns telling which sign a kernel line is, at the price of a few literal comparisons for most lines."""

from __future__ import annotations

from operator import itemgetter

from testbed.consoles.sign import Sign
from testbed.consoles.signs import SIGNS
from testbed.consoles.text import STAMP, clean

Numbered = tuple[int, Sign]


def _by_first_byte() -> dict[int, tuple[tuple[bytes, tuple[Numbered, ...]], ...]]:
    """By the first byte of a message: literal beginnings, each with the signs it may be, in order."""
    found: dict[int, dict[bytes, list[Numbered]]] = {}
    for number, sign in enumerate(SIGNS):
        for start in sign.starts:
            literal = start.encode()
            found.setdefault(literal[0], {}).setdefault(literal, []).append((number, sign))
    return {
        first: tuple((literal, tuple(signs)) for literal, signs in sorted(starts.items()))
        for first, starts in found.items()
    }


_number = itemgetter(0)
_STARTS = _by_first_byte()
_PARTS = tuple((sign.holds.encode(), (number, sign)) for number, sign in enumerate(SIGNS) if sign.holds)


def candidates(message: bytes) -> list[Numbered]:
    """The signs that a message may be, by its literals alone. Empty for nearly every line."""
    found: list[Numbered] = []
    if message:
        for literal, signs in _STARTS.get(message[0], ()):
            if message.startswith(literal):
                found += signs
    for part, numbered in _PARTS:
        if part in message:
            found.append(numbered)
    return found


def known(message: bytes, possible: list[Numbered]) -> tuple[Sign, str] | None:
    """The sign of a message (what follows the timestamp) out of its candidates, and the message cleaned."""
    text = clean(message)
    if len(possible) > 1:
        possible.sort(key=_number)
    for _, sign in possible:
        if sign.known.match(text):
            return sign, text
    return None


def sign_of(line: bytes) -> Sign | None:
    """What a console line means; None for the userland's lines and for lines that do not matter."""
    for stamp in STAMP.finditer(line):
        message = line[stamp.end() :]
        found = known(message, candidates(message))
        if found is not None:
            return found[0]
    return None
