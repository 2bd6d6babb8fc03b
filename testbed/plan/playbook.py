"""Owns a playbook's parameters: forms, variants and the user change them, `"$name"` stands for them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from testbed.configuration import Answer, Opening, Parameter, Playbook, Scalar, Topology, Variant
from testbed.errors import UsageError, nearest
from testbed.kernels import patchset
from testbed.kernels.naming import PATCHES
from testbed.load import (
    TOPOLOGIES,
    UNITLESS,
    KeyPath,
    Source,
    find_file,
    load_toml,
    measure,
    read_toml,
    validate,
)
from testbed.load.quantities import write_seconds
from testbed.load.toml import shown

MAIN = ""
_NOT_SUBSTITUTED = ("parameters", "forms", "variants")
_SUM = re.compile(r"\$([a-z][a-z0-9_]*) \+ (.+)")
"""A variant's parameter that is another one and some time more, whatever the form."""
_NUMBERS = re.compile(r"[0-9]+(?: [0-9]+)+")
_DURATION, _ = measure("0s")


@dataclass(frozen=True, slots=True)
class PlaybookFile:
    """A playbook as read: with a form, a variant and settings it becomes a Playbook."""

    source: Source
    opening: Opening

    @property
    def name(self) -> str:
        return self.source.path.stem

    @property
    def forms(self) -> tuple[str, ...]:
        return tuple(self.opening.forms)

    @property
    def controls(self) -> tuple[str, ...]:
        """The variants that must come out one way on every kernel."""
        return tuple(name for name, variant in self.opening.variants.items() if variant.control)

    @property
    def answers(self) -> dict[str, Answer]:
        """The variants whose answer is known, in the file's order."""
        return {name: variant.answer for name, variant in self.opening.variants.items() if variant.answer}

    def variant(self, name: str) -> Variant | None:
        """None for the main one, which is called '' (or `main`). Raises UsageError."""
        if name in (MAIN, "main"):
            return None
        if name not in self.opening.variants:
            known = ("main", *self.opening.variants)
            raise UsageError(
                f"no variant '{name}'", hint=nearest(name, known), where=self.source.where("variants")
            )
        return self.opening.variants[name]

    def needs(self, variant: str) -> tuple[str, ...]:
        """The patch sets that it can not be played without: the variant's own, else the playbook's."""
        chosen = self.variant(variant)
        return self.opening.needs if chosen is None or chosen.needs is None else chosen.needs

    def where_needs(self, variant: str) -> str:
        """`file:line: key` of those."""
        chosen = self.variant(variant)
        own = chosen is not None and chosen.needs is not None
        return self.source.where(*(("variants", variant) if own else ()), "needs")

    def form(self, name: str) -> str:
        """The form's name, '' if the playbook has no forms. Raises UsageError."""
        if not self.opening.forms:
            return ""
        if name not in self.opening.forms:
            raise UsageError(
                f"no form '{name}'", hint=nearest(name, self.opening.forms), where=self.source.where("forms")
            )
        return name

    def values(self, form: str, variant: str, settings: Mapping[str, str]) -> dict[str, Scalar]:
        """Every parameter's value: default, then form, then variant, then the user's setting."""
        values = {name: parameter.default for name, parameter in self.opening.parameters.items()}
        if self.form(form):
            values |= self.opening.forms[form]
        chosen = self.variant(variant)
        if chosen is not None:
            values |= chosen.parameters
        for name, text in settings.items():
            where = f"--set {name}={text}"
            parameter = self._parameter(name, where)
            values[name] = _as_written(text, parameter)
            _check_range(name, values[name], parameter, where)
        if chosen is not None:
            for name in _sums(chosen.parameters) - settings.keys():
                where = self.source.where("variants", variant, "parameters", name)
                values[name] = self._added(str(values[name]), values, where)
                _check_range(name, values[name], self._parameter(name, where), where)
        return values

    def _added(self, text: str, values: Mapping[str, Scalar], where: str) -> str:
        """What `"$outage + 1min"` comes to."""
        found = _SUM.fullmatch(text)
        name, more = found.groups() if found else ("", "")
        self._parameter(name, where)
        total_s = 0.0
        for part in (values[name], more):
            kind, amount = measure(part)
            if kind != _DURATION:
                raise UsageError(
                    f"{part!r} is {kind}, but only times are added", hint="as in '16s'", where=where
                )
            total_s += amount
        return write_seconds(round(total_s, 6))

    def playbook(self, form: str, variant: str = MAIN, settings: Mapping[str, str] | None = None) -> Playbook:
        """The playbook with all parameters filled in. Raises UsageError with file, line and key."""
        values = self.values(form, variant, settings or {})
        source = self._with(variant)
        tree = {
            key: part if key in _NOT_SUBSTITUTED else _fill(part, values, source, (key,))
            for key, part in source.tree.items()
        }
        used = set(_parameters(self.source.tree))
        for name in values:
            if name not in used:
                raise UsageError(f"'${name}' is used nowhere", where=self.source.where("parameters", name))
        self._check_heard(settings or {}, set(_parameters(source.tree)))
        return validate(source, Playbook, tree | {"needs": self.needs(variant)})

    def _check_heard(self, settings: Mapping[str, str], used: set[str]) -> None:
        """Refuses a setting that this variant does not use: its cells would lack what they are named by."""
        for name in settings.keys() - used:
            others = {
                variant
                for variant, own in self.source.tree["variants"].items()
                if name in set(_parameters(own))
            }
            raise UsageError(
                f"'{name}' is used by other variants alone",
                hint=f"it is by: {', '.join(sorted(others))}",
                where=f"--set {name}={settings[name]}",
            )

    def _with(self, variant: str) -> Source:
        """The file as if it had been written for this variant alone: others do not count for its digest.

        Nor do patch sets that it needs: on which kernels it can not be played changes nothing on the others.
        """
        tree = _without_needs(self.source.tree)
        variants = tree.pop("variants", {})
        if self.variant(variant) is None:
            return replace(self.source, tree=tree)
        own, moved = _without_needs(variants[variant]), dict(self.source.moved)
        tree["variants"] = {variant: own}
        _change_machines(tree, own.get("machines", {}), ("variants", variant, "machines"), moved)
        for key, empty in (("transport", dict), ("loads", dict), ("judge", dict), ("timeline", list)):
            base = tree.get(key, empty())
            if key not in own or not isinstance(base, empty):
                continue  # nothing to add, or a mistake that is told when the whole is validated
            here = ("variants", variant, key)
            if isinstance(base, dict):
                tree[key] = base | own[key]
                moved |= {(key, name): (*here, name) for name in own[key]}
            else:
                tree[key] = base + own[key]
                moved |= {(key, len(base) + number): (*here, number) for number in range(len(own[key]))}
        return replace(self.source, tree=tree, moved=moved)

    def check_values(self) -> None:
        """Refuses a form's or a variant's value that is unknown, of another kind, or out of range."""
        for name, parameter in self.opening.parameters.items():
            self._check_default(name, parameter)
            for key in ("min", "max", "default"):
                value = getattr(parameter, key)
                if value is not None:
                    like = parameter if key == "default" else _one_of(parameter)
                    _check_range(name, value, like, self.source.where("parameters", name, key))
        for form, values in self.opening.forms.items():
            self._check_table(values, ("forms", form))
        for variant, chosen in self.opening.variants.items():
            sums = _sums(chosen.parameters)
            plain = {name: value for name, value in chosen.parameters.items() if name not in sums}
            self._check_table(plain, ("variants", variant, "parameters"))
            for form in self.forms or ("",):
                self.values(form, variant, {})

    def check_sets(self) -> None:
        """Refuses a patch set that is needed and that there is not."""
        known = patchset.known(PATCHES)
        for variant in (MAIN, *self.opening.variants):
            for name in self.needs(variant):
                if name not in known:
                    raise UsageError(
                        f"no patch set '{name}'", hint=nearest(name, known), where=self.where_needs(variant)
                    )

    def _check_default(self, name: str, parameter: Parameter) -> None:
        """Refuses a default that is alone in what it is: the others are not wrong by it."""
        if parameter.default == "" or _several(parameter):
            return  # nothing, or several numbers: the bounds are of one
        tables = (*self.opening.forms.values(), *(one.parameters for one in self.opening.variants.values()))
        others = [parameter.min, parameter.max, *(table.get(name) for table in tables)]
        others = [value for value in others if value is not None]
        agreed = {measure(value)[0] for value in others}
        found, _ = measure(parameter.default)
        if len(agreed) != 1 or found in agreed or (len(others) == 1 and found not in UNITLESS):
            return
        raise UsageError(
            f"{parameter.default!r} is {found}, but all else that '{name}' can be is {agreed.pop()}",
            hint=f"as in {others[0]!r}",
            where=self.source.where("parameters", name, "default"),
        )

    def _check_table(self, values: Mapping[str, Scalar], key: tuple[str, ...]) -> None:
        for name, value in values.items():
            where = self.source.where(*key, name)
            _check_range(name, value, self._parameter(name, where), where)

    def _parameter(self, name: str, where: str) -> Parameter:
        if name not in self.opening.parameters:
            raise UsageError(
                f"no parameter '{name}'", hint=nearest(name, self.opening.parameters), where=where
            )
        return self.opening.parameters[name]


