"""The image is built from files that are there and that the build may see."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_image_copies_what_a_build_needs_and_nothing_that_is_ignored() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    copied = {name for line in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE) for name in line.split()}
    assert {"pyproject.toml", "README.md", "LICENSE", "NOTICE", "src"} <= copied
    assert all((ROOT / name).exists() for name in copied)
    assert not copied & set((ROOT / ".dockerignore").read_text(encoding="utf-8").split())
    extras = re.findall(r"/src\[([a-z,-]+)\]", text)[0].split(",")
    assert all(f"\n{extra} = [" in (ROOT / "pyproject.toml").read_text(encoding="utf-8") for extra in extras)
