"""The order of the packages and modules in which CONTRIBUTING.md says that they import each other."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "keras_resnet"
ORDER = (
    *("version", "status", "host", "files", "extras", "options", "backend", "preprocessing", "models", "saving"),
    *("drawing", "tables", "pages", "data", "weights", "training", "evaluation", "analysis", "experiments"),
    *("tuning", "exporting", "commands", "cli"),
)


def rooms_imported_by(file: Path) -> set[str]:
    """Returns the packages and modules of `ORDER` that a file imports anywhere, also within functions."""
    package = list(file.relative_to(PACKAGE).parent.parts)
    rooms = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) + 1 - node.level]
            names = [node.module] if node.module else [alias.name for alias in node.names]
            rooms |= {[*base, *name.split(".")][0] for name in names}
    return rooms & set(ORDER)


@pytest.mark.parametrize("place", range(len(ORDER)), ids=ORDER)
def test_a_room_imports_only_rooms_before_it(place):
    room = PACKAGE / ORDER[place]
    later = {}
    for file in sorted(room.rglob("*.py")) if room.is_dir() else [room.with_suffix(".py")]:
        above = rooms_imported_by(file) - set(ORDER[: place + 1])
        if file == PACKAGE / "models/builder.py":
            above -= {"weights"}  # imported when a network is built with weights
        if above:
            later[file.name] = above
    assert not later


def test_every_room_has_its_place():
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert rooms - {"__init__", "__main__"} == set(ORDER)
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    listed = text[text.index("Packages and modules import only") :]
    places = [listed.index(f"`{room}`") for room in ORDER]
    assert places == sorted(places)


def test_type_checkers_know_the_version():
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    assert "__version__" in [node.target.id for node in stub.body if isinstance(node, ast.AnnAssign)]