def read_playbook(path: Path) -> PlaybookFile:
    """Reads a playbook and the values in it; the rest is read with a form and a variant."""
    source = read_toml(path)
    if is_topology(source):
        raise UsageError(
            "is a topology, and no playbook",
            hint=f"a playbook names it (topology = ...); to boot it alone: testbed up {shown(path)}",
            where=source.where(),
        )
    file = PlaybookFile(source, validate(source, Opening))
    file.check_values()
    file.check_sets()
    return file


def is_topology(source: Source) -> bool:
    """By what the file says, wherever it lies. A playbook may have words for machines, too."""
    keys = source.tree.keys()
    return bool(keys & {"links", "machines"}) and not keys & {"topology", "transport", "judge"}


def topology_of(file: PlaybookFile, chosen: str | None = None) -> Topology:
    """The topology that the playbook names, or the one that was chosen, from the project's own folder."""
    name = chosen or file.source.tree.get("topology")
    where = "--topology" if chosen else file.source.where("topology")
    if not isinstance(name, str):
        raise UsageError("is missing, or is no name", where=where)
    return load_toml(find_file(name, TOPOLOGIES, where=where, only_names=True), Topology)


def _change_machines(
    tree: dict[str, Any], changes: Mapping[str, Any], here: KeyPath, moved: dict[KeyPath, KeyPath]
) -> None:
    """Key by key: a variant that says one thing of a machine leaves the rest as the playbook has it."""
    base = tree.get("machines", {})
    if not changes or not isinstance(base, dict):
        return  # nothing to change, or a mistake that is told when the whole is validated
    tree["machines"] = _laid_over(base, changes, ("machines",), here, moved)


