"""The desk at which images are handed in: a place for each, limits, and the answer."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from onelook.drawing.palette import RGB, class_colour, text_colour
from onelook.files.image_headers import DamagedImage, read_header
from onelook.files.images import check_limits
from onelook.service.answers import (
    BOX_DECIMALS,
    SCORE_DECIMALS,
    Answer,
    ClassInfo,
    FoundObject,
    Health,
    Milliseconds,
    Size,
)
from onelook.service.batching import Batcher, ImageAnswer
from onelook.service.multipart import file_in_form, is_form
from onelook.service.refusal import Refusal

logger = logging.getLogger(__name__)

FORM_BYTES = 16384  # boundaries and headers of a form, beside the image
MAX_RETRY_SECONDS = 60


@dataclass(frozen=True)
class Limits:
    """What the service takes.

    Attributes:
        queue_size: images inside at a time.
        max_bytes: of a file.
        max_pixels: of an image.
        upload_seconds: for a whole upload.
    """

    queue_size: int
    max_bytes: int
    max_pixels: int
    upload_seconds: float


class RequestHandler:
    """Takes images and gives answers; lives in one event loop.

    Args:
        batcher: looks at them.
        names: of the classes.
        conf_thres: least score of what the batcher finds.
        limits: what is taken.
    """

    def __init__(self, batcher: Batcher, names: tuple[str, ...], *, conf_thres: float, limits: Limits) -> None:
        self._batcher = batcher
        self._names = names
        self._conf_thres = conf_thres
        self.limits = limits
        self._inside = self._answered = self._refused = self._failed = 0

    def health(self) -> Health:
        """How it goes."""
        return Health(
            status="ok" if self._batcher.is_alive else "failed",
            waiting=self._inside,
            answered=self._answered,
            refused=self._refused,
            failed=self._failed,
        )

    async def answer(self, chunks: AsyncIterator[bytes], content_type: str, conf_thres: float | None) -> Answer:
        """What is found in an uploaded image.

        Args:
            chunks: of the body of the request.
            content_type: of the request; a form, or anything else for the bytes of an image file.
            conf_thres: least score; None takes that of the service.

        Raises:
            Refusal: the service is busy, or the image is too large, too slow, or none.
        """
        try:
            with self._place():
                least = self._least(conf_thres)
                data = await self._read(chunks, has_form := is_form(content_type))
                mark = time.perf_counter()
                if has_form:
                    data = file_in_form(data, content_type)
                answer = await self._looked_at(data, least, mark)
        except Refusal:
            self._refused += 1
            raise
        except Exception:
            self._failed += 1
            raise
        self._answered += 1
        return answer

    def refuse_length(self, length: str, content_type: str) -> None:
        """Refuse an upload for the length it announces, before it is sent.

        Raises:
            Refusal: it is too long.
        """
        limit = self.limits.max_bytes + FORM_BYTES * is_form(content_type)
        if length.isdecimal() and int(length) > limit:
            self._refused += 1
            raise self._too_long()

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._inside >= self.limits.queue_size:
            seconds = math.ceil(self._inside * self._batcher.seconds_per_image)
            raise Refusal(
                503,
                f"{self._inside} images are waiting already",
                hint="ask again later, or start the service with a larger `--queue-size`",
                retry_seconds=min(max(1, seconds), MAX_RETRY_SECONDS),
            )
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    def _least(self, conf_thres: float | None) -> float:
        if conf_thres is not None and not self._conf_thres <= conf_thres <= 1:
            raise Refusal(
                400,
                f"`conf_thres` is {conf_thres}; {self._conf_thres} to 1 can be asked for",
                hint="start the service with a smaller `--conf-thres`",
            )
        return self._conf_thres if conf_thres is None else conf_thres

    async def _read(self, chunks: AsyncIterator[bytes], has_form: bool) -> bytes:
        limit = self.limits.max_bytes + FORM_BYTES * has_form
        data = bytearray()

        async def fill() -> None:
            async for chunk in chunks:
                if len(data) + len(chunk) > limit:
                    raise self._too_long()
                data.extend(chunk)

        try:
            await asyncio.wait_for(fill(), self.limits.upload_seconds)
        except asyncio.TimeoutError as problem:  # another class before Python 3.11
            raise Refusal(
                408,
                f"the upload took longer than {self.limits.upload_seconds:g} seconds",
                hint="send a smaller image, or start the service with a larger `--upload-seconds`",
            ) from problem
        return bytes(data)

    async def _looked_at(self, data: bytes, least: float, mark: float) -> Answer:
        try:
            looked = await asyncio.wrap_future(self._batcher.submit(data, self._pixels(data)))
        except DamagedImage as problem:
            raise Refusal(422, f"this image cannot be used: {problem}", hint="send a JPEG, PNG or WebP") from problem
        return self._told(looked, least, time.perf_counter() - mark)

    def _pixels(self, data: bytes) -> int:
        if not data:
            raise Refusal(400, "no image was sent", hint="`curl --data-binary @image.jpg ...` sends one")
        header = read_header(data)
        height, width = header.size_hw
        if height * width > self.limits.max_pixels:
            raise Refusal(
                413,
                f"the image has {width} x {height} pixels, more than the limit of {self.limits.max_pixels:,}",
                hint="send a smaller image, or start the service with a larger `--max-megapixels`",
            )
        check_limits(data, header)
        return height * width

    def _too_long(self) -> Refusal:
        return Refusal(
            413,
            f"the file has more than the limit of {self.limits.max_bytes:,} bytes",
            hint="send a smaller image, or start the service with a larger `--max-megabytes`",
        )

    def _told(self, looked: ImageAnswer, least: float, seconds: float) -> Answer:
        rows = zip(
            looked.detections.boxes.tolist(),
            looked.detections.scores.tolist(),
            looked.detections.class_ids.tolist(),
            strict=True,
        )
        found = [
            FoundObject(
                box=tuple(round(side, BOX_DECIMALS) for side in box),
                score=round(score, SCORE_DECIMALS),
                class_id=class_id,
                name=self._names[class_id],
            )
            for box, score, class_id in rows
            if score >= least
        ]
        return Answer(
            detections=found,
            size=Size(width=looked.size_hw[1], height=looked.size_hw[0]),
            milliseconds=Milliseconds(
                decode=round(looked.decode_ms, 2),
                wait=round(looked.wait_ms, 2),
                predict=round(looked.predict_ms, 2),
                total=round(1000 * seconds, 2),
            ),
            batch=looked.batch,
        )


def class_infos(names: tuple[str, ...]) -> list[ClassInfo]:
    """The classes with the colours that they have in all our images."""
    colours = [class_colour(class_id) for class_id in range(len(names))]
    return [
        ClassInfo(name=name, colour=_hex(colour), text_colour=_hex(text_colour(colour)))
        for name, colour in zip(names, colours, strict=True)
    ]


def _hex(colour: RGB) -> str:
    return "#" + "".join(f"{channel:02x}" for channel in colour)
