"""Owns what a cell is called: its labels, which the judge never sees, and its id."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from testbed.configuration import Playbook, Variant
from testbed.model import KernelSpec, Labels, PlannedLink, PlannedMachine, PlannedTransport
from testbed.plan.playbook import PlaybookFile

_UNSAFE = re.compile(r"[^A-Za-z0-9._=+,@-]+")


@dataclass(frozen=True, slots=True)
class Choices:
    """What the user may choose: `nic` and `transport` override the playbook, `settings` its parameters.

    `topology` is the name of the one that was taken, None for the playbook's own.
    """

    form: str = "short"
    variant: str = ""
    seed: int = 1
    nic: str | None = None
    transport: str | None = None
    topology: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    accelerator: Literal["auto", "kvm", "tcg"] = "auto"
    hypothesis: str | None = None


def labels_of(
    file: PlaybookFile,
    playbook: Playbook,
    variant: Variant | None,
    spec: KernelSpec,
    subject: PlannedMachine,
    links: tuple[PlannedLink, ...],
    transport: PlannedTransport,
    choices: Choices,
) -> Labels:
    settings = [f"{name}={value}" for name, value in sorted(choices.settings.items())]
    if choices.topology not in (None, playbook.topology):  # other machines are another question
        settings.insert(0, f"topology={choices.topology}")
    must = variant.must if variant else None
    return Labels(
        playbook=file.name,
        form=",".join(part for part in (file.form(choices.form), *settings) if part),
        variant=choices.variant if variant else "",
        kernel=spec.name,
        nic=_nic(subject, links),
        transport=transport.kind,
        repeat=1,
        expect=must or _hypothesis(playbook, variant, spec, choices),
        control=must is not None,
    )


def _hypothesis(
    playbook: Playbook, variant: Variant | None, spec: KernelSpec, choices: Choices
) -> str | None:
    """Of a variant its own alone: what was said of the question itself was not said of it."""
    told = variant.expect if variant else playbook.expect
    wanted = told.get(spec.name, told.get(spec.label))
    if wanted:
        return " | ".join(wanted)
    return None if variant else choices.hypothesis


def _nic(machine: PlannedMachine, links: tuple[PlannedLink, ...]) -> str:
    """The model on the first data link: an override changes all of them alike."""
    data = [link.name for link in links if not link.management]
    return next(nic.model for nic in machine.nics if nic.link in data)


def idle_labels(spec: KernelSpec, subject: PlannedMachine, links: tuple[PlannedLink, ...]) -> Labels:
    """Of a lab in which nothing is played."""
    return Labels(
        playbook="",
        form="",
        variant="",
        kernel=spec.name,
        nic=_nic(subject, links),
        transport="",
        repeat=1,
        expect=None,
        control=False,
    )


def cell_name(labels: Labels) -> str:
    """`flood-short/vanilla-2007/e1000e/nbd/r1`; a variant follows the form. Safe as a path."""
    played = "-".join(part for part in (labels.playbook, labels.form, labels.variant) if part)
    parts = (played, labels.kernel, labels.nic, labels.transport, f"r{labels.repeat}")
    return "/".join(_UNSAFE.sub("_", part) for part in parts)
