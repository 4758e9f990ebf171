"""Imports point one way: api ← reconcile ← engine, progress ← app; lepton.spec stays light."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = {"lepton": ROOT / "images" / "trainer", "lepton_operator": ROOT / "operator"}

MAY_IMPORT = {
    "lepton_operator.api": {"lepton_operator.api", "lepton.spec"},
    "lepton_operator.reconcile": {
        "lepton_operator.reconcile", "lepton_operator.api", "lepton.spec",
    },
    "lepton_operator.engine": {"lepton_operator.engine"},
    "lepton_operator.progress": {
        "lepton_operator.progress", "lepton_operator.engine", "lepton_operator.reconcile",
        "lepton_operator.api", "lepton.spec",
    },
    "lepton_operator.app": {"lepton_operator", "lepton.spec"},
    "lepton.spec": {"lepton.spec"},
}  # fmt: skip
"""Which of our own packages a package may import."""

HEAVY = {"torch", "numpy", "gymnasium", "safetensors"}
PURE = {
    "kopf", "kubernetes", "aiohttp", "asyncio", "time", "random", "socket", "os", "logging",
    "subprocess", "threading",
}  # fmt: skip
"""What needs a clock, a client or luck, which `reconcile` has none of."""


def modules(package: str) -> Iterator[tuple[str, ast.Module]]:
    """Name and syntax tree of every module of a package."""
    folder = SOURCES[package.split(".")[0]]
    for path in sorted((folder / package.replace(".", "/")).rglob("*.py")):
        name = ".".join(path.relative_to(folder).with_suffix("").parts)
        yield name.removesuffix(".__init__"), ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.Module) -> Iterator[str]:
    """Every module that is imported anywhere in the tree, under all its names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, package: str) -> bool:
    """Whether a dotted name lies in a package."""
    return name == package or name.startswith(f"{package}.")


def turned_round(module: str, tree: ast.Module, allowed: set[str]) -> list[str]:
    """Imports of our own packages that the module may not have."""
    return [
        f"{module} imports {name}"
        for name in imports(tree)
        if name.split(".")[0] in SOURCES and not any(within(name, other) for other in allowed)
    ]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_point_one_way(package):
    found = list(modules(package))
    assert found, package
    wrong = [line for name, tree in found for line in turned_round(name, tree, MAY_IMPORT[package])]
    assert wrong == []


def test_the_library_imports_the_operator_in_its_command_line_only():
    wrong = [
        f"{name} imports {imported}"
        for name, tree in modules("lepton")
        if not within(name, "lepton.cli")
        for imported in imports(tree)
        if within(imported, "lepton_operator")
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("lepton.spec", HEAVY),
        ("lepton_operator", HEAVY),
        ("lepton_operator.api", PURE),
        ("lepton_operator.reconcile", PURE),
    ],
)
def test_what_must_stay_light_or_pure_imports_nothing_else(package, forbidden):
    wrong = [
        f"{name} imports {imported}"
        for name, tree in modules(package)
        for imported in imports(tree)
        if imported.split(".")[0] in forbidden
    ]
    assert wrong == []


def test_the_core_reads_no_clock():
    wrong = [
        f"{name}: {node.attr}()"
        for name, tree in modules("lepton_operator.reconcile")
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in ("now", "utcnow", "today")
        and isinstance(node.value, ast.Name)
        and node.value.id in ("datetime", "date")
    ]
    assert wrong == []


def test_an_arrow_that_turns_round_is_found():
    tree = ast.parse("from lepton_operator.app import main\nimport json")
    allowed = MAY_IMPORT["lepton_operator.api"]
    assert turned_round("x", tree, allowed) == ["x imports lepton_operator.app.main"]
