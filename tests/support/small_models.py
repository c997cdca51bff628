"""A small model of every family of heads."""

from __future__ import annotations

from pathlib import Path

BODY = """\
depth_multiple: 1.0
width_multiple: 1.0
backbone:
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [8, 3, 1]]
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
"""
ANCHORS = "anchors:\n  - [6, 6, 10, 10]\n  - [18, 18, 24, 24]\n  - [40, 40, 60, 50]\n"
TABLES = {
    "Detect": f"{BODY}{ANCHORS}head:\n  - [[3, 4, 5], 1, Detect, [nc, anchors]]\n",
    "Segment": f"{BODY}{ANCHORS}head:\n  - [[3, 4, 5], 1, Segment, [nc, anchors, 4, 8]]\n",
    "YoloX": f"{BODY}head:\n  - [[3, 4, 5], 1, YoloX, [nc, 16]]\n",
    "Look": f"{BODY}head:\n  - [[3, 4, 5], 1, Look, [nc, 8, 8]]\n",
}


def write_table(head: str, folder: Path) -> Path:
    """The YAML of the model with this head, of two classes unless others are asked for."""
    path = folder / f"{head}.yaml"
    path.write_text(f"nc: 2\n{TABLES[head]}")
    return path
