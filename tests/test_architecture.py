"""The house: imports point down, monailabel stays in its two rooms, every module has its mirrored test."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = (
    ("imports",),
    ("ops",),
    ("models", "data"),
    ("evaluation",),
    ("learning", "records"),
    ("jobs",),
    ("tasks",),
    ("server", "planning"),
    ("simulation",),
    ("verbs",),
)
FLOORS = {
    "tasks": (
        ("spec",),
        ("store", "serving"),
        ("strategies",),
        ("segmentation",),
        ("click", "restoration"),
        ("kinds",),
        ("training",),
        ("jobs",),
        ("app",),
    ),
}
"""The floors of a layer whose rooms have an order of their own, lowest first."""
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
MODULES = sorted(path for path in (ROOT / "lib").rglob("*.py") if path.parent != ROOT / "lib")
MAX_LINES = 400
MAX_MODULES = 12
"""Modules of one room, its `__init__` not counted."""


def imports(path: Path) -> Iterator[str]:
    """Yield every module name that a file imports, wherever in the file the import stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def arrow_is_wrong(importer: str, imported: str) -> bool:
    """Say whether `importer` (a layer) may not import `imported`: up, or sideways into another layer."""
    return importer != imported and RANK[imported] >= RANK[importer]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
class TestModule:
    def test_imports_point_down(self, path: Path) -> None:
        layer = path.relative_to(ROOT / "lib").parts[0]
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "lib" and len(parts) > 1:
                assert parts[1] in RANK, f"{name}: no such layer"
                assert not arrow_is_wrong(layer, parts[1]), f"{path.relative_to(ROOT)} imports {name}"
            assert parts[0] != "apps", "apps declare; nothing imports them"

    def test_only_tasks_and_server_import_monailabel(self, path: Path) -> None:
        if path.relative_to(ROOT / "lib").parts[0] not in ("tasks", "server"):
            assert not any(name.split(".")[0] == "monailabel" for name in imports(path))

    def test_is_short_and_says_its_purpose(self, path: Path) -> None:
        text = path.read_text()
        assert ast.get_docstring(ast.parse(text)), "a module begins with its one responsibility"
        assert len(text.splitlines()) <= MAX_LINES

    def test_has_its_mirrored_test(self, path: Path) -> None:
        if path.name == "__init__.py":
            return
        relative = path.relative_to(ROOT / "lib")
        assert (ROOT / "tests" / relative.parent / f"test_{relative.name}").exists()


def dotted(path: Path) -> str:
    """Return the name of a module or a package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def module_graph() -> dict[str, set[str]]:
    """Return the modules of `lib` that each module imports."""
    names = {dotted(path) for path in MODULES}
    graph = {}
    for path in MODULES:
        found = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                members = (f"{node.module}.{alias.name}" for alias in node.names)
                found |= {member if member in names else str(node.module) for member in members}
        graph[dotted(path)] = (found & names) - {dotted(path)}
    return graph


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Return the modules of one circle of imports, empty if there is none."""
    finished: set[str] = set()

    def walk(name: str, way: list[str]) -> list[str]:
        if name in way:
            return way[way.index(name) :]
        if name in finished:
            return []
        for other in sorted(graph.get(name, ())):
            if found := walk(other, [*way, name]):
                return found
        finished.add(name)
        return []

    return next((found for name in sorted(graph) if (found := walk(name, []))), [])


def test_modules_form_no_circle() -> None:
    assert circle(module_graph()) == []


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]


ROOMS = sorted({path.parent for path in MODULES})


@pytest.mark.parametrize("room", ROOMS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_is_small_enough_to_remember(room: Path) -> None:
    modules = [path.name for path in room.glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= MAX_MODULES, f"split it: {', '.join(sorted(modules))}"


@pytest.mark.parametrize("layer", FLOORS)
def test_rooms_of_a_layer_import_down(layer: str) -> None:
    rank = {name: floor for floor, names in enumerate(FLOORS[layer]) for name in names}
    prefix = f"lib.{layer}."
    for name, others in module_graph().items():
        if not name.startswith(prefix):
            continue
        room = name.removeprefix(prefix).split(".")[0]
        for other in (each.removeprefix(prefix).split(".")[0] for each in others if each.startswith(prefix)):
            assert other == room or rank[other] < rank[room], f"{name} imports {prefix}{other}"


@pytest.mark.parametrize(
    ("importer", "imported", "wrong"),
    [
        ("models", "ops", False),
        ("models", "models", False),
        ("server", "ops", False),
        ("ops", "models", True),
        ("models", "data", True),
        ("learning", "records", True),
        ("tasks", "server", True),
    ],
)
def test_arrow_rule(importer: str, imported: str, wrong: bool) -> None:
    assert arrow_is_wrong(importer, imported) is wrong


def test_a_broad_lib_is_never_ignored_by_git() -> None:
    """monailabel makes apps/*/lib; a bare `lib/` in .gitignore would hide the whole house."""
    lines = (ROOT / ".gitignore").read_text().split()
    assert "lib/" not in lines and "lib" not in lines
