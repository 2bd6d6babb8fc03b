"""Every field of a look is shown on the terminal, or there is a reason why it is not."""

from __future__ import annotations

from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import BaseModel
from rich.console import Console

from testbed.cli import looks
from testbed.snapshot import Snapshot
from testbed.waitfor import Graph

NOT_SHOWN = {
    "Snapshot.schema_version": "of the file, not of the guest",
    "Snapshot.taken_ns": "the host's clock, which tells something beside the history alone",
    "Wait.frame": "one of the innermost functions of the stack, which is shown",
    "Request.address": "device, tag and sector name it",
    "Request.folios": "as many as its KiB; who waits for one of them is told the request",
}


def kinds(kind: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The model and all that it is made of."""
    yield kind
    for field in kind.model_fields.values():
        for part in parts(field.annotation):
            yield from kinds(part)


def parts(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from parts(inner)


FIELDS = [
    f"{kind.__name__}.{name}"
    for kind in dict.fromkeys(kinds(Snapshot))
    for name, field in kind.model_fields.items()
    if not any(parts(field.annotation))  # else it is shown by what it is made of
]


def sample(annotation: Any, number: int, changed: str, other: bool) -> Any:
    """A value of that type, unlike that of another field; `other`: a second one. `changed` goes deeper."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return sample(inner[0], number, changed, other)
    if origin in (Union, UnionType):
        return sample(next(each for each in inner if each is not NoneType), number, changed, other)
    if origin is Literal:
        return inner[-1 if other else 0]
    if origin is tuple:
        each = [one for one in inner if one is not Ellipsis]
        return tuple(sample(one, number + at, changed, other) for at, one in enumerate(each))
    if origin is dict:
        return {f"key{number}": sample(inner[1], number, changed, other)}
    if issubclass(annotation, BaseModel):
        return filled(annotation, changed)
    if annotation is bool:
        return not other
    counted = 1_000_000 + 50_021 * number + 7_000_000 * other
    return annotation(counted) if annotation is int else f"text{counted}"


def filled(kind: type[BaseModel], changed: str = "") -> BaseModel:
    """A value with every field set; that which is named `changed` is another than it would be."""
    return kind.model_validate(
        {
            name: sample(field.annotation, at, changed, f"{kind.__name__}.{name}" == changed)
            for at, (name, field) in enumerate(kind.model_fields.items())
        }
    )


def shown(changed: str = "") -> str:
    one = filled(Snapshot, changed)
    assert isinstance(one, Snapshot)
    console = Console(width=1000)
    with console.capture() as told:
        console.print(looks.snapshot(one))
    return told.get()


def test_every_field_is_shown_or_has_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """A field is shown if the page is another where the field is another. The graph is no table of facts."""
    monkeypatch.setattr(looks, "wait_for_graph", lambda _: Graph())
    page = shown()
    unseen = {name for name in FIELDS if shown(name) == page}
    assert sorted(unseen - set(NOT_SHOWN)) == [], "to be shown by testbed/cli/looks.py, or in NOT_SHOWN"
    assert sorted(set(NOT_SHOWN) - unseen) == [], "in NOT_SHOWN, but shown, or no field at all"
