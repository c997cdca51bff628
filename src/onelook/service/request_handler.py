"""From the body of a request to its answer, within the limits of the service."""

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
KEPT_SETTINGS = 32  # predictors kept for the settings of recent requests


@dataclass(frozen=True)
class Limits:
    """What the service accepts.

    Attributes:
        queue_size: maximum number of requests in work.
    """

    queue_size: int
    max_bytes: int
    max_pixels: int
    upload_seconds: float


class RequestHandler:
    """Answers requests; bound to one event loop.

    Args:
        settings: the batcher's own settings, with `imgsz`.
        predict_with: gives a predictor with other settings; raises SettingsError if it cannot.
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
        """State and counts since the start."""
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
        """The detections in an uploaded image; for a form with several images, a list in their order.

        Args:
            content_type: type of the body: a form, or anything else for the bytes of an image file.
            fields: names and values of the query.

        Raises:
            Refusal: the service is busy, a field is unknown or invalid, or the image is too large, too slow or damaged.
            ClientDisconnect: the client has left.
        """
        try:
            with self._slot():
                read_options(fields)  # a wrong field is refused before the upload
                data = await self._read(chunks, has_form := is_form(content_type))
                mark = time.perf_counter()
                form = read_form(data, content_type) if has_form else Form((data,), ())
                options = read_options([*fields, *form.fields])
                if options.track is not None and len(form.files) > 1:
                    raise Refusal(400, "`track` takes one frame at a time", hint="send each in a request of its own")
                predict = self._predict_as(options)
                tasks = [self._answer_for(file, predict, options, mark) for file in form.files]
                results = await asyncio.gather(*tasks, return_exceptions=True)
                answers = [_answer_or_raise(one, number, len(tasks)) for number, one in enumerate(results, start=1)]
        except Refusal:
            self._refused += 1
            raise
        except ClientDisconnect:
            self._left += 1
            raise
        except Exception:
            self._failed += 1
            raise
        self._answered += len(answers)
        return answers[0] if len(answers) == 1 else answers

    def refuse_length(self, length: str, content_type: str) -> None:
        """Raise Refusal if the announced length of an upload is too large, before it is sent."""
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
                f"the service already has as many requests as it takes ({self._inside})",
                hint="ask again later, or start the service with a larger `--queue-size`",
                retry_seconds=min(max(1, seconds), MAX_RETRY_SECONDS),
            )
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    def _predict_as(self, options: RequestOptions) -> Predict | None:
        """The predictor of a request; None for the service's own.

        A request with only a larger `conf_thres` shares the batches of others: weak detections are dropped afterwards.
        """
        conf_thres = self._settings.conf_thres
        if options.track is not None:
            conf_thres = min(conf_thres, LOW_CONFIDENCE)
        wanted = replace(settings_for(options, self._settings, self._names), conf_thres=conf_thres)
        if wanted == self._settings:
            return None
        try:
            return self._predict_with(wanted)
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

    async def _answer_for(self, data: bytes, predict: Predict | None, options: RequestOptions, mark: float) -> Answer:
        conf_thres = self._settings.conf_thres if options.conf_thres is None else options.conf_thres
        if options.track is None:
            return self._as_answer(await self._predicted(data, predict), conf_thres, time.perf_counter() - mark)
        async with self._videos.next_frame(options.track, conf_thres) as tracks:
            found = await self._predicted(data, predict)
            tracked = replace(found, detections=tracks.update(found.detections))
        return self._as_answer(tracked, 0.0, time.perf_counter() - mark)

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

    def _as_answer(self, found: ImageAnswer, conf_thres: float, seconds: float) -> Answer:
        objects = [
            FoundObject(
                box=tuple(round(side, BOX_DECIMALS) for side in box),
                score=round(score, SCORE_DECIMALS),
                class_id=class_id,
                name=self._names[class_id],
                object_id=object_id,
            )
            for box, score, class_id, object_id in rows_of(found.detections)
            if score >= conf_thres
        ]
        return Answer(
            detections=objects,
            size=Size(width=found.size_hw[1], height=found.size_hw[0]),
            milliseconds=Milliseconds(
                decode=round(found.decode_ms, 2),
                wait=round(found.wait_ms, 2),
                predict=round(found.predict_ms, 2),
                total=round(1000 * seconds, 2),
            ),
            batch=found.batch,
        )


def class_infos(names: tuple[str, ...]) -> list[ClassInfo]:
    """The classes with the colours of their boxes in all images that Onelook draws."""
    colours = [class_colour(class_id) for class_id in range(len(names))]
    return [
        ClassInfo(name=name, colour=_hex(colour), text_colour=_hex(text_colour(colour)))
        for name, colour in zip(names, colours, strict=True)
    ]


def _hex(colour: RGB) -> str:
    return "#" + "".join(f"{channel:02x}" for channel in colour)


def _answer_or_raise(result: Answer | BaseException, number: int, total: int) -> Answer:
    """The answer, or its exception raised; a refusal names the file if the form has several."""
    if isinstance(result, Refusal) and total > 1:
        raise Refusal(result.status, f"file {number} of {total}: {result.message}", hint=result.hint) from result
    if isinstance(result, BaseException):
        raise result
    return result
