"""The layers: a module imports only what stands below it, and each library has one owner."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "testbed"

# From the ground up; a module may import its own layer's package and whatever stands before it.
LAYERS = (
    ("errors", "printable", "units", "clock", "proc", "paths", "apt", "plugins"),
    ("model", "snapshot", "history", "store", "consoles"),
    ("waitfor", "introspection"),
    ("load", "configuration"),
    ("kernels", "images", "machines"),
    ("witnesses",),
    ("transports", "loads", "faults"),
    ("plan",),
    ("run",),
    ("judge",),
    ("campaign", "reports"),
    ("doctor",),
    ("cli", "__main__"),
)

OWNERS = {
    "libvirt": {"machines/hypervisor.py"},
    "libvirt_qemu": {"machines/hypervisor.py"},
    "pyroute2": {"machines/network.py"},
    "fabric": {"machines/guest.py"},
    "paramiko": {"machines/guest.py"},
    "subprocess": {"proc.py"},
    "scipy": {"campaign/statistics/"},
    "statsmodels": {"campaign/statistics/"},
    "lifelines": {"campaign/statistics/"},
    "drgn": {"introspection/"},
    "typer": {"cli/"},
    "rich": {"cli/"},
}

# The judge is pure: it may read nothing but the evidence that it is handed. What it may import, and what
# it may not reach by way of that either, is what docs/architecture.md says.
JUDGE_MAY, JUDGE_MAY_NOT = (
    frozenset(re.findall(r"\w+", part)) - {"and", "or"}
    for part in re.findall(
        r"The judge imports, besides its own modules, only ([^.]*?), and nothing of\s([^.]*?) is reached",
        (ROOT.parent / "docs" / "architecture.md").read_text(),
    )[0]
)


@cache
def modules() -> tuple[Path, ...]:
    return tuple(sorted(ROOT.rglob("*.py")))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(tree(path)))


@cache
def imports(path: Path) -> tuple[str, ...]:
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "testbed":
                yield from (f"testbed.{alias.name}" for alias in node.names)
            else:
                yield node.module


def layer(name: str) -> int:
    return next(index for index, names in enumerate(LAYERS) if name in names)


def own_name(path: Path) -> str:
    relative = path.relative_to(ROOT)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def test_imports_only_what_stands_below() -> None:
    named = [(path, name) for path in modules() if own_name(path) != "__init__" for name in imports(path)]
    within = [(path, name.split(".")[1]) for path, name in named if name.startswith("testbed.")]
    wrong = [
        f"{path.relative_to(ROOT)} may not import {other}"
        for path, other in within
        if layer(other) > layer(own_name(path))
    ]
    assert not wrong
    assert len(within) > len(modules())  # it did look


def imported_by(package: str) -> frozenset[str]:
    """The packages and modules of ours that it imports, itself left out."""
    own = [path for path in modules() if own_name(path) == package]
    names = {name.split(".")[1] for path in own for name in imports(path) if name.startswith("testbed.")}
    return frozenset(names - {package})


def test_the_judge_imports_only_what_the_document_says() -> None:
    assert {"run", "plan", "machines", "introspection"} <= JUDGE_MAY_NOT
    assert imported_by("judge") == JUDGE_MAY


def test_the_judge_reaches_nothing_that_could_ask_a_guest() -> None:
    reached, ahead = set[str](), {"judge"}
    while ahead:
        reached |= ahead
        ahead = {name for package in ahead for name in imported_by(package)} - reached
    assert "snapshot" in reached and not reached & JUDGE_MAY_NOT


@pytest.mark.parametrize("library", sorted(OWNERS))
def test_a_library_has_one_owner(library: str) -> None:
    for path in modules():
        relative = str(path.relative_to(ROOT))
        if any(relative.startswith(owner) for owner in OWNERS[library]):
            continue
        taken = {name.split(".")[0] for name in imports(path)}
        assert library not in taken, f"{relative} imports {library}, which belongs to {OWNERS[library]}"


def test_only_the_cli_prints_and_exits() -> None:
    for path in modules():
        if own_name(path) in ("cli", "__main__"):
            continue
        for node in nodes(path):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id != "print", f"{path.relative_to(ROOT)}:{node.lineno} prints"


@pytest.mark.parametrize("library", ["scipy", "statsmodels", "lifelines", "numpy", "matplotlib"])
def test_what_takes_long_to_import_is_imported_where_it_is_used(library: str) -> None:
    for path in modules():
        top = [node for node in tree(path).body if isinstance(node, ast.Import | ast.ImportFrom)]
        named = {name for node in top for name in _imports_of(node)}
        assert library not in {name.split(".")[0] for name in named}, f"{path.relative_to(ROOT)}"


def test_the_projects_folder_is_computed_in_one_place() -> None:
    """Elsewhere a module finds by its own path only what lies in the package."""
    leaving = {
        str(path.relative_to(ROOT))
        for path in modules()
        if "__file__" in path.read_text()
        for node in nodes(path)
        if isinstance(node, ast.Attribute | ast.Subscript)
        and _levels_up(node) > len(path.relative_to(ROOT).parts)
    }
    assert leaving == {"paths.py"}


def _levels_up(node: ast.expr) -> int:
    """How many folders up from `__file__` an expression leads: its `.parent`s, or its `.parents[N]`."""
    text = ast.unparse(node)
    found = re.search(r"\.parents\[(\d+)\]", text)
    if "__file__" not in text:
        return 0
    return int(found.group(1)) + 1 if found else text.count(".parent")


SHARED = re.compile(r'"(--[a-z-]+)"')
OF_ANOTHER_MEANING = {"--kernel"}
"""`compare` asks which of the kept cells' kernels, `run` which to play."""


def test_an_option_of_several_commands_is_declared_once() -> None:
    shared = set(SHARED.findall((ROOT / "cli" / "options.py").read_text())) - OF_ANOTHER_MEANING
    assert {"--json", "--lab", "--accelerator"} <= shared
    for path in (ROOT / "cli").glob("*.py"):
        options = [
            word
            for node in ast.walk(tree(path))
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "typer.Option"
            for word in SHARED.findall(ast.unparse(node).replace("'", '"'))
        ]
        assert path.name == "options.py" or not shared & set(options), path.name


def _imports_of(node: ast.Import | ast.ImportFrom) -> list[str]:
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]


# Called by a name that is put together, or by a library: the broker's messages, a logger's handler.
CALLED_UNNAMED = ("do_", "__", "emit")


def test_nothing_is_left_that_nothing_names() -> None:
    """Of a word that stands in one place only, nobody makes use; plugins are found by their kind."""
    words: Counter[str] = Counter()
    for pattern in ("testbed/**/*.py", "testbed/**/*.j2", "tests/**/*.py", "benchmarks/**/*.py"):
        for path in ROOT.parent.glob(pattern):
            words.update(re.findall(r"\w+", path.read_text()))
    defined = [
        (path, name)
        for path in modules()
        if own_name(path) not in ("faults", "loads", "transports")
        for name in _defined(tree(path))
    ]
    assert len(defined) > 5 * len(modules())  # it did look
    assert [f"{path.relative_to(ROOT)}: {name}" for path, name in defined if words[name] == 1] == []


def _defined(module: ast.Module) -> Iterator[str]:
    """Functions, methods, classes and constants; not those that a decorator has told somebody of."""
    for node in ast.walk(module):
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith(CALLED_UNNAMED):
            continue
        if not any(isinstance(each, ast.Call) for each in node.decorator_list):
            yield node.name
    for statement in module.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))
