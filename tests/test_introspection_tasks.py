"""What a task waits for, by the functions on its stack, as each version calls them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from testbed.introspection import tasks
from testbed.snapshot import Task
from testbed.waitfor.tasks import _sleeps_there

IN_THE_POOL = {
    "6.1": ["__schedule", "schedule", "schedule_timeout", "io_schedule_timeout", "mempool_alloc"],
    "6.12": ["__schedule", "__schedule_loop", "schedule", "schedule_timeout", "io_schedule_timeout",
             "mempool_alloc_noprof"],
    "7.3": ["__schedule", "__schedule_loop", "schedule", "schedule_timeout", "io_schedule_timeout",
            "mempool_alloc_from_pool", "mempool_alloc_noprof"],
}  # fmt: skip


def read(names: list[str]) -> tuple[Task, Any]:
    """The task as a look has it, whose stack drgn would give as `names`."""
    told = [SimpleNamespace(name=name) for name in names]
    frames = tasks._frames(SimpleNamespace(stack_trace=lambda task: told), None)  # type: ignore[arg-type]
    wait = tasks._wait(None, frames)  # type: ignore[arg-type]
    stack = tuple(name for name, _ in frames)
    task = Task(pid=1, comm="kswapd0", state="D", kthread=True, pf_memalloc=True, stack=stack, waits=wait)
    return task, wait


@pytest.mark.parametrize("base", IN_THE_POOL)
def test_who_waits_for_an_element_of_a_pool_is_known_on_every_base(base: str) -> None:
    task, wait = read([*IN_THE_POOL[base], "bio_alloc_bioset", "__swap_writepage"])
    assert wait is not None and wait.kind == "pool"
    assert _sleeps_there(task), "and sleeps there, not in something that was called from there"


def test_who_sleeps_for_something_else_on_the_way_is_not_taken_for_a_waiter() -> None:
    task, wait = read(["__schedule_loop", "schedule", "jbd2_log_wait_commit", "mempool_alloc_noprof"])
    assert wait is not None and not _sleeps_there(task)
