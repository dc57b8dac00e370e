"""Every documented line runs: the examples in docstrings and in the Markdown pages."""

from __future__ import annotations

import doctest
import importlib
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import typer

from serving.cli import app

ROOT = Path(__file__).parent.parent
ROOMS = ("events", "actors", "training", "serving", "simulate")
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for room in ROOMS
    for path in (ROOT / room).rglob("*.py")
    if path.stem not in {"__init__", "__main__"} and ">>> " in path.read_text()
)
PAGES = sorted(path for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")] if path.exists())


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_in_pages_run(page: Path) -> None:
    assert doctest.testfile(str(page), module_relative=False).failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing, f"{page.name} links to {missing}"


def written(page: Path) -> list[str]:
    """Lines of code blocks that call ``everfold``, whatever they say behind it."""
    blocks = re.findall(r"^```(?:sh)?\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    lines = [line.removeprefix(".venv/bin/") for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("everfold ")]


def command_of(words: Sequence[str]) -> tuple[Any, list[str]]:
    """The command that words after ``everfold`` name, and what is left of them."""
    command: Any = typer.main.get_command(app)
    left = list(words)
    while left and left[0] in getattr(command, "commands", {}):
        command = command.commands[left.pop(0)]
    return command, left


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_pages_are_those_there_are(page: Path) -> None:
    """Nothing is run: names, options and their kinds are checked as the command line would. Lists of commands with what
    they do beside them are checked for their names."""
    for line in written(page):
        if re.search(r" {3,}| \| ", line):
            for names in re.split(r" {3,}", line.removeprefix("everfold "))[0].split(" | "):
                command, left = command_of(names.split())
                assert not left, f"{page.name}: there is no command {names!r}"
            continue
        words = ["1" if word == "N" else word for word in shlex.split(line.replace("[", " ").replace("]", " "))][1:]
        command, left = command_of(words)
        unknown = hasattr(command, "commands") and left and not left[0].startswith("-")
        assert not unknown, f"{page.name}: there is no command {words!r}"
        with command.make_context("everfold", left):
            pass


def test_a_page_with_a_wrong_command_would_be_found(tmp_path: Path) -> None:
    wrong = ["everfold tidy --data d", "everfold batch --every-body", "everfold retrain --seed x", "everfold up | down"]
    for line in wrong:
        page = tmp_path / "page.md"
        page.write_text(f"```sh\n{line}\n```\n")
        with pytest.raises(Exception, match=r"no command|No such option|valid integer|Missing option"):
            test_commands_in_pages_are_those_there_are(page)


def test_every_command_stands_in_the_readme() -> None:
    told = (ROOT / "README.md").read_text()
    commands: Any = typer.main.get_command(app)
    missing = [name for name in commands.commands if not re.search(rf"everfold [a-z |-]*\b{name}\b", told)]
    assert not missing, f"README.md says nothing of {missing}"
