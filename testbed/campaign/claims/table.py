"""Owns the table of claims as it is read: each arm checked against playbooks and kernels, as `run` would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from testbed import kernels
from testbed import plan as planning
from testbed.campaign.claims.rules import RULES, Rule
from testbed.campaign.expectation import MAIN_VARIANTS
from testbed.campaign.repeats import Place, place_of
from testbed.configuration import ArmTable, Claims, ClaimTable
from testbed.errors import UsageError, nearest
from testbed.load import CLAIMS, PLAYBOOKS, find_file, load_toml
from testbed.model import KernelSpec, Labels, Plan, PlannedKernel
from testbed.plan import PlaybookFile
from testbed.transports import transport_class

IDS = tuple(f"C{number}{part}" for number in range(1, 34) for part in ("ab" if number == 8 else ("",)))
"""The claims of the thread, by the testbed's own numbers."""

_NOTHING = "0" * 24

Key = tuple[str, Place]
"""A kernel's name, and where it is asked."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Arm:
    """Where a claim is asked. `plan` is its cell but for the digests: no kernel was looked for."""

    table: ArmTable
    plan: Plan

    @property
    def labels(self) -> Labels:
        return self.plan.labels

    @property
    def key(self) -> Key:
        return key_of(self.labels)

    @property
    def sets(self) -> tuple[str, ...]:
        """Of the kernel under test."""
        return self.plan.kernel_under_test.spec.sets


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim with its arms; `rule` is None, and there is no arm, where no playbook can ask it yet."""

    id: str
    about: ClaimTable
    rule: Rule | None
    arms: tuple[Arm, ...]


def key_of(labels: Labels) -> Key:
    """What cells of one arm have in common: kernel, playbook, form with settings, variant, transport, NIC.

    All by the names that people gave, none by digest: a kernel that was built anew is still that kernel.
    """
    main = labels.variant in MAIN_VARIANTS
    return labels.kernel, place_of(labels.model_copy(update={"variant": ""}) if main else labels)


def read(path: Path = CLAIMS) -> tuple[Claim, ...]:
    """Raises UsageError with file, line and key for what is unknown, or can not be played."""
    file = load_toml(path, Claims)
    playbook = cache(planning.read_playbook)
    return tuple(_claim(file, playbook, id_, about) for id_, about in file.claims.items())


def _claim(file: Claims, playbook: Callable[[Path], PlaybookFile], id_: str, about: ClaimTable) -> Claim:
    here = ("claims", id_)
    if id_ not in IDS:
        raise UsageError(f"no claim '{id_}'", hint=nearest(id_, IDS), where=file.where(*here))
    rule = RULES[about.rule] if about.rule else None
    if not about.arms and not about.missing:
        raise UsageError(
            "says neither where it is asked nor what is missing for that",
            hint="give arms and a rule, or missing",
            where=file.where(*here),
        )
    if (rule is None) != (not about.arms):
        lacks = "a rule, but no arms" if rule else "arms, but no rule"
        raise UsageError(f"has {lacks}", hint="give both or neither", where=file.where(*here))
    arms = tuple(_arm(file, playbook, (*here, "arms", number), arm) for number, arm in enumerate(about.arms))
    if rule and rule.compares and len(arms) % 2:
        raise UsageError(
            f"'{rule.name}' compares each arm with the one after it, and there are {len(arms)}",
            hint="say which two belong together",
            where=file.where(*here, "arms"),
        )
    _check_once(file, here, rule, arms)
    return Claim(id_, about, rule, arms)


def _check_once(file: Claims, here: tuple[str, ...], rule: Rule | None, arms: tuple[Arm, ...]) -> None:
    """An arm stands once; where two are compared, one may stand in several pairs."""
    size = 2 if rule and rule.compares else len(arms)
    for start in range(0, len(arms), size or 1):
        keys = [arm.key for arm in arms[start : start + size]]
        for number, key in enumerate(keys):
            if key in keys[:number]:
                raise UsageError("stands here twice", where=file.where(*here, "arms", start + number))


def _arm(
    file: Claims,
    playbook: Callable[[Path], PlaybookFile],
    here: tuple[str | int, ...],
    table: ArmTable,
) -> Arm:
    def at(key: str, read_: Callable[[], T]) -> T:
        """What is wrong of a playbook's own names is wrong here, at `key`."""
        try:
            return read_()
        except UsageError as error:
            raise UsageError(error.message, hint=error.hint, where=file.where(*here, key)) from error

    book = playbook(
        find_file(table.playbook, PLAYBOOKS, where=file.where(*here, "playbook"), only_names=True)
    )
    spec = at("kernel", lambda: kernels.resolve(table.kernel))
    at("form", lambda: book.form(table.form))
    at("variant", lambda: book.variant(table.variant))
    at("kernel", lambda: planning.check_needs(book, table.variant, spec))
    at("settings", lambda: book.values(table.form, table.variant, table.settings))
    if table.transport is not None:
        at("transport", lambda: transport_class(table.transport or ""))
    choices = planning.Choices(
        form=table.form,
        variant=table.variant,
        nic=table.nic,
        transport=table.transport,
        settings=table.settings,
    )
    topology = planning.topology_of(book)
    made = at(
        "nic" if table.nic is not None else "playbook",
        lambda: planning.plan(topology, book, _kernels(spec), _NOTHING, choices),
    )
    if table.under and not made.judging.through:
        raise UsageError(
            "nothing is kept up through the heal there",
            hint="leave 'under' out, or ask a variant in which the flood goes on",
            where=file.where(*here, "under"),
        )
    return Arm(table, made)


def _kernels(spec: KernelSpec) -> planning.Kernels:
    """By name alone: neither a base is fetched nor a digest made."""
    support = planning.support_spec(spec)
    return planning.Kernels(
        PlannedKernel(spec=spec, digest=_NOTHING), PlannedKernel(spec=support, digest=_NOTHING)
    )
