"""Owns what may stand in topology, playbook and claims files: the models of their TOML."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from testbed.load import Bytes, Configuration, Count, Flag, Seconds
from testbed.model import Outcome, PreconditionName, Value

Scalar = str | int | float

LinkName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,11}$")]
MachineName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,11}$")]
DiskName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,19}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
ParameterName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]

Outcomes = Annotated[
    tuple[Outcome, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
]
"""One outcome or several."""


# --- topology ------------------------------------------------------------------------------------


class LinkTable(Value):
    """A network segment: one bridge. `management`: the one that control traffic uses.

    `mtu` is that of all NICs on it.
    """

    subnet: str
    management: Flag = False
    mtu: Count | None = Field(default=None, ge=576, le=9000)


class NicTable(Value):
    """A NIC on a link; `rx_ring` is the number of receive descriptors (`ethtool -G`).

    `queues` are pairs of queues, for as many CPUs. An `mtu` must be the link's.
    """

    link: str
    model: str = "e1000e"
    rx_ring: Count | None = Field(default=None, ge=1, le=4096)
    queues: Count | None = Field(default=None, ge=1, le=16)
    mtu: Count | None = None


class DiskTable(Value):
    """An empty disk; in the guest `/dev/testbed/NAME`."""

    name: DiskName
    size: Bytes


Words = Annotated[str, StringConstraints(pattern=r"^[!-~]*( [!-~]+)*$", max_length=400)]
"""Words of a kernel's command line; none is the empty string."""


def _sysctl(value: dict[str, Scalar]) -> dict[str, Scalar]:
    for key, setting in value.items():
        if not f"{key}{setting}".isprintable() or not key or " " in key or "/" in key:
            raise ValueError(f'{key!r} = {setting!r} is no sysctl: write "vm.dirty_ratio" = 60')
    return value


Sysctl = Annotated[dict[str, Scalar], AfterValidator(_sysctl)]
"""Set at boot; one that is the empty string stays as the kernel has it."""


class MachineTable(Value):
    """A guest. `memory_prebuilt` is its memory where the kernel is a distribution's, which needs more.

    `cmdline` are words that its kernel's command line has besides the lab's own. `root_from` names the
    machine whose root it mounts over NFS, in place of a disk of its own: a thin client. The `kernel` under
    test is that of the one machine that is judged; another one may have the `"same"`, and is not judged.
    """

    memory: Bytes
    memory_prebuilt: Bytes | None = None
    vcpus: Count = Field(default=1, ge=1, le=16)
    kernel: Literal["under-test", "support", "same"] = "support"
    nics: tuple[NicTable, ...] = Field(min_length=1)
    disks: tuple[DiskTable, ...] = ()
    sysctl: Sysctl = Field(default_factory=dict)
    cmdline: Words = ""
    root_from: MachineName | None = None


class Topology(Configuration):
    """Machines, their NICs and disks, and the links between them. The management link is implicit."""

    title: str = ""
    links: dict[LinkName, LinkTable] = Field(min_length=1)
    machines: dict[MachineName, MachineTable] = Field(min_length=1)


# --- playbook ------------------------------------------------------------------------------------


class Parameter(Value):
    """A value that forms, variants and `--set` may change; `"$name"` stands for it elsewhere."""

    default: Scalar
    min: Scalar | None = None
    max: Scalar | None = None
    help: str = ""


def _named_outcomes(value: str) -> str:
    for name in re.split(r"\s*\|\s*", value.strip().removeprefix("not ").strip()):
        if name not in get_args(Outcome):
            raise ValueError(f'no outcome \'{name}\': write as in "not recovered", "stalled | livelocked"')
    return value


Expected = Annotated[str, AfterValidator(_named_outcomes)]
"""What must come out: an outcome, several, or what must not be."""


class Answer(Value):
    """What the judge must say of a variant: an answer that is known, since it was made so on purpose.

    `by` are detectors, one of which must have said so; `kernel` is the one to play it on; `recovers`
    are the least and the most time to recover.
    """

    outcome: Expected
    by: tuple[str, ...] = ()
    kernel: str = "stock"
    recovers: tuple[Seconds, Seconds] | None = None


