"""Takes in the images of requests: a queue, limits, and the answer."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache

from starlette.requests import ClientDisconnect

from onelook.drawing.palette import RGB, class_colour, text_colour
from onelook.errors import SettingsError
from onelook.files.image_headers import DamagedImage, read_header
from onelook.files.images import check_limits
from onelook.inference.byte_track import LOW_CONFIDENCE
from onelook.inference.predictor import PredictionSettings
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
from onelook.service.batching import Batcher, ImageAnswer, Predict
from onelook.service.followed_videos import FollowedVideos
from onelook.service.multipart import Form, is_form, read_form
from onelook.service.refusal import Refusal
from onelook.service.request_options import RequestOptions, read_options, settings_for
from onelook.structures.detections import rows_of

logger = logging.getLogger(__name__)

FORM_BYTES = 16384  # boundaries and headers of a form, beside the image
MAX_RETRY_SECONDS = 60
KEPT_SETTINGS = 32  # ways to look that requests have asked for lately


@dataclass(frozen=True)
class Limits:
    """What the service takes.

    Attributes:
        queue_size: images inside at a time.
        max_bytes: largest file.
        max_pixels: largest image.
        upload_seconds: time limit of an upload.
    """

    queue_size: int
    max_bytes: int
    max_pixels: int
    upload_seconds: float


class RequestHandler:
    """Takes images and gives answers; lives in one event loop.

    Args:
        settings: how the batcher predicts, with a size.
        predict_with: predicts with other settings; raises SettingsError if it cannot.
    """

    def __init__(
        self,
        batcher: Batcher,
        names: tuple[str, ...],
        *,
        settings: PredictionSettings,
        limits: Limits,
        predict_with: Callable[[PredictionSettings], Predict],
    ) -> None:
        self._batcher = batcher
        self._names = names
        self._settings = settings
        self._predict_with = lru_cache(maxsize=KEPT_SETTINGS)(predict_with)
        self.limits = limits
        self._videos = FollowedVideos()
        self._inside = self._answered = self._refused = self._failed = self._left = 0

    def health(self) -> Health:
        """How it goes."""
        return Health(
            status="ok" if self._batcher.is_alive else "failed",
            waiting=self._inside,
            answered=self._answered,
            refused=self._refused,
            failed=self._failed,
            left=self._left,
        )

    async def answer(
        self, chunks: AsyncIterator[bytes], content_type: str, fields: Sequence[tuple[str, str]]
    ) -> Answer | list[Answer]:
        """What is found in an uploaded image; for a form with several, a list in their order.

        Args:
            chunks: body of the request.
            content_type: type of the body; a form, or anything else for the bytes of an image file.
            fields: names and values of the query.

        Raises:
            Refusal: the service is busy, a field is unknown or impossible, or the image too large, too slow, or none.
            ClientDisconnect: whoever asks has left.
        """
        try:
            with self._slot():
                read_options(fields)  # what is wrong there needs no upload
                data = await self._read(chunks, has_form := is_form(content_type))
                mark = time.perf_counter()
                form = read_form(data, content_type) if has_form else Form((data,), ())
                options = read_options([*fields, *form.fields])
                if options.track is not None and len(form.files) > 1:
                    raise Refusal(400, "`track` takes one frame at a time", hint="send each in a request of its own")
                predict = self._predict_as(options)
                looks = [self._looked_at(file, predict, options, mark) for file in form.files]
                answers = await asyncio.gather(*looks, return_exceptions=True)
                found = [_answer_or_raise(one, number, len(looks)) for number, one in enumerate(answers, start=1)]
        except Refusal:
            self._refused += 1
            raise
        except ClientDisconnect:
            self._left += 1
            raise
        except Exception:
            self._failed += 1
            raise
        self._answered += len(found)
        return found[0] if len(found) == 1 else found

    def refuse_length(self, length: str, content_type: str) -> None:
        """Refuse an upload for the length it announces, before it is sent; Refusal if it is too long."""
        limit = self.limits.max_bytes + FORM_BYTES * is_form(content_type)
        if length.isdecimal() and int(length) > limit:
            self._refused += 1
            raise self._too_long()

    @contextmanager
    def _slot(self) -> Iterator[None]:
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

    def _predict_as(self, options: RequestOptions) -> Predict | None:
        """The predictor of a request; None for the service's own way.

        With a larger `conf_thres` alone, images go in the batches of others: weak detections are dropped afterwards.
        """
        asked = settings_for(options, self._settings, self._names)
        least = self._settings.conf_thres if options.track is None else min(self._settings.conf_thres, LOW_CONFIDENCE)
        asked = replace(asked, conf_thres=least)
        if asked == self._settings:
            return None
        try:
            return self._predict_with(asked)
        except SettingsError as problem:
            raise Refusal(400, problem.message, hint=problem.hint) from problem

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

    async def _looked_at(self, data: bytes, predict: Predict | None, options: RequestOptions, mark: float) -> Answer:
        least = self._settings.conf_thres if options.conf_thres is None else options.conf_thres
        if options.track is None:
            return self._told(await self._predicted(data, predict), least, time.perf_counter() - mark)
        async with self._videos.next_frame(options.track, least) as tracks:
            looked = await self._predicted(data, predict)
            followed = replace(looked, detections=tracks.update(looked.detections))
        return self._told(followed, 0.0, time.perf_counter() - mark)

    async def _predicted(self, data: bytes, predict: Predict | None) -> ImageAnswer:
        try:
            return await asyncio.wrap_future(self._batcher.submit(data, self._pixels(data), predict))
        except DamagedImage as problem:
            raise Refusal(422, f"this image cannot be used: {problem}", hint="send a JPEG, PNG or WebP") from problem

    def _pixels(self, data: bytes) -> int:
        if not data:
            raise Refusal(400, "no image was sent", hint="`curl --data-binary @image.jpg ...` sends one")
        header = read_header(data)
        height, width = header.size_hw
        if height * width > self.limits.max_pixels:
            raise Refusal(
                413,
                f"the image has {width} x {height} pixels, more than the limit of {self.limits.max_pixels:,}",
                hint="send a smaller image, or start the service with a larger `--max-pixels`",
            )
        check_limits(data, header, self.limits.max_pixels)
        return height * width

    def _too_long(self) -> Refusal:
        return Refusal(
            413,
            f"the file has more than the limit of {self.limits.max_bytes:,} bytes",
            hint="send a smaller image, or start the service with a larger `--max-megabytes`",
        )

    def _told(self, looked: ImageAnswer, least: float, seconds: float) -> Answer:
        objects = [
            FoundObject(
                box=tuple(round(side, BOX_DECIMALS) for side in box),
                score=round(score, SCORE_DECIMALS),
                class_id=class_id,
                name=self._names[class_id],
                object_id=object_id,
            )
            for box, score, class_id, object_id in rows_of(looked.detections)
            if score >= least
        ]
        return Answer(
            detections=objects,
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


def _answer_or_raise(looked: Answer | BaseException, number: int, total: int) -> Answer:
    """An answer as it is; what is wrong with an image is raised, with its position in a form of several."""
    if isinstance(looked, Refusal) and total > 1:
        message = f"file {number} of {total}: {looked.message}"
        raise Refusal(looked.status, message, hint=looked.hint, retry_seconds=looked.retry_seconds) from looked
    if isinstance(looked, BaseException):
        raise looked
    return looked
