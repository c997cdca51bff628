"""What to look at: from what the user typed to frames."""

from __future__ import annotations

from onelook.engine.sources.ahead import batches_of, one_ahead
from onelook.engine.sources.files import find_media, is_video, read_frames
from onelook.engine.sources.frame import Frame

__all__ = ["Frame", "batches_of", "find_media", "is_video", "one_ahead", "read_frames"]
