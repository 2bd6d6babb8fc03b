"""Owns how inputs are spoiled: bytes and records as a torn file has them, looks as a hostile guest has them.

What a guest's memory says wrongly is mostly well formed: a snapshot is changed value by value, and a change
that the model refuses is not made. So every look that comes of it is one that the graph builder is given.
"""

from __future__ import annotations

import json
import random
from typing import Any, TypeVar

from pydantic import ValidationError

from testbed.model import Value
from testbed.snapshot import Snapshot

V = TypeVar("V", bound=Value)
Known = dict[str, list[Any]]

ODD_BYTES = (b"\n", b"\r", b"\x1b[2J", b"-1", b"99999999999999999999", b'"', b"[" * 40)
ODD_NUMBERS = (0, 1, -1, 2, 4096, 1 << 31, (1 << 63) - 1, -(1 << 63), (1 << 64) - 1, 10**20, 10**400)
ODD_TEXTS = ("", "x" * 256, "\x1b[2J", "\u202e", "\0", "-", ":", "loop0", "kswapd0", "R", "D", "tcp", "udp")
ODD_FIELDS: tuple[Any, ...] = (None, True, -1, 0.5, 10**400, "", "x" * 300, [], [3], {}, {"a": [None]})
REFERS = {
    **dict.fromkeys(("owner", "waiters", "readers", "holders"), "pid"),
    **dict.fromkeys(("socket", "peer", "folios", "holds_sockets"), "address"),
}
"""Fields that name something else, and the field by which it is called itself."""


def mutated(data: bytes, rng: random.Random) -> bytes:
    """A few cuts, copies, flips and insertions: what a torn file looks like."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if not found:
            return bytes(found)
        at, length = rng.randrange(len(found)), rng.choice((1, 4, 40, 400))
        kind = rng.randrange(5)
        if kind == 0:
            found[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del found[at : at + length]
        elif kind == 2:
            found[at:at] = found[rng.randrange(len(found)) :][:length]
        elif kind == 3:
            found[at:at] = rng.randbytes(rng.choice((1, 8)))
        else:
            found[at : at + 1] = rng.choice(ODD_BYTES)
    return bytes(found)


def mutated_history(lines: list[bytes], rng: random.Random) -> bytes:
    """Records odd, dropped, twice there or out of order; events, which are few, as often as samples."""
    found = list(lines)
    events = [at for at, line in enumerate(found) if b'"kind":"event"' in line]
    for _ in range(rng.choice((1, 2, 4, 16, 64))):
        at, other = rng.choice((rng.randrange(len(found)), rng.choice(events))), rng.randrange(len(found))
        kind = rng.randrange(6)
        if kind == 0:
            found[at] = b""
        elif kind == 1:
            found[at] += found[at]
        elif kind == 2:
            found[at], found[other] = found[other], found[at]
        elif lines[at]:
            found[at] = json.dumps(_odd_record(json.loads(lines[at]), json.loads(lines[other]), rng)).encode()
            found[at] += b"\n"
    return b"".join(found)


def _odd_record(record: dict[str, Any], other: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """`other` lends what it has of the same kind."""
    if rng.random() < 0.1:
        return {**record, "t": max(0, record["t"] + rng.choice((-1, 1, 10**9, -(10**10), 10**12, 10**400)))}
    if record["kind"] == "sample":
        key = rng.choice([*record["v"], *other.get("v", ())])
        value = rng.choice((*ODD_NUMBERS, *(count + 1 for count in record["v"].values())))
        return {**record, "v": {**record["v"], key: value}}
    key = rng.choice([name for name in record if name not in ("t", "kind")])
    return {**record, key: other.get(key, "judging.end") if rng.random() < 0.3 else rng.choice(ODD_FIELDS)}


def mutated_look(look: Snapshot, rng: random.Random) -> Snapshot:
    """Numbers and words odd or another's, references to others, items dropped, doubled, out of order."""
    known: Known = {}
    _gather(look, known)
    for _ in range(rng.choice((1, 1, 2, 4, 16, 64))):
        look = _changed(look, known, rng)
    return look


def _gather(value: Value, known: Known) -> None:
    """All values of each field, in all that `value` holds, by the field that tells what they call."""
    for name, held in value:
        for one in held if isinstance(held, tuple) else (held,):
            known.setdefault(REFERS.get(name, name), []).append(one)
            if isinstance(one, Value):
                _gather(one, known)


def _changed(value: V, known: Known, rng: random.Random) -> V:
    """`value` with one field another, or as it was where the model refuses that."""
    fields = dict(value)
    holding = [name for name, held in fields.items() if isinstance(held, (tuple, Value)) and held]
    telling = [name for name in fields if name in REFERS]
    name = rng.choice(rng.choice([kind for kind in (holding, holding, telling, telling, [*fields]) if kind]))
    try:
        return type(value).model_validate({**fields, name: _other(fields[name], name, known, rng)})
    except ValidationError:
        return value


def _other(held: Any, name: str, known: Known, rng: random.Random) -> Any:
    """Something else in place of what a field, or an item of it, holds."""
    if isinstance(held, Value) and rng.random() < 0.9:
        return _changed(held, known, rng)
    if isinstance(held, tuple):
        return _other_items(held, name, known, rng)
    if isinstance(held, dict):
        key = rng.choice([*held, "pages"])
        return {**held, key: rng.choice(ODD_NUMBERS)} if rng.random() < 0.7 else {}
    luck = rng.random()
    if luck < 0.5:
        return rng.choice(known.get(REFERS.get(name, name), [None]))
    if luck < 0.6:
        return None
    if isinstance(held, bool):
        return not held
    if isinstance(held, str):
        return rng.choice(ODD_TEXTS)
    return rng.choice((*ODD_NUMBERS, *((held - 1, held + 1) if isinstance(held, int) else ())))


def _other_items(items: tuple[Any, ...], name: str, known: Known, rng: random.Random) -> tuple[Any, ...]:
    found = list(items)
    kind = rng.randrange(8)
    if kind == 0 or not found:
        found.insert(rng.randrange(len(found) + 1), rng.choice(known.get(REFERS.get(name, name), [0])))
        return tuple(found)
    at = rng.randrange(len(found))
    if kind == 1:
        del found[at]
    elif kind == 2:
        found.insert(rng.randrange(len(found) + 1), found[at])
    elif kind == 3:
        rng.shuffle(found)
    else:
        found[at] = _other(found[at], name, known, rng)
    return tuple(found)
