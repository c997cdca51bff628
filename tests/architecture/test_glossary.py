"""One word for each thing, and the words of the trade: what may not occur in documents, code and messages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "SECURITY.md", "CONTRIBUTING.md")
WRITTEN = {".md", ".py", ".html", ".css", ".js", ".yaml"}

# words or phrases, of code also inside names -> what to say instead
NEVER = {
    r"pictures?|photographs?": "image",
    r"outlin\w+": "polygon",
    r"data sets?": "dataset",
    r"truths?": "label, or target where the loss compares",
    r"suppress\w*": "NMS",
    r"least scores?": "minimum confidence",
    r"worlds?": "process group",
    r"upright": "axis-aligned, or after EXIF rotation",
    r"looker|desk|bystander|attendants|throwaway|prospects": "what it does",
    r"(go|goes|going|went) on (with|from|in|without|where)": "resume, continue",
    r"(told|tell|tells|telling) of": "report",
    r"becomes? of|became of": "what happens to",
    r"(is|are|was|were|be|been) looked at|looks at|look at": "processed, checked, read",
    r"of equals": "ties",
    r"to the bit": "bit for bit",
    r"does not care": "is unaffected",
    r"anew": "again",
    r"in place of": "instead of",
}
# names that are not ours, and the one place where a word is explained
ALLOWED = [
    r"[Nn]on[-_ ][Mm]ax(imum)?[-_ ][Ss]uppression|NonMaxSuppression",
    r"contextlib import [\w, ]+|\bsuppress\([\w, ]+\)|contextlib\.suppress|argparse\.SUPPRESS",
    r"world_?[ -]?size|WORLD_SIZE",
    r"coco_truth\.json",
    r"\bground_truth\b",  # of Label Studio
    r"Picture/Frame|Bottle, Desk",
    r"outline(-offset)?: |\.outline\b|\boutline=",
    r"suppress_health_check",
]


@pytest.mark.parametrize("words", NEVER)
def test_word_does_not_occur(words: str) -> None:
    pattern = re.compile(rf"\b(?:{words})\b", re.IGNORECASE)
    found = [f"{place}: {line.strip()}" for place, line in suspicious_lines() if pattern.search(line)]
    assert not found, f"say: {NEVER[words]}\n" + "\n".join(found)


def test_words_are_seen_inside_names_and_beside_exceptions() -> None:
    line = split_names("self.numTruths = suppress_all(world_size, truth_boxes)  # non-maximum suppression")
    assert [words for words in NEVER if re.search(rf"\b(?:{words})\b", line, re.IGNORECASE)] == [
        r"truths?",
        r"suppress\w*",
    ]


@cache
def suspicious_lines() -> list[tuple[str, str]]:
    """The lines with any of the words, each with the place where it is, names split into words."""
    pattern = re.compile(rf"\b(?:{'|'.join(NEVER)})\b", re.IGNORECASE)
    lines = [(place, split_names(line)) for place, line in lines_to_split()]
    return [(place, line) for place, line in lines if pattern.search(line)]


def lines_to_split() -> Iterator[tuple[str, str]]:
    """The few lines of documents and code that hold the letters of any of the words.

    Each is searched alone and in small letters: searched together, or without regard to case, they take seconds.
    """
    letters = [re.compile(words.replace(" ", "[ _]?")) for words in NEVER]
    files = [ROOT / name for name in DOCUMENTS]
    for folder in ("docs", "src", "tests", "benchmarks", "scripts", "examples"):
        files += sorted(path for path in (ROOT / folder).rglob("*") if path.suffix in WRITTEN)
    files.remove(Path(__file__))
    for path in files:
        text = path.read_text(encoding="utf-8")
        small = text.lower()
        numbers = {small.count("\n", 0, found.start()) for words in letters for found in words.finditer(small)}
        lines = text.splitlines()
        yield from ((f"{path.relative_to(ROOT).as_posix()}:{n + 1}", lines[n]) for n in sorted(numbers))


def split_names(line: str) -> str:
    """The line without what is allowed, `num_labels` and `numLabels` as two words.

    >>> split_names("numLabels = num_labels")
    'num Labels = num labels'
    """
    for allowed in ALLOWED:
        line = re.sub(allowed, "", line)
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", line).replace("_", " ")
