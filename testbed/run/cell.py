"""Owns one cell from plan to saved result folder: every resource on one stack, every fault reverted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from testbed import history, store
from testbed.clock import now_ns, wall_clock
from testbed.errors import BootFailure, TestbedError, TestbedFault
from testbed.images import BuiltImage
from testbed.kernels import BuiltKernel
from testbed.model import SEEN_INSIDE, Plan
from testbed.run import environment, provision
from testbed.run.endings import Ending
from testbed.run.lab import Lab
from testbed.run.looking import Looker
from testbed.run.observe import Listener, Observer
from testbed.run.timeline import Timeline

log = logging.getLogger(__name__)

Keeper = Callable[[Lab], None]
"""Takes a lab over when the cell is done (`--keep`), so that leaving the stack does not end it."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the build stage made for a plan: kernels by the plan's keys, and the image."""

    kernels: dict[str, BuiltKernel]
    image: BuiltImage


def run(plan: Plan, inputs: Inputs, folder: Path, listener: Listener, *, keep: Keeper | None = None) -> None:
    """Plays `plan` and leaves plan, history, consoles and environment in `folder`, which it makes.

    Whatever happens, faults are reverted, the history is saved and the lab is torn down; then the
    error goes on: TestbedFault for a failure of ours, BootFailure of a kernel under test that does not
    boot, KeyboardInterrupt when told to stop. None of them is a verdict.
    """
    try:
        store.write_plan(folder, plan)
        writer = history.Writer(folder / store.HISTORY)
    except OSError as error:
        raise TestbedFault(f"cannot make the result folder: {error.strerror}", where=str(folder)) from error
    begun_ns = now_ns()
    try:
        _record(plan, inputs, folder, writer, listener, keep)
    finally:
        writer.close()
    environment.write_times(folder, begun_ns)


def _record(
    plan: Plan,
    inputs: Inputs,
    folder: Path,
    writer: history.Writer,
    listener: Listener,
    keep: Keeper | None,
) -> None:
    """Plays and tears down; what cut either short is noted, and what came first goes on."""
    first: BaseException | None = None
    try:
        with ExitStack() as stack:
            writer.event("cell.begin", wall_clock=wall_clock())
            try:
                _play(plan, inputs, folder, writer, listener, stack, keep)
            except BaseException as error:
                first = error
                _note(writer, error)
                raise
    except BaseException as error:
        if first is None:
            _note(writer, error)
        elif first is not error:
            log.warning("and on the way out: %s", error)
        cause = first or error
        if isinstance(cause, OSError):
            raise TestbedFault(str(cause)) from cause
        raise cause from cause.__cause__


def _note(writer: history.Writer, error: BaseException) -> None:
    """Notes what cut the cell short, if that can still be written: a full disk must not hide it."""
    if isinstance(error, TestbedError):
        log.error("%s", error)
    try:
        if isinstance(error, KeyboardInterrupt):
            writer.event("interrupted")
        elif isinstance(error, BootFailure):
            writer.event("boot.failed", message=str(error)[:2000])
        else:
            writer.event("testbed.fault", message=(str(error) or repr(error))[:2000])
    except TestbedError as unwritten:
        log.error("%s", unwritten)


def _play(
    plan: Plan,
    inputs: Inputs,
    folder: Path,
    writer: history.Writer,
    listener: Listener,
    stack: ExitStack,
    keep: Keeper | None,
) -> None:
    lab = stack.enter_context(Lab(plan, inputs.kernels, inputs.image, folder))
    writer.event("lab.ready", accelerator=lab.accelerator.kind, why=lab.accelerator.why)
    store.write_json(
        folder / store.ENVIRONMENT, environment.describe(plan, inputs.kernels, inputs.image, lab)
    )
    observer = Observer(writer, lab.witnesses(), listener)
    observer.enter("attaching the transport")
    provision.attach(plan, lab, writer)
    looker = Looker(lab.subject, lab.subject_vmlinux, folder, plan.judging, writer)
    stack.callback(lambda: looker.close(keep=timeline.wedged))
    ending = Ending(lab.subject_console().new)
    timeline = Timeline(
        plan, lab.pages, lab.faults, lab.target, observer, writer, lab.cpu_scale, ending, looker
    )
    # Pushed after the lab, so that faults go first; ours is the last word even when the lab is broken.
    stack.callback(timeline.revert_all)
    timeline.play()
    has_sets = bool(plan.kernel_under_test.spec.sets)
    if (has_sets or SEEN_INSIDE.intersection(plan.judging.requires)) and not timeline.wedged:
        looker.look_back()
    observer.enter("saving")
    writer.flush()
    if keep is not None:
        timeline.lab_stays = True
        keep(lab)
