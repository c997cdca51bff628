"""docs/llms.txt is what scripts/write_llms.py writes, and names pages that exist."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_map_of_the_documentation_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("write_llms", ROOT / "scripts" / "write_llms.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    written = script.FILE.read_text(encoding="utf-8")
    assert written == script.text(), "docs/llms.txt is out of date: run scripts/write_llms.py"
    pages = re.findall(r"\((.+\.md)\)", written)
    assert len(pages) > 40
    assert all((ROOT / "docs" / page).is_file() for page in pages)
