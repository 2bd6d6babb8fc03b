"""Owns the waiting for guests, from power-on to ready, and whose failure it is if one does not get there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from testbed.clock import NS, Deadline, now_ns, poll
from testbed.errors import BootFailure, TestbedFault
from testbed.machines.console import Console

TAIL_BYTES = 1500
PANIC = "Kernel panic - not syncing"
"""How the kernel says that it goes no further (6.1, kernel/panic.c panic())."""


class NotReady(TestbedFault):
    """The only guest does not get ready: its kernel's doing or the host's, with nothing to compare."""


Ready = Callable[[str], bool]
"""Whether the guest of that name is ready; raises TestbedFault if it can not become so any more."""


def await_all(
    names: Sequence[str],
    under_test: Collection[str],
    ready: Ready,
    console: Callable[[str], Console],
    bound_s: float,
) -> None:
    """Waits until all guests are ready. `bound_s` is for all of them together.

    Raises TestbedFault if one does not get there in time, with the end of its console (NotReady if there is
    no other); BootFailure if it has the kernel `under_test`, and all the others did: with the same image, on
    the same host. Then it had at least as long again as they took.
    """
    others = [name for name in names if name not in under_test]
    begun_ns = now_ns()
    deadline = Deadline.after(bound_s, "boot of all guests")
    for name in others:
        _await(name, ready, console(name), deadline, TestbedFault)
    took_s = (now_ns() - begun_ns) / NS
    own_s = max(deadline.left_s, took_s)
    for name in names:
        if name in under_test:
            own = Deadline.after(own_s, f"boot of '{name}'")
            _await(name, ready, console(name), own, BootFailure if others else NotReady)


def _await(
    name: str, ready: Ready, console: Console, deadline: Deadline, failure: type[TestbedFault | BootFailure]
) -> None:
    try:
        poll(lambda: ready(name), deadline)
    except TestbedFault as error:
        alone = ", and all others are, that have another kernel" if failure is BootFailure else ""
        raise failure(
            f"guest '{name}' does not get ready{alone}: {error.message}; "
            f"its console ends with:\n{console.tail(TAIL_BYTES)}",
            where=str(console.path),
            hint="does this kernel boot, and has it the drivers of testbed/kernels/guest.config?",
        ) from error