class Variant(Value):
    """The playbook with something left out, or something added.

    `without` names faults and loads that do not happen, `forever` faults that are not healed: the
    judging point is then where the heal would have been. `loads` and `timeline` are added to the
    playbook's, `transport` and `judge` have keys in place of its, and so has `machines` of each machine.
    `needs` are patch sets without which it can not be played, where they are not those of the playbook.
    With `control` it must come out so on every kernel; with `answer` it is a question of `testbed selftest`.
    Else `expect` may have hypotheses by kernel, as the playbook's own, of which none counts here.
    """

    description: str
    without: tuple[str, ...] = ()
    forever: tuple[str, ...] = ()
    requires: tuple[PreconditionName, ...] | None = None
    needs: tuple[str, ...] | None = None
    control: Expected | None = None
    answer: Answer | None = None
    expect: dict[str, Outcomes] = Field(default_factory=dict)
    parameters: dict[ParameterName, Scalar] = Field(default_factory=dict)
    machines: dict[MachineName, dict[str, Any]] = Field(default_factory=dict)
    transport: dict[str, Any] = Field(default_factory=dict)
    loads: dict[Name, dict[str, Any]] = Field(default_factory=dict)
    timeline: tuple[dict[str, Any], ...] = ()
    judge: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_a_check_or_a_question(self) -> Variant:
        if self.expect and self.must is not None:
            raise ValueError("what must come out of it is said already: leave 'expect' out, or what says so")
        return self

    @property
    def must(self) -> str | None:
        """What must come out of it, on whatever kernel; None where that is the question."""
        return self.answer.outcome if self.answer else self.control


class Opening(Configuration):
    """The part of a playbook that says which values the rest is read with."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    needs: tuple[str, ...] = ()
    parameters: dict[ParameterName, Parameter] = Field(default_factory=dict)
    forms: dict[Name, dict[ParameterName, Scalar]] = Field(default_factory=dict)
    variants: dict[Name, Variant] = Field(default_factory=dict)


class MachineChange(Value):
    """What a playbook has otherwise of a machine than its topology; what is not said, and no `vcpus`, stays.

    `cmdline`, `sysctl` and `disks` come to those of the topology, the same sysctl in its place.
    """

    memory: Bytes | None = None
    vcpus: Count = Field(default=0, ge=0, le=16)
    cmdline: Words = ""
    sysctl: Sysctl = Field(default_factory=dict)
    disks: tuple[DiskTable, ...] = ()
    root_from: MachineName | None = None


class TransportTable(Value):
    """How `client` reaches what `server` serves; the other keys are the transport's own."""

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str
    client: str
    server: str
    allow_beyond_timers: Flag = False


class LoadTable(Value):
    """A process of ours `on` a machine; the other keys are the load's own."""

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str
    on: str


