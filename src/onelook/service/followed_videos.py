"""Tracks of objects in videos that clients send frame by frame."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from onelook.inference.byte_track import ByteTrack

KEPT_VIDEOS = 64
"""The videos with the most recent frames; the tracks of others are dropped."""


class FollowedVideos:
    """The videos of all clients, by the names that they give them; bound to one event loop."""

    def __init__(self) -> None:
        self._videos: OrderedDict[str, tuple[asyncio.Lock, ByteTrack]] = OrderedDict()

    @asynccontextmanager
    async def next_frame(self, name: str, conf_thres: float) -> AsyncIterator[ByteTrack]:
        """The tracks of a video, to be updated with its next frame; frames are handled in the order they arrive.

        Args:
            name: name of the video; an unknown name starts a new one.
            conf_thres: for a new video, minimum confidence of a detection that starts a track.
        """
        lock, tracks = self._videos.setdefault(name, (asyncio.Lock(), ByteTrack(conf_thres)))
        self._videos.move_to_end(name)
        if len(self._videos) > KEPT_VIDEOS:
            self._videos.popitem(last=False)
        async with lock:
            yield tracks
