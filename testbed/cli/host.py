"""The commands about this host: what it can do, and what was left on it."""

from __future__ import annotations

from typing import Annotated

import typer

from testbed import doctor as examination
from testbed import kernels
from testbed.cli import inputs, show
from testbed.cli.exits import Exit, out, print_json, shows_errors
from testbed.cli.options import AsJson
from testbed.errors import TestbedFault
from testbed.machines import accelerator, registry
from testbed.machines.sandbox import Sandbox


@shows_errors
def doctor(as_json: AsJson = False) -> None:
    """Examine this host: what it can do, and for each lack the remedy.

    Example: testbed doctor
    """
    probes = examination.Probes(_probe_sandbox, _probe_delay, _probe_overlay, _probe_accelerator)
    checks = list(examination.examine(probes))
    if as_json:
        print_json([show.check_json(check) for check in checks])
    else:
        out.print(show.checks(checks))
    if any(check.needed and not check.ok for check in checks):
        raise typer.Exit(Exit.FAULT)


def _probe_sandbox() -> str:
    with Sandbox(shm_bytes=64 << 20, what="doctor") as sandbox:
        sandbox.broker.make_link("br-doctor")
        sandbox.broker.make_tap("tap-doctor", "br-doctor")
        return "a lab can be made, with bridge, tap and its own libvirtd"


def _probe_delay() -> str:
    with Sandbox(shm_bytes=64 << 20, what="doctor") as sandbox:
        sandbox.broker.make_link("br-doctor")
        sandbox.broker.make_tap("tap-doctor", "br-doctor")
        sandbox.broker.delay("tap-doctor", 0.01)
        # What netem holds up needs no rule that turns it aside.
        by = (
            "a relay of the testbed's, as this kernel has no sch_netem"
            if sandbox.broker.blocked()
            else "sch_netem"
        )
        return f"packets can be delayed by {by}"


def _probe_overlay() -> str:
    if not kernels.overlay_works():
        raise TestbedFault("none in a user namespace: the tree of the base is copied for each patched kernel")
    return "patched kernels are built over the tree of their base"


def _probe_accelerator() -> str:
    canary = inputs.any_kernel()
    if canary is None:
        raise TestbedFault("no kernel to try it with yet", hint="run: testbed build debian")
    chosen = accelerator.choose("auto", canary)
    if chosen.kind != "kvm":
        raise TestbedFault(chosen.why.removeprefix("KVM is not usable: "), hint=chosen.remedy)
    return chosen.why


@shows_errors
def gc(
    cache_gib: Annotated[float, typer.Option(help="Bound of the kernel cache in GiB.")] = 12.0,
    as_json: AsJson = False,
) -> None:
    """End what killed controllers left running, and bound the cache.

    Example: testbed gc --cache-gib 10
    """
    ended = registry.gc()
    dropped = kernels.gc(round(cache_gib * (1 << 30)))
    if as_json:
        print_json({"labs": list(ended), "cache": [path.name for path in dropped]})
        return
    for lab_id in ended:
        out.print(f"lab {lab_id}: ended and removed")
    for path in dropped:
        out.print(f"cache: dropped {path.name}")
    if not ended and not dropped:
        out.print("nothing was left behind, and the cache is within its bound")