class Deed(Value):
    """One entry of the timeline: exactly one of `fault`, `heal`, `start`, `stop`.

    `at` counts from the steady state. With `for` a fault is healed, a load stopped, that much later.
    `fault` is a kind, `name` what the rest of the playbook calls it; its other keys are the fault's own.
    With `on` and `off` it flaps: in force for the one, healed for the other, and so on until it is healed.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    at: Seconds
    for_: Seconds | None = Field(default=None, alias="for")
    fault: str | None = None
    name: Name | None = None
    on: Seconds | None = Field(default=None, ge=0.1)
    off: Seconds | None = Field(default=None, ge=0.1)
    heal: str | None = None
    start: str | None = None
    stop: str | None = None


class BlocksTable(Value):
    """The share of free memory in blocks of this order that is the `least`, of what it was before."""

    order: Count = Field(default=3, ge=1, le=10)
    least: float = Field(default=0.5, gt=0, le=1)


class Judge(Value):
    """What the verdict rests on. What is not said follows from transport and loads.

    `progress` and `in_flight` are series, as in `A/anonymous-1.work_units`; `heals` names the faults
    whose heal is the judging point (else all that are healed); `finish` is the proof at the end: a
    sweep over every page, or the job's exit; `ends_too` are jobs of other machines, without whose end nothing
    is proved; `finish_within` bounds that proof. `watch` is how long to
    go on watching after a deadlock was proved, to see whether the proof holds. The judging point comes no
    earlier than `begin`, on the timeline. With `blocks` the loads are ended after the proof at the end, and
    free memory must not have fallen to pieces.
    """

    requires: tuple[PreconditionName, ...] = ("in-flight", "still", "exhausted")
    finish: Literal["sweep", "exit"] = "sweep"
    finish_loads: tuple[str, ...] | None = None
    ends_too: tuple[str, ...] = ()
    finish_within: Seconds = 120.0
    progress: tuple[str, ...] | None = None
    in_flight: str | None = None
    heals: tuple[str, ...] | None = None
    still: Seconds = 5.0
    bound: Seconds = 300.0
    watch: Seconds = 0.0
    begin: Seconds = 0.0
    rate_window: Seconds = 5.0
    slow_share: float = Field(default=0.25, ge=0, le=1)
    blocks: BlocksTable | None = None


class Playbook(Configuration):
    """A question to a kernel, and the timeline that asks it.

    `needs` are patch sets that it can not be played without, as their files are written.
    """

    title: str
    question: str
    source: str
    topology: str
    steady: Seconds = 5.0
    needs: tuple[str, ...] = ()
    parameters: dict[ParameterName, Parameter] = Field(default_factory=dict)
    forms: dict[Name, dict[ParameterName, Scalar]] = Field(default_factory=dict)
    machines: dict[MachineName, MachineChange] = Field(default_factory=dict)
    transport: TransportTable
    loads: dict[Name, LoadTable] = Field(default_factory=dict)
    timeline: tuple[Deed, ...] = ()
    judge: Judge
    variants: dict[Name, Variant] = Field(default_factory=dict)
    expect: dict[str, Outcomes] = Field(default_factory=dict)


# --- claims --------------------------------------------------------------------------------------

RuleName = Literal[
    "wedges-mostly",
    "recovers-mostly",
    "stays-whole",
    "spares-softirqs",
    "others-fail",
    "never-breaks",
    "wedges-less",
    "recovers-more",
    "is-needed",
    "alike",
    "fails-calls-more",
    "delivers-more",
    "gets-more",
    "no-slower",
]
"""What each asks is in campaign/claims/rules.py."""

Days = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}(, \d{4}-\d{2}-\d{2})*$")]


Prose = Annotated[str, AfterValidator(lambda text: " ".join(text.split()))]
"""Text for people: how it was broken into lines does not count."""


class ArmTable(Value):
    """Where a claim is asked: what `testbed run` is given. What is not said is the playbook's.

    With `under` it is the first of two judgements that is asked: how it went under what others kept up.
    """

    kernel: str
    playbook: str
    form: str = "short"
    variant: str = ""
    transport: str | None = None
    nic: str | None = None
    settings: dict[ParameterName, str] = Field(default_factory=dict)
    under: Flag = False


class ClaimTable(Value):
    """What somebody said, and how it is tested: by a rule over the cells of its arms.

    `repeats` cells of each arm must count; with `idle_counts` also those in which a set of the kernel did
    nothing, where the claim is what comes of the set and not what it does. `missing` says what no playbook
    can ask yet: with it a claim can not hold, and one that has no arms is not settled. `note` bounds what
    the arms show.
    """

    who: str = Field(min_length=1)
    date: Days
    statement: Prose = Field(min_length=1)
    rule: RuleName | None = None
    repeats: Count = Field(default=5, ge=1, le=1000)
    idle_counts: Flag = False
    arms: tuple[ArmTable, ...] = ()
    missing: Prose = ""
    note: Prose = ""


class Claims(Configuration):
    """The claims by their ids, in the order in which they are told."""

    title: str
    source: str
    claims: dict[str, ClaimTable] = Field(min_length=1)
