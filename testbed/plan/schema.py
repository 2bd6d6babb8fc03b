"""Owns the JSON schemas of the TOML files, for editors: the models', with every plugin's own keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from testbed import plugins
from testbed.configuration import Claims, Playbook, Topology
from testbed.errors import UsageError, nearest
from testbed.kernels.patchset import SetFile

KINDS: dict[str, type[BaseModel]] = {
    "claims": Claims,
    "playbook": Playbook,
    "set": SetFile,
    "topology": Topology,
}
_PARAMETER = {"type": "string", "pattern": r"^\$[a-z][a-z0-9_]*$"}
_PLUGINS = (("TransportTable", "kind", "testbed.transports"), ("LoadTable", "kind", "testbed.loads"))


def schema(kind: str) -> dict[str, Any]:
    """The JSON schema of `topology`, `playbook`, `set` or `claims` files. Raises UsageError."""
    if kind not in KINDS:
        raise UsageError(f"no schema '{kind}'", hint=nearest(kind, KINDS))
    found = KINDS[kind].model_json_schema(mode="validation")
    if kind == "playbook":
        _add_plugins(found)
        _allow_parameters(found)
    _drop_numbers(found)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def _add_plugins(found: dict[str, Any]) -> None:
    """A table of a kind has that plugin's keys; a deed with `fault` has that fault's."""
    definitions = found["$defs"]
    for name, key, package in _PLUGINS:
        own = definitions.pop(name)
        plugins_of = _models(package).items()
        definitions[name] = {"oneOf": [_merged(own, key, plugin, definitions) for plugin in plugins_of]}
    deed = definitions.pop("Deed")
    faults = [_merged(deed, "fault", kind, definitions) for kind in _models("testbed.faults").items()]
    plain = {**deed, "additionalProperties": False, "title": "heal, start or stop"}
    plain["properties"] = {key: part for key, part in deed["properties"].items() if key != "fault"}
    definitions["Deed"] = {"oneOf": [*faults, plain]}


def _models(package: str) -> Mapping[str, type[BaseModel]]:
    return plugins.collect(package, object)  # type: ignore[arg-type]


def _merged(
    own: dict[str, Any], key: str, plugin: tuple[str, type[BaseModel]], definitions: dict[str, Any]
) -> dict[str, Any]:
    kind, model = plugin
    theirs = model.model_json_schema(mode="validation")
    definitions.update(theirs.pop("$defs", {}))
    required = dict.fromkeys((*own.get("required", ()), key, *theirs.get("required", ())))
    return {
        "title": kind,
        "description": model.__doc__ or "",
        "type": "object",
        "properties": {**own["properties"], key: {"const": kind}, **theirs["properties"]},
        "required": list(required),
        "additionalProperties": False,
    }


def _allow_parameters(found: dict[str, Any]) -> None:
    """Where a value stands in a playbook, `"$name"` may stand as well."""
    tables = [found, *found["$defs"].values()]
    tables += [option for table in found["$defs"].values() for option in table.get("oneOf", ())]
    for table in tables:
        if table.get("title") in ("Parameter", "Variant", "Opening"):
            continue
        for name, part in table.get("properties", {}).items():
            if name in ("title", "question", "source", "topology", "kind"):
                continue
            if "anyOf" in part and any(map(_scalar, part["anyOf"])):
                part["anyOf"].append(_PARAMETER)
            elif _scalar(part):
                table["properties"][name] = {"anyOf": [part, _PARAMETER]}


def _scalar(part: dict[str, Any]) -> bool:
    return part.get("type") in ("string", "integer", "number", "boolean") and "enum" not in part


def _drop_numbers(part: Any) -> None:
    """A quantity is a string with a unit; its default, which the model holds as a number, is not."""
    if isinstance(part, dict):
        if part.get("type") == "string" and not isinstance(part.get("default", ""), str):
            del part["default"]
        for inner in part.values():
            _drop_numbers(inner)
    elif isinstance(part, list):
        for inner in part:
            _drop_numbers(inner)
