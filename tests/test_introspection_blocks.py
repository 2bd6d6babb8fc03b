"""Which pages a request moves: what its bios have left, as each version keeps that."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from testbed.introspection import blocks
from testbed.introspection.reading import Reading

PAGE = 4096


class Memory(list[Any]):
    """As an array in the guest: what lies behind the end is there, and none of ours."""

    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(index) if index < len(self) else vector(999, size=PAGE)


def vector(page: int, *, offset: int = 0, size: int) -> SimpleNamespace:
    return SimpleNamespace(bv_page=page, bv_offset=offset, bv_len=size)


def bio(*vectors: SimpleNamespace, size: int, index: int = 0, done: int = 0, member: str) -> SimpleNamespace:
    """`bi_vcnt` is 0: swap's own of 7.3 do not set it, nor do clones."""
    type_ = SimpleNamespace(has_member=lambda name: name == member)
    place = SimpleNamespace(bi_size=size, bi_idx=index, type_=type_, **{member: done})
    return SimpleNamespace(bi_iter=place, bi_io_vec=Memory(vectors), bi_vcnt=0)


@pytest.mark.parametrize("member", ["bi_bvec_done", "bi_offset"])
def test_pages_are_those_that_are_still_to_be_moved(member: str) -> None:
    one, many = vector(10, size=PAGE), vector(20, offset=512, size=3 * PAGE)
    reading = Reading(None)  # type: ignore[arg-type]

    def pages(size: int, index: int = 0, done: int = 0) -> list[int]:
        return list(blocks._pages(reading, bio(one, many, size=size, index=index, done=done, member=member)))

    assert pages(4 * PAGE) == [10, 20, 21, 22, 23], "a vector of many pages, which begins within the first"
    assert pages(PAGE) == [10], "no vector behind what is left"
    assert pages(0) == []
    assert pages(2 * PAGE, index=1, done=PAGE) == [21, 22, 23]
    assert not reading.missing


def test_what_can_not_be_read_is_noted_and_no_page_is_made_up() -> None:
    reading = Reading(None)  # type: ignore[arg-type]
    assert list(blocks._pages(reading, SimpleNamespace())) == []
    assert len(reading.missing) == 1
