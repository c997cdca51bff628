"""Sources: from what the user typed to frames."""

from __future__ import annotations

from onelook.inference.sources.files import find_media, is_video
from onelook.inference.sources.frame import Frame

__all__ = ["Frame", "find_media", "is_video"]
