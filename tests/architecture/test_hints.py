"""What messages tell a user to do works from a wheel as well as from a checkout."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OPTIONAL = (ROOT / "pyproject.toml").read_text().partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
EXTRAS = re.findall(r"^([a-z-]+) = \[", OPTIONAL, re.MULTILINE)
FILE_OF_THE_CHECKOUT = re.compile(
    r"(?<![\w/])(docs|examples|scripts|benchmarks|tests)/\w|\b[A-Za-z-]+\.md\b|\bREADME\b"
)
INSTALL = re.compile(r"pip install (?P<what>[^`]*)")
OF_OURS = re.compile(r'"onelook\[(?P<extra>[a-z-]+)\]"')


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of all string literals that a user may see: all but docstrings; those of settings are shown."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    of_settings = path.parent.name == "settings"
    hidden = {
        id(node.body[0].value)
        for node in nodes
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in nodes:
        if isinstance(node, ast.Expr) and not of_settings:
            hidden.add(id(node.value))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in hidden:
            yield node.lineno, node.value


@pytest.fixture(scope="module")
def all_texts() -> list[tuple[str, str]]:
    """Place and text of those of the whole package."""
    return [
        (f"{path.relative_to(ROOT)}:{line}", text)
        for path in sorted((ROOT / "src" / "onelook").rglob("*.py"))
        for line, text in texts(path)
    ]


def test_no_message_sends_a_user_to_a_file_of_the_checkout(all_texts: list[tuple[str, str]]) -> None:
    assert [(place, text) for place, text in all_texts if FILE_OF_THE_CHECKOUT.search(text)] == []


@pytest.mark.parametrize(
    "text", ["see docs/guides/detect.md", "read README", "`examples/demo.py`", "as in data-formats.md"]
)
def test_the_pattern_knows_files_of_the_checkout(text: str) -> None:
    assert FILE_OF_THE_CHECKOUT.search(text)


def test_every_extra_that_a_message_names_can_be_installed_as_it_says(all_texts: list[tuple[str, str]]) -> None:
    """`pip install "onelook[extra]"` adds an extra to whatever is installed, editable or not, in any shell."""
    named = [(place, found["what"]) for place, text in all_texts for found in INSTALL.finditer(text)]
    ours = {place: OF_OURS.search(what) for place, what in named if "onelook[" in what}
    assert len(ours) >= 8
    assert [place for place, found in ours.items() if found is None or found["extra"] not in EXTRAS] == []
