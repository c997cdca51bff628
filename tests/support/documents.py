"""The documents of the repository, taken apart: code blocks, links, inline code, tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOP = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "examples/bccd/README.md")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Page:
    """One Markdown file."""

    path: Path

    def __str__(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def name(self) -> str:
        return self.path.name

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def prose(self) -> str:
        """The text without its code blocks."""
        return FENCE.sub("", self.text)

    def blocks(self, language: str) -> list[str]:
        """The code blocks in `language`."""
        return [code for name, code in FENCE.findall(self.text) if name == language]

    def shell_lines(self) -> list[str]:
        """Each command of the `sh` blocks; `&&` joins several, a backslash at the end continues the line."""
        text = "\n".join(self.blocks("sh")).replace("\\\n", " ")
        commands = [part.strip() for line in text.splitlines() for part in line.split(" && ")]
        return [command for command in commands if command and not command.startswith("#")]

    def links(self) -> set[str]:
        """Targets of links within the repository."""
        return {target for target in re.findall(r"\]\(([^)\s]+)\)", self.prose) if "://" not in target}

    def inline_code(self) -> set[str]:
        """What stands between single backquotes."""
        return set(re.findall(r"`([^`\n]+)`", self.prose))

    def anchors(self) -> set[str]:
        """The names by which links reach the headings."""
        headings = re.findall(r"^#+ (.+)$", self.prose, re.MULTILINE)
        return {re.sub(r"[^\w\s-]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}

    def rows(self) -> list[list[str]]:
        """The lines of all tables, heads included, as cells."""
        lines = [line for line in self.prose.splitlines() if line.startswith("| ")]
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]

    def first_cells(self) -> set[str]:
        """The inline code in the first column of the tables."""
        return {code for row in self.rows() for code in re.findall(r"`([^`]+)`", row[0])}


def pages() -> list[Page]:
    """All documents, in a fixed order."""
    return [Page(ROOT / name) for name in TOP] + [Page(path) for path in sorted((ROOT / "docs").rglob("*.md"))]
