"""Write docs/llms.txt, the map of the documentation for language models (llmstxt.org), from docs/README.md.

    python scripts/write_llms.py

A test compares the file with what this script would write.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILE = ROOT / "docs" / "llms.txt"
HEAD = "# Onelook\n\n> {summary}\n\nPaths are relative to this file; every page is Markdown.\n\n"


def text() -> str:
    """The whole file: the first sentences of the README, and each page with its title."""
    summary = (ROOT / "README.md").read_text(encoding="utf-8").split("\n\n")[1].replace("\n", " ")
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    lines = [HEAD.format(summary=summary).rstrip()]
    for section in re.split(r"^## ", index, flags=re.MULTILINE)[1:]:
        title = section.partition("\n")[0]
        pages = re.findall(r"\[([^]]+)\]\(((?:\w+/)?[\w-]+\.md)\)", section)
        lines += ["", f"## {title}", "", *(f"- [{name}]({page})" for name, page in pages)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the file."""
    FILE.write_text(text(), encoding="utf-8")
    print(FILE)


if __name__ == "__main__":
    main()