def _laid_over(
    base: Mapping[str, Any],
    changes: Mapping[str, Any],
    key: KeyPath,
    here: KeyPath,
    moved: dict[KeyPath, KeyPath],
) -> dict[str, Any]:
    """Tables within tables are changed alike, as the settings of a machine; all else is replaced whole."""
    merged = dict(base)
    for name, own in changes.items():
        within = base.get(name)
        if isinstance(within, dict) and isinstance(own, dict):
            merged[name] = _laid_over(within, own, (*key, name), (*here, name), moved)
        else:
            merged[name] = own
            moved[*key, name] = (*here, name)
    return merged


def _without_needs(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {key: part for key, part in tree.items() if key != "needs"}


def _parameters(part: Any) -> Iterator[str]:
    """The names of all parameters that stand somewhere in it."""
    if isinstance(part, dict | list):
        for inner in part.values() if isinstance(part, dict) else part:
            yield from _parameters(inner)
    elif isinstance(part, str) and part.startswith("$"):
        yield part[1:].partition(" ")[0]


def _fill(part: Any, values: Mapping[str, Scalar], source: Source, key: tuple[str | int, ...]) -> Any:
    if isinstance(part, dict):
        return {name: _fill(value, values, source, (*key, name)) for name, value in part.items()}
    if isinstance(part, list):
        return [_fill(value, values, source, (*key, number)) for number, value in enumerate(part)]
    if isinstance(part, str) and part.startswith("$"):
        name = part[1:]
        if name not in values:
            raise UsageError(f"no parameter '{name}'", hint=nearest(name, values), where=source.where(*key))
        return values[name]
    return part


def _sums(values: Mapping[str, Scalar]) -> set[str]:
    """The names of those that are a sum."""
    return {name for name, value in values.items() if isinstance(value, str) and _SUM.fullmatch(value)}


def _several(parameter: Parameter) -> bool:
    """Whether it is several numbers, as `"64 96 128"`: as many must always be given, none below the last."""
    return isinstance(parameter.default, str) and _NUMBERS.fullmatch(parameter.default) is not None


def _one_of(parameter: Parameter) -> Parameter:
    """What a single value is measured by: one of several numbers, or the bounds where the default is none."""
    if _several(parameter):
        return parameter.model_copy(update={"default": int(str(parameter.default).split()[0])})
    if parameter.default == "" and parameter.min is not None:
        return parameter.model_copy(update={"default": parameter.min})
    return parameter


def _as_written(text: str, parameter: Parameter) -> Scalar:
    """A setting of the command line: a number where the parameter is one."""
    if _several(parameter):
        return text
    example = _one_of(parameter).default
    if isinstance(example, str):
        return text
    try:
        return type(example)(text)
    except ValueError:
        return text


def _check_range(name: str, value: Scalar, parameter: Parameter, where: str) -> None:
    if value == "" and parameter.default == "":
        return  # as it is without
    if _several(parameter):
        _check_several(name, value, parameter, where)
        return
    parameter = _one_of(parameter)
    wanted, _ = measure(parameter.default)
    found, amount = measure(value)
    if found != wanted:
        raise UsageError(
            f"{value!r} is {found}, but '{name}' is {wanted}",
            hint=f"as in {parameter.default!r}",
            where=where,
        )
    for bound, beyond in ((parameter.min, -1), (parameter.max, 1)):
        if bound is not None and (amount - measure(bound)[1]) * beyond > 0:
            side = "below the least" if beyond < 0 else "above the most"
            raise UsageError(
                f"{value} is {side} that '{name}' can be: {bound}",
                hint=parameter.help or f"'{name}' is {wanted}",
                where=where,
            )


def _check_several(name: str, value: Scalar, parameter: Parameter, where: str) -> None:
    wanted = len(str(parameter.default).split())
    numbers = [int(word) for word in str(value).split()] if _NUMBERS.fullmatch(str(value)) else []
    if len(numbers) != wanted or numbers != sorted(numbers):
        raise UsageError(
            f"{value!r} is not {wanted} numbers, each no less than the one before it, which '{name}' is",
            hint=f"as in {parameter.default!r}",
            where=where,
        )
    for number in numbers:
        _check_range(name, number, _one_of(parameter), where)
