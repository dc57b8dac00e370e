"""The rules of the house that a machine can check. Each failure says what to use instead."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("events", "actors", "training", "serving", "simulate")
"""In the order of the data's walk: a room imports those before it."""

MODULES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: use absolute imports"
            yield node.module or ""


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    above = ROOMS[ROOMS.index(room) + 1 :]
    wrong = [name for name in imports(path) if name.split(".")[0] in above]
    assert not wrong, f"{path.name} in {room}/ imports {wrong}: move what it needs down, or itself up"


def test_ray_stands_only_in_the_three_shells() -> None:
    allowed = {f"{room}/on_ray.py" for room in ("actors", "training", "serving")}
    users = {str(path.relative_to(ROOT)) for path in MODULES if any(n.split(".")[0] == "ray" for n in imports(path))}
    assert users <= allowed, f"{users - allowed} import ray: wrap the plain class in one of {sorted(allowed)}"


def test_no_module_is_a_drawer() -> None:
    drawers = {"util", "utils", "common", "helper", "helpers", "manager", "misc"}
    named = [path for path in MODULES if set(path.stem.split("_")) & drawers]
    assert not named, f"{named}: put each thing where its noun lives"


def test_no_installed_distribution_provides_our_names() -> None:
    provided = importlib.metadata.packages_distributions()
    foreign = {room: set(provided.get(room, [])) - {"everfold"} for room in ROOMS}
    assert not any(foreign.values()), f"{foreign} would shadow or be shadowed by our packages"


def test_every_package_is_installed() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in MODULES}
    assert listed == found, f"{listed ^ found}: list every folder with modules in pyproject.toml"


CODE = [path for path in MODULES if path.name != "test_architecture.py"]
WALL_CLOCK = re.compile(r"\b(time\.time|time\.time_ns|datetime\.now|datetime\.utcnow|random\.random|date\.today)\(")
PURE = ("decay", "fold", "profile", "view", "payload", "types", "record", "slate", "blend", "signals", "recommender")


def test_the_core_reads_no_clock_and_rolls_no_dice() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {hit.group(0)}"
        for path in CODE
        if path.stem in PURE
        for hit in WALL_CLOCK.finditer(path.read_text())
    ]
    assert not wrong, f"{wrong}: take time and randomness as arguments"


def test_nothing_tracked_names_a_package_registry() -> None:
    hosts = re.compile(r"(pypi|pythonhosted|npmjs|crates)\.(org|io|com)")
    texts = [p for p in ROOT.iterdir() if p.is_file() and p.suffix in {".txt", ".toml", ".md", ".json", ".cfg"}]
    texts += [*(ROOT / "docs").rglob("*.md"), *(ROOT / "tests").rglob("package*.json"), ROOT / "Makefile"]
    wrong = [str(path) for path in texts if "node_modules" not in path.parts and hosts.search(path.read_text())]
    assert not wrong, f"{wrong} name a registry: lock and constraints files hold names and versions only"
