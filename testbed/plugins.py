"""Owns the finding of plugins: a file in a plugin package registers its classes by their `kind`."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType, ModuleType
from typing import Any, TypeVar

from testbed.errors import TestbedFault, UsageError, nearest

P = TypeVar("P")


def collect(package: ModuleType | str, protocol: type[P]) -> Mapping[str, type[P]]:
    """The plugin classes of a package by kind: every class with a `kind` string of its own.

    `protocol` names what they promise. A plugin that lacks one of its methods, and two plugins of
    one kind, are faults of the testbed.
    """
    module = importlib.import_module(package) if isinstance(package, str) else package
    return _collect(module.__name__, tuple(module.__path__), _promised(protocol))


def find(package: ModuleType | str, protocol: type[P], kind: str, *, where: str = "") -> type[P]:
    """The plugin of that kind. Raises UsageError that names the nearest one."""
    plugins = collect(package, protocol)
    if kind not in plugins:
        name = package if isinstance(package, str) else package.__name__
        what = name.rpartition(".")[2].rstrip("s")
        raise UsageError(f"no {what} of kind '{kind}'", hint=nearest(kind, plugins), where=where)
    return plugins[kind]


# Kept, since a plan asks for its faults and loads many times.
@cache
def _collect(name: str, places: tuple[str, ...], promised: tuple[str, ...]) -> Mapping[str, type[Any]]:
    found: dict[str, type[Any]] = {}
    for entry in pkgutil.iter_modules(places):
        module = importlib.import_module(f"{name}.{entry.name}")
        for plugin in _defined_in(module):
            kind: str = plugin.__dict__["kind"]
            _check(plugin, promised, module.__name__)
            if kind in found:
                raise TestbedFault(f"two plugins of kind '{kind}'", where=module.__name__)
            found[kind] = plugin
    return MappingProxyType(found)


def _defined_in(module: ModuleType) -> tuple[type[Any], ...]:
    classes = (member for _, member in inspect.getmembers(module, inspect.isclass))
    return tuple(
        member
        for member in classes
        if member.__module__ == module.__name__ and isinstance(member.__dict__.get("kind"), str)
    )


def _promised(protocol: type[Any]) -> tuple[str, ...]:
    functions = (name for name, member in vars(protocol).items() if inspect.isfunction(member))
    return tuple(name for name in functions if not name.startswith("_"))


def _check(plugin: type[Any], promised: tuple[str, ...], where: str) -> None:
    missing = sorted(name for name in promised if not callable(getattr(plugin, name, None)))
    if missing:
        raise TestbedFault(f"plugin '{plugin.__name__}' lacks {', '.join(missing)}", where=where)
